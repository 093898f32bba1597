"""Step 5: how good the model is: on the test set in a simulation, on the audit sample with people."""

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select, update

from discover import tables
from discover.campaign import Campaign
from discover.evaluate import audit, entities, metrics
from discover.learn.estimators import OwnEstimator
from discover.learn.learner import Learner
from discover.learn.prediction import Prediction
from discover.learn.samples import column
from discover.pool.answers import agree, to_json
from discover.query import decisions
from discover.steps import Finished, simulation
from discover.steps.choose import query_id
from discover.steps.reward import reward

STAGES = ("intake", "query", "explain", "collect", "teach")  # before this one; the table has them in no order


def judge(campaign: Campaign, arm: str, round_: int, learner: Learner[OwnEstimator]) -> Finished:
    """Measure, and write the round's row of metrics.jsonl and the rewards of its decision and of what was answered."""
    row, output = _measured(campaign, arm, round_, learner)
    rewarded = reward(campaign, arm)
    batch = (campaign.output(arm, round_, "teach") or {}).get("batch")

    def commit(connection: Connection) -> None:
        connection.execute(tables.metric.insert().values(arm=arm, round=round_, row=row))
        if batch is not None:
            _reward(connection, query_id(arm, batch), row)
        rewarded.commit(connection)

    return Finished(output | {"rewards": rewarded.by}, commit)


def judge_anew(campaign: Campaign, arm: str, learner: Learner[OwnEstimator]) -> bool:
    """Measure an arm's newest model once more, where it was learned anew since: its round's row is replaced.

    Rewards stay as they were given, so that the decisions that were made by them can be retraced.

    Returns:
        Whether it was.
    """
    version, before = campaign.latest_model(arm), campaign.last_metrics(arm)
    if version is None or before is None or before["model"] != version:
        return False
    round_ = before["round"]
    done = campaign.output(arm, round_, "evaluate") or {}
    if done.get("checksum") in (None, campaign.checksum(version)):
        return False
    row, output = _measured(campaign, arm, round_, learner)
    row["pool"], output["rewards"] = before["pool"], done["rewards"]
    metric, step = tables.metric, tables.step
    of_metric = (metric.c.arm == arm, metric.c.round == round_)
    of_step = (step.c.arm == arm, step.c.round == round_, step.c.step == "evaluate")
    with campaign.database.write() as connection:
        connection.execute(update(metric).where(*of_metric).values(row=row))
        connection.execute(update(step).where(*of_step).values(output=output))
    return True


