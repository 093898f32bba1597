"""A campaign on labelled files: everything as in the loop, but answers come from an array and nothing is stored.

The seed labels are drawn at random; then, round by round, candidates are drawn through the index, the strategy chooses
a batch among them, the answers are taught, and the test documents say how good the learner has become. Left out: the
database, the audit sample (test labels are known), near-duplicates, growth of the pool.
"""

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from discover.embed.embedding import Encodes, embed_new
from discover.embed.index import Index
from discover.embed.vectors import VectorStore
from discover.evaluate import metrics
from discover.label.effort import expected_seconds
from discover.learn.learner import Learner
from discover.policy.reward import Answered, load_reward
from discover.pool.labelled import Dataset
from discover.query import candidates
from discover.query.acquire import Picks
from discover.query.config import CandidateConfig, QueryConfig
from discover.query.strategy import CHOOSERS, Strategy
from discover.query.view import OF_TRAINING, PastRound, Progress, View
from discover.strict import Strict

Ids = NDArray[np.int64]


class SimulationConfig(Strict):
    """What a simulated campaign may spend, and how it is asked, answered and measured."""

    initial: int = Field(25, ge=1, description="seed labels, drawn uniformly")
    batch: int = Field(25, ge=1, description="questions a round")
    budget: int = Field(525, ge=1, description="labels in all, seed labels included; the pool's end is the end as well")
    balanced: bool = Field(False, description="seed labels spread evenly over the classes, which takes an oracle")
    noise: float = Field(0.0, ge=0, lt=1, description="share of the answers replaced by another class")
    temperature: float = Field(0.0, ge=0, description="as in query.temperature")
    floor: float = Field(0.0, ge=0, le=1, description="as in query.floor")
    cost: Literal["answers", "seconds"] = Field("answers", description="as in query.cost; seconds by length alone")
    candidates: CandidateConfig = CandidateConfig()
    test_limit: int = Field(0, ge=0, description="test documents, drawn uniformly, the same ones always; 0: all")

    @model_validator(mode="after")
    def _affordable(self) -> "SimulationConfig":
        if self.budget < self.initial:
            raise ValueError(f"budget counts the seed labels, so it must be at least initial, {self.initial}")
        self.candidates.enough_for(self.batch)
        return self


class Arena:
    """A dataset with its vectors: what campaigns are played on.

    Args:
        dataset: the documents.
        folder: where their vectors are kept; they are memory-mapped, so processes share them.
        version: of the encoder.
        dimension: of a vector.
    """

    def __init__(self, dataset: Dataset, folder: Path, version: str, dimension: int):
        self.dataset = dataset
        self._pool = VectorStore(folder / dataset.digest / "pool", version, dimension)
        self._test = VectorStore(folder / dataset.digest / "test", version, dimension)
        self.index = Index(self._pool, self._pool.folder)

    def embed(self, encoder: Encodes, test_limit: int = 0) -> None:
        """Encode the documents that have no vector yet; for testing as many as the campaigns' `test_limit`."""
        for store, ids in ((self._pool, self.dataset.pool), (self._test, self.dataset.test[: test_limit or None])):
            public_ids = [self.dataset.public_ids[row] for row in ids]
            embed_new(encoder, store, ids, public_ids, self.texts)
        self.index.update()

    def texts(self, ids: Sequence[int]) -> list[str]:
        """The texts of row ids, aligned with them."""
        return [self.dataset.texts[row] for row in ids]

    def effort(self, ids: Sequence[int] | Ids) -> NDArray[np.float64]:
        """(k,) seconds that answers about row ids are expected to take."""
        return expected_seconds([len(self.dataset.texts[row]) for row in ids])

    def vectors(self, ids: Sequence[int] | Ids) -> NDArray[np.float32]:
        """(k, d) vectors of row ids, aligned with them."""
        rows = np.asarray(ids, np.int64)
        found = np.empty((len(rows), self._pool.dimension), np.float32)
        for store, here in ((self._pool, rows < self.dataset.n), (self._test, rows >= self.dataset.n)):
            found[here] = store.vectors(rows[here])
        return found


