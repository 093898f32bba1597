"""The loop: one round, then the next. Read this page first.

A round
1. takes in what the crawl or an import has found since the last one, and embeds it;
2. draws candidates from the index, lets the strategy choose a batch, logs each pick with the probability that it had,
   and puts the picks and a small blind uniform audit sample on the labeling queue; people are shown why the model
   guesses what it does, after their answer;
3. collects the answers;
4. teaches the learner, by incremental fine-tuning with replay, from scratch when the answers have doubled, and
   publishes the model;
5. measures, on the test set in a simulation and on the audit sample with people, and writes the run's files.

Every step is committed together with its row in the table ``step``. A killed run finds there where it was: a finished
step is not repeated, an unfinished one starts over, and since each step depends only on the database, the published
model and the seed, the run ends as if nobody had killed it.
"""

import itertools
import json
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import func, select

from discover import tracking
from discover.campaign import Campaign
from discover.config import Config, strategies_of
from discover.embed.transformer import find
from discover.errors import DiscoverError
from discover.evaluate import report
from discover.learn.learner import Learner
from discover.query import decisions
from discover.run import crashpoint, publish
from discover.steps import Finished, simulation
from discover.steps.choose import affordable, choose, reason_to_stop, rounds_over, stopping_rule, strategy_of
from discover.steps.collect import answers_of, collect
from discover.steps.explain import examples, explain
from discover.steps.intake import check_encoder, drop_removed, intake, restore
from discover.steps.judge import judge, judge_anew
from discover.steps.reward import rule_of
from discover.steps.teach import keep_newest, knows_removed, open_learner, teach
from discover.tables import step


def run_rounds(campaign: Campaign, rounds: int | None = None, crawling: Callable[[], bool] = lambda: False) -> None:
    """Run the loop until the budget is spent, the rounds are over, its rule says stop, or ``rounds`` more are done.

    Raises:
        DiscoverError: the pool is empty, or another process runs this loop.
    """
    check(campaign.config)
    with campaign.folder.lock():
        campaign.folder.sweep()
        check_encoder(campaign)
        restore(campaign)
        simulation.look_again(campaign)
        keep_newest(campaign)  # perhaps it is to keep fewer than before
        learners: dict[str, Learner] = {}
        begin = _rounds_done(campaign)
        for round_ in itertools.count(begin):
            if _is_over(campaign, round_, crawling) or (rounds is not None and round_ - begin >= rounds):
                break
            _play(campaign, round_, learners, crawling)
            keep_newest(campaign)
            _write_files(campaign)
        # What a crawl has brought since the last round, for an export; and models that were damaged, or know what was
        # removed, are learned anew.
        campaign.pool.intake(simulation.unanswerable(campaign))
        drop_removed(campaign)
        for arm in campaign.arms:
            if campaign.latest_model(arm):
                if arm not in learners or knows_removed(campaign, learners[arm]):
                    learners[arm] = open_learner(campaign, arm)
                if judge_anew(campaign, arm, learners[arm]):
                    _announce(campaign, arm, _rounds_done(campaign) - 1)
        _write_files(campaign)
        report.write(campaign.folder, campaign.database, campaign.config, examples(campaign))
        for arm in campaign.arms:
            if reason := reason_to_stop(campaign, arm, _rounds_done(campaign)):
                print(f"{arm}: {reason}", flush=True)
    print(report.verdict(campaign.database, campaign.config), flush=True)


def check(config: Config) -> None:
    """Refuse a config that cannot work, before a run folder is made for it.

    Raises:
        DiscoverError: a strategy, an oracle, an option or an encoder is unknown, or settings contradict each other.
    """
    for model in {config.encoder.model, config.encoder.retriever}:
        find(model)
    for word in {config.query.strategy, *strategies_of(config).values()}:
        strategy_of(config, word)
    if config.label.task == "multilabel" and config.learn.balance == "sampling":
        raise DiscoverError(
            "learn.balance sampling draws documents by their one class, but with label.task multilabel they may have "
            "several: set it to loss"
        )
    if config.label.task == "spans":
        _check_spans(config)
    spread = config.learn.propagate or config.learn.method == "head" or config.label.task != "multiclass"
    looks = config.learn.unlabelled != 0 and spread
    if config.loop.stop in ("certain", "stabilising") and not looks:
        raise DiscoverError(
            f"loop.stop {config.loop.stop} goes by predictions for unanswered documents, which are not made with "
            "learn.propagate false or learn.unlabelled 0: change these, or leave it empty"
        )
    if config.loop.stop == "plateau" and not config.label.audit:
        raise DiscoverError(
            "loop.stop plateau goes by audit answers, and with label.audit 0 there are none: raise that, or leave "
            "loop.stop empty"
        )
    stopping_rule(config.loop)
    rule_of(config.query)
    simulation.check(config)


def _check_spans(config: Config) -> None:
    from discover.learn import tagger  # torch

    tagger.check(config.learn)
    if config.loop.stop in ("certain", "stabilising"):
        raise DiscoverError(
            f"loop.stop {config.loop.stop} goes by predictions for unanswered documents, which are not made with "
            "label.task spans: leave it empty, or set it to plateau, which needs many audit answers"
        )


