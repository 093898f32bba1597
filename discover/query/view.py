"""The view: what a query strategy sees of the candidates of one round; arrays, and nothing else.

Whatever costs something (vectors, probabilities, what is labelled) is made when a strategy first asks for it, and kept.
A view also passes for a fitted classifier over its own rows, so modAL's measures run on it:
``modAL.uncertainty.classifier_margin(view, view.X)``. Left out on purpose: the database, the network, the texts.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from discover.errors import DiscoverError

OF_TRAINING = ("cross_validated", "changed", "unsure")  # of a past round: what its training leaves for decisions


@dataclass(frozen=True)
class PastRound:
    """How one past round ended.

    Attributes:
        round: its number.
        score: accuracy on the part of the audit sample that decisions may look at; None while there is none.
        low: lower end of the score's 95 % interval.
        high: upper end of it.
        right: row ids of that part's documents that the model was right about.
        wrong: those that it was wrong about.
        cross_validated: accuracy cross-validated over the answers; None where it was not computed.
        changed: share of predictions that differ from the round before, in [0, 1]; None where it was not computed.
        unsure: share of errors that the model expects of itself, in [0, 1]; None where it was not computed.
        policy_rewards: of the picks by a trained policy whose rewards became known in it, in [0, 1].
        auto_rewards: of the picks that were left to `auto`, likewise.
        policy: which trained policy asked in it, by the digest of its weights.
        asked: how many questions; None where that is not known.
    """

    round: int
    score: float | None = None
    low: float | None = None
    high: float | None = None
    right: frozenset[int] = frozenset()
    wrong: frozenset[int] = frozenset()
    cross_validated: float | None = None
    changed: float | None = None
    unsure: float | None = None
    policy_rewards: tuple[float, ...] = ()
    auto_rewards: tuple[float, ...] = ()
    policy: str | None = None
    asked: int | None = None


@dataclass(frozen=True)
class Progress:
    """Where the run stands: labels spent, labels it may spend, and its past rounds, oldest first; at first none."""

    spent: float = 0.0
    budget: float = 0.0
    rounds: tuple[PastRound, ...] = ()


@dataclass(frozen=True, eq=False)
class Votes:
    """Class probabilities under each member, (n, e, c); passes for a modAL committee over the view's own rows."""

    probabilities: NDArray[np.float64]

    def __len__(self) -> int:
        return self.probabilities.shape[1]

    def __iter__(self) -> Iterator[NDArray[np.float64]]:
        return iter(self.probabilities.swapaxes(0, 1))

    @property
    def classes_(self) -> NDArray[np.int64]:
        """(c,) class indices."""
        return np.arange(self.probabilities.shape[2])

    def vote(self, X: NDArray[np.int64]) -> NDArray[np.int64]:
        """(n, e) the class that each member finds likeliest, of all candidates (n, 1)."""
        return self.vote_proba(X).argmax(axis=2)

    def vote_proba(self, X: NDArray[np.int64]) -> NDArray[np.float64]:
        """(n, e, c), of all candidates (n, 1)."""
        if len(X) != len(self.probabilities):
            raise DiscoverError(f"a committee has voted on {len(self.probabilities)} candidates: give it view.X")
        return self.probabilities


