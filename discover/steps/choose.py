"""Step 2: which documents to ask about. The picks are logged, each with the probability that it had, and queued."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from discover import plugins
from discover.campaign import Campaign
from discover.config import Config, LoopConfig
from discover.errors import DiscoverError
from discover.evaluate import audit
from discover.label import effort
from discover.learn.estimators import OwnEstimator
from discover.learn.learner import Learner
from discover.learn.samples import column
from discover.policy.learned import LEARNED, load_strategy, policy_of
from discover.pool.answers import present, strata
from discover.pool.words import count_words
from discover.query import candidates, decisions
from discover.query.strategy import CONTROL, Strategy
from discover.query.view import OF_TRAINING, PastRound, Progress, View
from discover.steps import Finished


def choose(campaign: Campaign, arm: str, round_: int, learner: Learner[OwnEstimator]) -> Finished:
    """Draw candidates, let the strategy choose among them, and draw the audit sample.

    The commit writes the decision log and the questions; until then an annotator sees nothing of them.
    """
    n = affordable(campaign, arm, round_)
    n_audit = _audits_due(campaign, arm, round_, n)
    asked = campaign.off_limits(arm)
    drawn = candidates.draw_uniformly(campaign.retriever.store, asked, n_audit, _seed(campaign, round_, "audit"))
    audited = decisions.Audit(*drawn)
    # Round 0 asks for seed labels: the same uniform draw in every arm.
    strategy = strategy_of(campaign.config, campaign.strategies[arm] if round_ else CONTROL)
    view = _view(campaign, arm, round_, learner, strategy, asked.union(audited.ids.tolist()))
    if n == 0 or len(view) == 0:
        return Finished({"asked": 0, "audited": 0, "suggestions": {}})
    seed = _seed(campaign, round_, arm if round_ else "")
    picks = strategy(view, n - len(audited.ids), np.random.default_rng(seed))
    within = _within(campaign, arm, np.concatenate([view.ids[picks.indices], audited.ids]))
    audited, chosen = audited.first(max(0, within - len(picks.indices))), picks.first(within)
    # Where the prices of what was drawn say how much is asked, not every order of the set could have been.
    picks = chosen if chosen is picks else replace(chosen, set_log_propensity=None)
    picks = learner.query(view.ids, picks)
    row = {
        "id": query_id(arm, round_),
        "arm": arm,
        "round": round_,
        "strategy": strategy.word,
        "policy": policy_of(strategy),
        "model": campaign.latest_model(arm),
        "seed": seed,
    }
    asking = np.concatenate([view.ids[picks.indices], audited.ids])
    decisions.prepare(view)

    def commit(connection: Connection) -> None:
        decisions.record(connection, campaign.folder, row, view, picks, audited)
        campaign.queue.put(connection, arm, round_, _slots(campaign, asking, len(picks.indices), seed))

    output = {"asked": len(asking), "audited": len(audited.ids), "suggestions": _suggestions(campaign, asking, learner)}
    return Finished(output | {"note": picks.note, "policy": row["policy"]}, commit)


def strategy_of(config: Config, word: str) -> Strategy:
    """The strategy of a config word; `query.options` are those of `query.strategy`, others have their defaults.

    Raises:
        DiscoverError: there is no such strategy, an option is not its own, it does not fit the task, or it needs a
            reward and there is none.
    """
    settings = config.query
    if word == LEARNED and not settings.reward:
        raise DiscoverError(
            f"query.strategy {LEARNED} needs query.reward, by which its picks are held against those of auto, found "
            "none: take surprise"
        )
    return load_strategy(word, settings.options if word == settings.strategy else {}, config.label.task)


def query_id(arm: str, round_: int) -> str:
    """The public name of a decision."""
    return f"{arm}-{round_:04d}"


def affordable(campaign: Campaign, arm: str, round_: int) -> int:
    """How many questions the budget and the stopping rule allow now; open ones are as good as paid."""
    if rounds_over(campaign.config.loop, round_) or reason_to_stop(campaign, arm, round_):
        return 0
    wanted = campaign.config.query.batch if round_ else campaign.config.label.seed
    return max(0, min(wanted, int(_left(campaign, arm))))


def _left(campaign: Campaign, arm: str) -> float:
    # What is owed first: an answer that comes in between then counts twice, and not at all otherwise.
    owed = campaign.queue.owed(arm)
    return campaign.config.label.budget - owed - campaign.queue.spent(arm)


def _within(campaign: Campaign, arm: str, ids: NDArray[np.int64]) -> int:
    """How many questions about (k,) documents, in this order, the budget has; the last one may go over it."""
    if campaign.config.query.cost != "tokens":
        return len(ids)
    prices = np.cumsum([count_words(text) for text in campaign.pool.texts(ids.tolist())])
    return min(len(ids), 1 + int(np.searchsorted(prices, _left(campaign, arm))))


def rounds_over(settings: LoopConfig, round_: int) -> bool:
    """Whether a round asks nothing, and only learns what has changed since."""
    return settings.rounds is not None and round_ > settings.rounds


def reason_to_stop(campaign: Campaign, arm: str, round_: int) -> str:
    """Why nothing more need be asked, by the rule of the config; empty while there is none."""
    rule = stopping_rule(campaign.config.loop)
    return rule(progress_of(campaign, arm, round_)) if rule else ""


def stopping_rule(settings: LoopConfig) -> Callable[[Progress], str] | None:
    """The rule that a config names, if it names one.

    Raises:
        DiscoverError: there is no such rule, or an option is not its own; when it is asked: it fails.
    """
    if not settings.stop:
        return None
    rule = plugins.load("discover.query.stopping", settings.stop)
    plugins.check_options(rule, settings.stop_options, f"the rule {settings.stop!r}")

    def asked(progress: Progress) -> str:
        with plugins.calling(f"the rule {settings.stop!r}", ours=":" not in settings.stop):
            return str(rule(progress, **settings.stop_options) or "")

    return asked


def _audits_due(campaign: Campaign, arm: str, round_: int, n: int) -> int:
    """How many of n questions are audit ones, so that their share holds over all rounds, however small a batch is."""
    past = campaign.outputs(arm, "query", "asked", "audited")[1:round_]
    asked, audited = (sum(counts) for counts in zip(*past, strict=True)) if past else (0, 0)
    due = round(campaign.config.label.audit * (asked + n)) - audited if round_ else 0
    return max(0, min(due, campaign.unasked(arm, n + 1) - 1))  # a last document is the strategy's


def _view(
    campaign: Campaign, arm: str, round_: int, learner: Learner[OwnEstimator], strategy: Strategy, excluded: set[int]
) -> View:
    settings = campaign.config.query
    standing = [row for row in campaign.queue.labels(arm) if row.kind != "audit"]
    newest_first = sorted(standing, key=lambda row: -row.round)  # stable: within a round by public id
    answers = campaign.labels.array([row.label for row in newest_first])
    shares = strategy.candidates_from(settings.candidates)
    if not round_:
        shares = shares.model_copy(update={"count": max(shares.count, campaign.config.label.seed)})
    drawn = candidates.draw(
        campaign.retriever.index,
        excluded=excluded,
        labelled=[row.document_id for row in newest_first],
        classes=strata(answers),
        uncertain=decisions.most_uncertain(campaign.database, campaign.folder, query_id(arm, round_ - 1), shares.count),
        config=shares,
        seed=_seed(campaign, round_, "candidates"),
    )
    labelled = np.array([row.document_id for row in standing], np.int64)
    return View(
        ids=drawn.ids,
        generator=drawn.generator,
        age=_age(campaign, round_, drawn.ids),
        costs=_costs(campaign, arm, drawn.ids),
        temperature=settings.temperature,
        floor=settings.floor,
        progress=progress_of(campaign, arm, round_),
        multilabel=campaign.config.label.task == "multilabel",
        make_vectors=lambda: campaign.retriever.store.vectors(drawn.ids),
        make_probabilities=lambda: learner.predict_proba(drawn.ids),
        make_crowd=lambda: (drawn.crowd, campaign.retriever.store.vectors(drawn.crowd)),
        make_votes=lambda: learner.votes(drawn.ids),
        make_labelled_vectors=lambda: campaign.retriever.store.vectors(labelled),
        make_labels=lambda: _seen(campaign, [row.label for row in standing]),
    )


def _seen(campaign: Campaign, kept: list[str]) -> NDArray[np.int64]:
    """Answers as a view has them: of spans, whether a document has any of each class, (m, c)."""
    answers = campaign.labels.array(kept)
    return present(answers, len(campaign.classes)) if campaign.config.label.task == "spans" else answers


def _costs(campaign: Campaign, arm: str, ids: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n,) the price of an answer: one label, the seconds that it will take, or the words of its text.

    Of spans the last is left out: what strategies know of them is by word already (`discover.learn.tagger`).
    """
    settings = campaign.config
    if settings.query.cost == "answers" or (settings.query.cost == "tokens" and settings.label.task == "spans"):
        return np.ones(len(ids))
    texts = campaign.pool.texts(ids.tolist())
    if settings.query.cost == "tokens":
        return np.array([count_words(text) for text in texts], np.float64)
    lengths = [len(text) for text in texts]
    return effort.expected_seconds(lengths, *effort.taken(campaign.database, arm))