@dataclass(frozen=True, eq=False)
class Round:
    """A round as it ended.

    Attributes:
        asked: (k,) row ids of its questions, in the order of the draw; of round 0 the seed labels.
        labels: answers so far.
        effort: seconds that people would have needed for them.
        accuracy, macro_f1, ece: on the test documents.
        minority_f1: there as well, over the classes that are rare in the pool, by `metrics.minority`.
        seconds: of training.
        select_seconds: from drawing candidates to the picks.
        note: what the strategy said of its choice; mostly nothing.
    """

    asked: Ids
    labels: int
    effort: float
    accuracy: float
    macro_f1: float
    minority_f1: float
    ece: float
    seconds: float
    select_seconds: float
    note: str = ""


def play(
    arena: Arena, learner: Learner[Any], strategy: Strategy, config: SimulationConfig, seed: int
) -> Iterator[Round]:
    """Play one campaign; each round is given as soon as it is measured.

    Seed labels, candidates and noise depend on the seed and on public ids alone: they are the same in every arm.

    Args:
        arena: the documents.
        learner: one that knows nothing yet, over the arena's row ids.
        strategy: as `load_strategy` finds it.
        config: the rules.
        seed: of all draws.
    """
    answers = annotations(arena.dataset, config.noise, seed)
    tested = arena.dataset.test[: config.test_limit or None]
    truth, rare = arena.dataset.y[tested], metrics.minority(arena.dataset.y[: arena.dataset.n])
    budget = min(config.budget, arena.dataset.n)
    asked, uncertain, selecting = [seed_documents(arena, config, seed)], np.empty(0, np.int64), 0.0
    past: list[PastRound] = []
    rewards: dict[str, Any] = {}
    note = ""
    shares = strategy.candidates_from(config.candidates)
    while True:
        learner.classifier.unlabelled = _unlabelled(arena, learner.classifier.looks_at, asked, seed)
        started = time.perf_counter()
        learner.teach(asked[-1], answers[asked[-1]])
        taught = time.perf_counter() - started
        spent = sum(map(len, asked))
        known = {name: getattr(learner.classifier, name) for name in OF_TRAINING}
        past.append(PastRound(len(past), **known, **rewards))
        effort = round(float(arena.effort(np.concatenate(asked)).sum()), 1)
        scores = _scores(learner, tested, truth, rare)
        yield Round(asked[-1], spent, effort, *scores, taught, selecting, note)
        if spent >= budget:
            return
        started = time.perf_counter()
        drawn = _candidates(arena, shares, asked, answers, uncertain, seed)
        view = _view(arena, learner, config, drawn, asked, answers, past)
        rng = np.random.default_rng(candidates.seed_of(seed, len(asked), "strategy"))
        picks = learner.query(view.ids, strategy(view, min(config.batch, budget - spent), rng))
        asked.append(view.ids[picks.indices])
        rewards, note = _rewards(view, picks, answers[asked[-1]]), picks.note
        uncertain = candidates.most_uncertain(view) if shares.uncertain else uncertain
        selecting = time.perf_counter() - started


def seed_documents(arena: Arena, config: SimulationConfig, seed: int) -> Ids:
    """(k,) row ids of the seed labels, in the order of the draw."""
    store, count = arena.index.store, min(config.initial, arena.dataset.n)
    seed = candidates.seed_of(seed, 0, "seed labels")
    if not config.balanced:
        return candidates.draw_uniformly(store, (), count, seed)[0]
    order = candidates.draw_uniformly(store, (), arena.dataset.n, seed)[0]
    turn = candidates.turns(arena.dataset.y[order])
    return order[np.argsort(turn, kind="stable")[:count]]