@dataclass(frozen=True, eq=False)
class View:
    """The candidates of one round, in the order of their public ids. Every array is read-only.

    Attributes:
        ids: (n,) int64 row ids.
        generator: (n,) str, what drew each candidate: uniform, neighbours …
        age: (n,) float64, rounds since each was found.
        costs: (n,) float64, the price of an answer, in labels, expected seconds, or words.
        temperature: of the softmax over rank-scaled utility; 0 is deterministic.
        floor: share of the probability that is uniform, in [0, 1].
        progress: where the run stands.
        multilabel: whether a document may have several labels: probabilities are then of each label by itself, and
            `labels` has a row of 0 and 1 for each document.
        make_vectors: gives (n, d) float32.
        make_probabilities: gives (n, c) float64, the model's class probabilities; of spans (n, 2), those of the best
            and the second best answer, by length.
        make_crowd: gives (r,) row ids and (r, d) float32 vectors of documents that were drawn uniformly and are not
            labelled, by which it can be told how crowded it is around a candidate.
        make_labelled_vectors: gives (m, d) float32, of what is labelled.
        make_labels: gives (m,) int, the classes of what is labelled, aligned with its vectors; of several (m, c); of
            spans (m, c), 1 for each class that there is a span of.
        make_votes: gives (n, e, c) float64, class probabilities under each of e members of a committee.
    """

    ids: NDArray[np.int64]
    generator: NDArray[np.str_]
    age: NDArray[np.float64]
    costs: NDArray[np.float64]
    temperature: float
    floor: float
    progress: Progress = field(default_factory=Progress)
    multilabel: bool = False
    make_vectors: Callable[[], ArrayLike] | None = None
    make_probabilities: Callable[[], ArrayLike] | None = None
    make_crowd: Callable[[], tuple[ArrayLike, ArrayLike]] | None = None
    make_labelled_vectors: Callable[[], ArrayLike] | None = None
    make_labels: Callable[[], ArrayLike] | None = None
    make_votes: Callable[[], ArrayLike] | None = None

    def __post_init__(self) -> None:
        for name, kind in (("ids", np.int64), ("generator", np.str_), ("age", np.float64), ("costs", np.float64)):
            array = _sealed(getattr(self, name), kind)
            if array.shape != (len(self.ids),):
                raise ValueError(f"view.{name} must have the shape ({len(self.ids)},), found {array.shape}")
            object.__setattr__(self, name, array)

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def vectors(self) -> NDArray[np.float32]:
        """(n, d) retrieval vectors of the candidates, of length one."""
        return _made("vectors", self.make_vectors, np.float32, len(self))

    @cached_property
    def probabilities(self) -> NDArray[np.float64]:
        """(n, c) class probabilities under the present model; their rows sum to 1 unless there may be several."""
        return _made("probabilities", self.make_probabilities, np.float64, len(self))

    @cached_property
    def crowd(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """(r,) row ids and (r, d) vectors of a uniform sample of what is not labelled; else the candidates' own."""
        ids, vectors = self.make_crowd() if self.make_crowd else (self.ids, self.vectors)
        return _sealed(ids, np.int64), _sealed(vectors, np.float32)

    @cached_property
    def labelled_vectors(self) -> NDArray[np.float32]:
        """(m, d) retrieval vectors of what is labelled; m may be 0."""
        return _made("labelled_vectors", self.make_labelled_vectors, np.float32)

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """(m,) classes of what is labelled; or (m, c), 1 for each label that it has."""
        return _made("labels", self.make_labels, np.int64)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """(c,) how many of what is labelled are of each class, or have spans of it."""
        if self.labels.ndim == 2:
            return np.asarray(self.labels.sum(axis=0), np.int64)
        c = self.probabilities.shape[1]
        return self.labels.reshape(-1, c).sum(axis=0) if self.multilabel else np.bincount(self.labels, minlength=c)[:c]

    @cached_property
    def committee(self) -> "Votes":
        """What the members of a committee think of the candidates."""
        return Votes(_made("committee", self.make_votes, np.float64))

    @cached_property
    def X(self) -> NDArray[np.int64]:
        """(n, 1) row ids: the name and the form in which modAL passes documents around."""
        return self.ids.reshape(-1, 1)

    def predict_proba(self, X: NDArray[np.int64]) -> NDArray[np.float64]:
        """Class probabilities of candidates, as a fitted classifier gives them.

        Args:
            X: (k, 1) row ids, all of them candidates.

        Returns:
            (k, c) float64.

        Raises:
            DiscoverError: a row id is not among the candidates.
        """
        if X is self.X:
            return self.probabilities
        wanted = np.asarray(X).reshape(-1)
        order = np.argsort(self.ids)
        rows = order[np.minimum(np.searchsorted(self.ids, wanted, sorter=order), len(self) - 1)]
        if not np.array_equal(self.ids[rows], wanted):
            raise DiscoverError(
                f"a view knows the probabilities of its own {len(self)} candidates, "
                "and was asked for others: give it rows of view.X"
            )
        return self.probabilities[rows]


def rest(view: View, taken: NDArray[np.int64]) -> tuple[View, NDArray[np.int64]]:
    """The view without some of its candidates, and where the others are in it, (n - k,).

    Args:
        view: n candidates.
        taken: (k,) positions in it.
    """
    kept = np.setdiff1d(np.arange(len(view)), taken)
    left = View(
        ids=view.ids[kept],
        generator=view.generator[kept],
        age=view.age[kept],
        costs=view.costs[kept],
        temperature=view.temperature,
        floor=view.floor,
        progress=view.progress,
        multilabel=view.multilabel,
        make_vectors=lambda: view.vectors[kept],
        make_probabilities=lambda: view.probabilities[kept],
        make_crowd=lambda: view.crowd,
        make_labelled_vectors=lambda: view.labelled_vectors,
        make_labels=lambda: view.labels,
        make_votes=lambda: view.committee.probabilities[kept],
    )
    return left, kept


def _made(name: str, make: Callable[[], ArrayLike] | None, kind: Any, rows: int | None = None) -> NDArray[Any]:
    if make is None:
        raise DiscoverError(
            f"the strategy asks for view.{name}, which this view was not given: choose another strategy"
        )
    array = _sealed(make(), kind)
    if rows is not None and (array.ndim != 2 or len(array) != rows):
        raise ValueError(f"view.{name} must have {rows} rows of numbers, found the shape {array.shape}")
    return array


def _sealed(values: ArrayLike, kind: Any) -> NDArray[Any]:
    array = np.asarray(values, dtype=kind).view()
    array.flags.writeable = False
    return array