def _play(campaign: Campaign, round_: int, learners: dict[str, Learner], crawling: Callable[[], bool]) -> None:
    """One round of every arm."""
    retriever = campaign.retriever
    _step(campaign, "", round_, "intake", lambda: intake(campaign, round_, crawling))
    if campaign.retriever is not retriever:
        learners.clear()  # they are opened again, with the vectors of the one that has taken over
    for arm in campaign.arms:
        if arm not in learners or knows_removed(campaign, learners[arm]):
            learners[arm] = open_learner(campaign, arm)
        _play_arm(campaign, arm, round_, learners[arm])


def _play_arm(campaign: Campaign, arm: str, round_: int, learner: Learner) -> None:
    _step(campaign, arm, round_, "query", lambda: choose(campaign, arm, round_, learner))
    if campaign.oracle is None and campaign.config.label.explain:
        _step(campaign, arm, round_, "explain", lambda: explain(campaign, arm, round_, learner))
    _step(campaign, arm, round_, "collect", lambda: collect(campaign, arm, round_))
    _step(campaign, arm, round_, "teach", lambda: teach(campaign, arm, round_, learner))
    _step(campaign, arm, round_, "evaluate", lambda: judge(campaign, arm, round_, learner))
    _announce(campaign, arm, round_)


def _step(campaign: Campaign, arm: str, round_: int, name: str, work: Callable[[], Finished]) -> dict[str, Any]:
    """Do a step unless its row is there; its results and its row are one commit."""
    done = campaign.output(arm, round_, name)
    if done is not None:
        return done
    crashpoint(f"before_{name}")
    started = time.perf_counter()
    finished = work()
    crashpoint(f"during_{name}")
    row = {"arm": arm, "round": round_, "step": name, "output": finished.output}
    with campaign.database.write() as connection:
        finished.commit(connection)
        connection.execute(step.insert().values(**row, seconds=time.perf_counter() - started))
        crashpoint(f"within_{name}")
    crashpoint(f"after_{name}")
    return finished.output


def _rounds_done(campaign: Campaign) -> int:
    """Rounds that every arm has finished."""
    done = select(step.c.round).where(step.c.step == "evaluate")
    done = done.group_by(step.c.round).having(func.count() >= len(campaign.arms))
    with campaign.database.read() as connection:
        return len(connection.execute(done).all())


def _is_over(campaign: Campaign, round_: int, crawling: Callable[[], bool]) -> bool:
    """True when every answer is learned, and nothing more can be asked or the rounds are over."""
    if round_ < 2 and not rounds_over(campaign.config.loop, round_):  # the seed labels, then at least one choice
        return False
    growing = crawling() or campaign.pool.count("found", 1) > 0
    return all(_is_settled(campaign, arm, round_, growing) for arm in campaign.arms)


def _is_settled(campaign: Campaign, arm: str, round_: int, growing: bool) -> bool:
    unchanged = campaign.output(arm, round_ - 1, "collect") == answers_of(campaign, arm)
    if not unchanged or campaign.queue.waiting(arm):
        return False
    if campaign.oracle is None and campaign.queue.behind(arm):
        return False
    return affordable(campaign, arm, round_) == 0 or not (growing or campaign.unasked(arm, 1))


def _write_files(campaign: Campaign) -> None:
    """Rewrite the exports of the database, whole, so that they cannot disagree with it."""
    rows, made = campaign.metrics(), campaign.models_made()
    with publish(campaign.folder.metrics) as scratch, scratch.open("w", encoding="utf-8") as lines:
        for row in rows:
            lines.write(json.dumps(row) + "\n")
    for arm in campaign.arms:
        own = (row for row in rows if row["arm"] == arm)
        tracking.write(campaign.folder.tensorboard / arm, tracking.of_rounds(own, made))
    decisions.export(campaign.database, campaign.folder.decisions, campaign.labels, campaign.config.name)


def _announce(campaign: Campaign, arm: str, round_: int) -> None:
    row = campaign.last_metrics(arm) or {}
    score = "not measured yet"
    if row["accuracy"] is not None:
        score = f"accuracy {row['accuracy']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
        score += f" · entity F1 {row['entity_f1']:.3f}" if row.get("entity_f1") is not None else ""
        score += f" · micro-F1 {row['micro_f1']:.3f}" if row.get("micro_f1") is not None else ""
        score += f" · macro-F1 {row['macro_f1']:.3f}" if row["macro_f1"] is not None else ""
    seconds = sum(row["seconds"].values())
    spent = f"{row['labels']:4d} labels" + (f" · {row['words']:6,d} words" if "words" in row else "")
    print(f"round {round_:2d} · {arm:8s} · {spent} · {score} · {seconds:.1f} s", flush=True)
    if row["note"] and not (campaign.output(arm, round_ - 1, "query") or {}).get("note"):
        print(f"{arm}: {row['note']}", flush=True)
