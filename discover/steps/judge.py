"""Step 5: how good the model is: on the test set in a simulation, on the audit sample with people."""

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select

from discover import tables
from discover.campaign import Campaign
from discover.evaluate import audit, metrics
from discover.learn.learner import Learner
from discover.query import decisions
from discover.steps import Finished, simulation
from discover.steps.choose import query_id
from discover.steps.reward import reward


def judge(campaign: Campaign, arm: str, round_: int, learner: Learner) -> Finished:
    """Measure, and write the round's row of metrics.jsonl and the rewards of its decision and of what was answered."""
    started = time.perf_counter()
    index = {name: number for number, name in enumerate(campaign.classes)}
    labelled = campaign.queue.labels(arm)
    audited = [row for row in labelled if row.kind == "audit"]
    audit_probabilities = learner.predict_proba(np.array([row.document_id for row in audited], np.int64))
    audit_truth = np.array([index[row.label] for row in audited], np.int64)
    reported = np.array([row.part == audit.REPORT for row in audited], bool)
    tested, held_out = _test_set(campaign, index)
    row: dict[str, Any] = {
        "round": round_,
        "arm": arm,
        "strategy": campaign.strategies[arm],
        "labels": (campaign.output(arm, round_, "teach") or {})["labels"],
        "pool": (campaign.output("", round_, "intake") or {})["stored"] - held_out,
        "asked": (campaign.output(arm, round_, "query") or {})["asked"],
        "audit": _estimate(audit_probabilities[reported], audit_truth[reported]),
        "note": (campaign.output(arm, round_, "query") or {}).get("note", ""),
    }
    output: dict[str, Any] = {}
    if len(tested[0]):
        probabilities, truth = learner.predict_proba(tested[0]), tested[1]
        output = {"predictions": probabilities.argmax(1).tolist(), "truth": truth.tolist()}
        output["confidence"] = np.round(probabilities.max(1), 6).tolist()
        row |= {"source": "test", **_scores(probabilities, truth, campaign.classes)}
    else:
        row |= {"source": "audit", **_scores(audit_probabilities[reported], audit_truth[reported], campaign.classes)}
    row["model"] = campaign.latest_model(arm)
    row["seconds"] = _seconds(campaign, arm, round_) | {"evaluate": round(time.perf_counter() - started, 3)}
    decided = _accuracy(audit_probabilities[~reported], audit_truth[~reported])
    rewarded = reward(campaign, arm)

    def commit(connection: Connection) -> None:
        connection.execute(tables.metric.insert().values(arm=arm, round=round_, row=row))
        _reward(connection, arm, round_, row)
        rewarded.commit(connection)

    return Finished(output | {"decide": decided, "rewards": rewarded.by}, commit)


def _test_set(campaign: Campaign, index: dict[str, int]) -> tuple[tuple[NDArray[np.int64], NDArray[np.int64]], int]:
    """(n,) row ids and (n,) classes of held-out documents whose truth is known, by public id; how many are held out."""
    documents = list(campaign.documents(split="test"))
    truths = simulation.truths(campaign, documents)
    pairs = [(document.id, index[truth]) for document, truth in zip(documents, truths, strict=True) if truth in index]
    found = np.array(pairs, np.int64).reshape(-1, 2)
    return (found[:, 0], found[:, 1]), len(documents)


def _scores(probabilities: NDArray[np.float64], truth: NDArray[np.int64], classes: list[str]) -> dict[str, Any]:
    if not len(truth):
        return dict.fromkeys(("accuracy", "macro_f1", "ece", "low", "high", "per_class"))
    predicted = probabilities.argmax(1)
    low, high = metrics.wilson(int((predicted == truth).sum()), len(truth))
    return {
        "accuracy": metrics.accuracy(predicted, truth),
        "macro_f1": metrics.macro_f1(predicted, truth),
        "ece": metrics.calibration_error(probabilities, truth),
        "low": low,
        "high": high,
        "per_class": metrics.per_class(predicted, truth, classes),
    }


def _accuracy(probabilities: NDArray[np.float64], truth: NDArray[np.int64]) -> dict[str, Any]:
    found = audit.estimate(probabilities.argmax(1) == truth if len(truth) else [])
    return {"n": found.n, "accuracy": found.value, "low": found.low, "high": found.high}


def _estimate(probabilities: NDArray[np.float64], truth: NDArray[np.int64]) -> dict[str, Any] | None:
    return _accuracy(probabilities, truth) if len(truth) else None


def _seconds(campaign: Campaign, arm: str, round_: int) -> dict[str, float]:
    """Seconds of the round's finished stages; the intake is shared between the arms."""
    wanted = select(tables.step.c.step, tables.step.c.seconds).where(
        tables.step.c.round == round_, tables.step.c.arm.in_(["", arm])
    )
    with campaign.database.read() as connection:
        return {name: round(seconds, 3) for name, seconds in connection.execute(wanted)}


def _reward(connection: Connection, arm: str, round_: int, row: dict[str, Any]) -> None:
    """What the round's decision brought: the change in accuracy since the round before, where both are known."""
    before = connection.execute(
        select(tables.metric.c.row).where(tables.metric.c.arm == arm, tables.metric.c.round == round_ - 1)
    ).scalar()
    if before is None or before["source"] != row["source"]:
        return
    if before["accuracy"] is not None and row["accuracy"] is not None:
        decisions.set_reward(connection, query_id(arm, round_), row["accuracy"] - before["accuracy"], row["source"])