def _measured(
    campaign: Campaign, arm: str, round_: int, learner: Learner[OwnEstimator]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The round's row of metrics.jsonl, and what the step leaves besides the rewards."""
    started = time.perf_counter()
    audited = campaign.queue.audited(arm)
    audit_ids = np.array([row.document_id for row in audited], np.int64)
    seen = learner.classifier.predicted(column(audit_ids))
    audit_truth = campaign.labels.array([row.label for row in audited])
    audit_right = agree(seen.answers, audit_truth)
    reported = np.array([row.part == audit.REPORT for row in audited], bool)
    estimate = _estimated(audit_right[reported]) | {"skipped": campaign.queue.passed_over(arm, audit.REPORT)}
    taken_in = campaign.output("", round_, "intake") or {}
    tested, held_out = _test_set(campaign, taken_in["lasts"][-1])
    row: dict[str, Any] = {
        "round": round_,
        "arm": arm,
        "strategy": campaign.strategies[arm],
        "labels": (campaign.output(arm, round_, "teach") or {})["labels"],
        **({"words": int(campaign.queue.spent(arm))} if campaign.queue.by_words else {}),
        "pool": taken_in["stored"] - held_out,
        "asked": (campaign.output(arm, round_, "query") or {})["asked"],
        "audit": estimate if reported.any() else None,
        "note": (campaign.output(arm, round_, "query") or {}).get("note", ""),
    }
    output: dict[str, Any] = {}
    if len(tested[0]):
        found, truth = learner.classifier.predicted(column(tested[0])), tested[1]
        output = {"predictions": to_json(found.answers), "truth": to_json(truth)}
        output["confidence"] = np.round(found.chances, 6).tolist()
        row |= {"source": "test", **_scores(found, truth, campaign)}
    else:
        seen = Prediction(*(one[reported] for one in seen))
        row |= {"source": "audit", **_scores(seen, audit_truth[reported], campaign)}
    version = row["model"] = campaign.latest_model(arm)
    output["checksum"] = campaign.checksum(version) if version else None
    row["seconds"] = _seconds(campaign, arm, round_) | {"evaluate": round(time.perf_counter() - started, 3)}
    ids, right = audit_ids[~reported], audit_right[~reported]
    return row, output | {"decide": _estimated(right) | {"right": ids[right].tolist(), "wrong": ids[~right].tolist()}}


def _test_set(campaign: Campaign, last: int) -> tuple[tuple[NDArray[np.int64], NDArray[np.int64]], int]:
    """(n,) row ids and n answers of held-out documents whose truth is known, by public id; how many are held out.

    Args:
        campaign: whose pool.
        last: row id of the last document that was taken in; what came later has no vector yet.
    """
    held_out, _ = campaign.pool.ids(split="test", until=last)
    documents = list(campaign.pool.documents(held_out.tolist()))
    truths = simulation.truths(campaign, documents)
    pairs = [
        (document.id, truth)
        for document, truth in zip(documents, truths, strict=True)
        if truth is not None and campaign.labels.knows(truth)
    ]
    ids = np.array([row_id for row_id, _ in pairs], np.int64)
    return (ids, campaign.labels.array([truth for _, truth in pairs])), len(documents)


def _scores(found: Prediction, truth: NDArray[Any], campaign: Campaign) -> dict[str, Any]:
    task = campaign.config.label.task
    if not len(truth):
        own = {"multiclass": (), "multilabel": ("micro_f1",), "spans": entities.SCORES}[task]
        return dict.fromkeys(("accuracy", *own, "macro_f1", "ece", "low", "high", "per_class"))
    right = agree(found.answers, truth)
    low, high = metrics.wilson(int(right.sum()), len(truth))
    of_all = {"accuracy": float(right.mean()), "low": low, "high": high}
    if task == "spans":
        error = metrics.confidence_error(found.chances, right)
        return of_all | entities.scores(found.answers, truth, campaign.classes) | {"ece": error}
    return {
        **of_all,
        **({"micro_f1": metrics.micro_f1(found.answers, truth)} if task == "multilabel" else {}),
        "macro_f1": metrics.macro_f1(found.answers, truth),
        "ece": metrics.calibration_error(found.probabilities, truth),
        "per_class": metrics.per_class(found.answers, truth, campaign.classes),
    }


def _estimated(right: NDArray[np.bool_]) -> dict[str, Any]:
    found = audit.estimate(right)
    return {"n": found.n, "accuracy": found.value, "low": found.low, "high": found.high}


def _seconds(campaign: Campaign, arm: str, round_: int) -> dict[str, float]:
    """Seconds of finished stages, in the round's order; the intake is shared between the arms."""
    wanted = select(tables.step.c.step, tables.step.c.seconds).where(
        tables.step.c.round == round_, tables.step.c.arm.in_(["", arm])
    )
    with campaign.database.read() as connection:
        seconds = dict(map(tuple, connection.execute(wanted)))
    return {name: round(seconds[name], 3) for name in STAGES if name in seconds}


def _reward(connection: Connection, query: str, row: dict[str, Any]) -> None:
    """What a decision brought: the change in accuracy by the training that was told of its picks, and of no others.

    With people that is the round after, mostly, since they are one batch ahead.
    """
    metric = tables.metric.c
    before = connection.execute(
        select(metric.row).where(metric.arm == row["arm"], metric.round == row["round"] - 1)
    ).scalar()
    if before is None or before["source"] != row["source"]:
        return
    if before["accuracy"] is not None and row["accuracy"] is not None:
        decisions.set_reward(connection, query, row["accuracy"] - before["accuracy"], row["source"])