def annotations(dataset: Dataset, noise: float, seed: int) -> Ids:
    """(n,) what an annotator says of each document of the pool: with probability ``noise`` another class, uniformly.

    Decided for each document by a hash of seed and public id, so that asking twice, or in another arm, changes nothing.
    """
    answers = dataset.y[: dataset.n].copy()
    for row, public_id in enumerate(dataset.public_ids[: dataset.n] if noise else []):
        digest = hashlib.sha256(f"noise {seed} {public_id}".encode()).digest()
        if int.from_bytes(digest[:8], "big") < noise * 2**64:
            step = 1 + int.from_bytes(digest[8:16], "big") % (len(dataset.classes) - 1)
            answers[row] = (answers[row] + step) % len(dataset.classes)
    return answers


def _unlabelled(arena: Arena, count: int, asked: list[Ids], seed: int) -> Ids:
    """(u,) row ids of unanswered documents: mostly the same ones in every round."""
    draw = candidates.seed_of(seed, 0, "unlabelled")
    return candidates.draw_uniformly(arena.index.store, np.concatenate(asked), count, draw)[0]


def _candidates(
    arena: Arena, shares: CandidateConfig, asked: list[Ids], answers: Ids, uncertain: Ids, seed: int
) -> candidates.Candidates:
    labelled = np.concatenate([np.sort(batch) for batch in reversed(asked)])  # newest first, then by public id
    return candidates.draw(
        arena.index,
        excluded=labelled,
        labelled=labelled,
        classes=answers[labelled],
        uncertain=uncertain,
        config=shares,
        seed=candidates.seed_of(seed, len(asked), "candidates"),
    )


def _view(
    arena: Arena,
    learner: Learner[Any],
    config: SimulationConfig,
    drawn: candidates.Candidates,
    asked: list[Ids],
    answers: Ids,
    past: Sequence[PastRound],
) -> View:
    """What the strategy sees, as `steps.choose` shows it; all documents were found before the first round."""
    labelled = np.concatenate(asked)
    return View(
        ids=drawn.ids,
        generator=drawn.generator,
        age=np.full(len(drawn), float(len(asked))),
        costs=arena.effort(drawn.ids) if config.cost == "seconds" else np.ones(len(drawn)),
        temperature=config.temperature,
        floor=config.floor,
        progress=Progress(len(labelled), min(config.budget, arena.dataset.n), tuple(past)),
        make_vectors=lambda: arena.vectors(drawn.ids),
        make_probabilities=lambda: learner.predict_proba(drawn.ids),
        make_crowd=lambda: (drawn.crowd, arena.vectors(drawn.crowd)),
        make_votes=lambda: learner.votes(drawn.ids),
        make_labelled_vectors=lambda: arena.vectors(labelled),
        make_labels=lambda: answers[labelled],
    )


def _rewards(view: View, picks: Picks, answers: Ids) -> dict[str, tuple[float, ...]]:
    """What the (k,) answers to picks were worth, by who chose them, where a strategy shares its batch."""
    rule = load_reward(QueryConfig().reward)
    if picks.choosers is None or rule is None:
        return {}
    answered = Answered(
        answers,
        view.probabilities[picks.indices],
        lambda: view.vectors[picks.indices],
        lambda: view.labelled_vectors,
        view.labels,
    )
    worth = rule(answered)
    return {f"{one}_rewards": tuple(worth[picks.choosers == one].tolist()) for one in CHOOSERS}


def _scores(learner: Learner[Any], tested: Ids, truth: Ids, rare: Ids) -> tuple[float, float, float, float]:
    """Accuracy, macro-F1, F1 of the rare classes, and calibration error."""
    probabilities = learner.predict_proba(tested)
    predicted = probabilities.argmax(axis=1)
    return (
        metrics.accuracy(predicted, truth),
        metrics.macro_f1(predicted, truth),
        metrics.minority_f1(predicted, truth, rare),
        metrics.calibration_error(probabilities, truth),
    )