def _age(campaign: Campaign, round_: int, ids: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n,) rounds since each candidate was taken in: row ids rise, and each round knows the last of its own."""
    lasts = (campaign.output("", round_, "intake") or {})["lasts"]
    return round_ - np.searchsorted(lasts, ids).astype(np.float64)


def progress_of(campaign: Campaign, arm: str, round_: int) -> Progress:
    """Where an arm stands before a round."""
    taught = campaign.outputs(arm, "teach", *OF_TRAINING)
    chosen = campaign.outputs(arm, "query", "policy", "asked")
    decided = campaign.outputs(arm, "evaluate", "decide", "rewards")
    rounds = tuple(
        PastRound(
            number,
            **{name: found[key] for name, key in (("score", "accuracy"), ("low", "low"), ("high", "high"))},
            right=frozenset(found.get("right", ())),  # rounds of an earlier version have none
            wrong=frozenset(found.get("wrong", ())),
            **dict(zip(OF_TRAINING, learned, strict=True)),
            policy_rewards=tuple(rewards["policy"]),
            auto_rewards=tuple(rewards["auto"]),
            policy=policy,
            asked=asked,
        )
        for number, ((found, rewards), learned, (policy, asked)) in enumerate(
            zip(decided[:round_], taught[:round_], chosen[:round_], strict=True)
        )
    )
    return Progress(campaign.queue.spent(arm), campaign.config.label.budget, rounds)


def _slots(campaign: Campaign, asking: NDArray[np.int64], picked: int, seed: int) -> list[dict[str, object]]:
    """Questions in a shuffled order, so that an annotator cannot tell the audit sample by its place."""
    public_ids = [document.public_id for document in campaign.pool.documents(asking.tolist())]
    places = np.random.default_rng([seed, 1]).permutation(len(asking))
    return [
        {
            "document_id": int(asking[i]),
            "kind": "policy" if i < picked else "audit",
            "part": "" if i < picked else audit.part(public_ids[i], campaign.config.seed),
            "position": int(places[i]),
        }
        for i in range(len(asking))
    ]


def _suggestions(
    campaign: Campaign, asking: NDArray[np.int64], learner: Learner[OwnEstimator]
) -> dict[str, list[object]]:
    """What the model thinks of each question now, for the queue to show after the answer.

    One of spans thinks nothing before any answer: to it the descriptions of classes say nothing.
    """
    if campaign.config.label.task == "spans" and not learner.classifier.taught:
        return {}
    found = learner.classifier.predicted(column(asking))
    said = zip(asking.tolist(), campaign.labels.kept(found.answers), found.chances.tolist(), strict=True)
    return {str(row_id): [label, round(probability, 3)] for row_id, label, probability in said}


def _seed(campaign: Campaign, round_: int, purpose: str) -> int:
    return candidates.seed_of(campaign.config.seed, round_, purpose)
