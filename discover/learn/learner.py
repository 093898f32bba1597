"""The learner: modAL's `ActiveLearner` around the text classifier. The only file that imports ``modAL.models``.

modAL is kept within bounds: samples are an (n, 1) column of row ids, so `teach` copies bytes; picks are computed before
`query` and handed through it as a pair, since modAL runs a strategy that returns anything else a second time, and takes
a bare result of two indices for indices and metrics; its one FutureWarning is silenced at the call.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
from modAL.models import ActiveLearner, Committee
from numpy.typing import ArrayLike, NDArray

from discover.errors import DiscoverError
from discover.learn.samples import column
from discover.pool.answers import hashable, stacked


class Chosen(Protocol):
    """What a strategy of ours returns, as far as it matters here: positions and their utilities."""

    @property
    def indices(self) -> NDArray[np.int64]:
        """(k,) positions among the candidates."""

    @property
    def utilities(self) -> NDArray[np.float64]:
        """(k,) what the strategy thought of them."""


class Estimator(Protocol):
    """What a learner needs of what it frames, over row ids: `TextClassifier`, or the user's own.

    Attributes:
        taught: row id to answer, as last trained on: a class index, or a tuple of c times 0 or 1, or of spans.
        unlabelled: (u,) row ids of documents that nobody has answered, for `fit` to look at.
        looks_at: how many of these it wants.
        changed: share of predictions for `unlabelled` that the last `fit` changed; None where that is not known.
    """

    taught: dict[int, Any]
    unlabelled: NDArray[np.int64]
    changed: float | None

    @property
    def unsure(self) -> float | None:
        """Share of errors that it expects of its predictions for `unlabelled`; None where that is not known."""

    @property
    def cross_validated(self) -> float | None:
        """Accuracy of its last cross-validation, on answers as they now stand; None before any."""

    @property
    def looks_at(self) -> int:
        """How many unanswered documents it wants to see in training."""

    def fit(self, X: NDArray[np.int64], y: NDArray[Any]) -> Any:
        """Learn m answers about (m, 1) row ids as they now stand, as `discover.pool.answers` has them."""

    def predict_proba(self, X: NDArray[np.int64]) -> NDArray[np.float64]:
        """Class probabilities, (n, c), of row ids (n, 1)."""


@runtime_checkable
class Ensemble(Protocol):
    """What a committee needs of the classifier."""

    def members(self) -> list[Any]:
        """Fitted estimators over row ids, with `classes_` and `predict_proba`."""


P = TypeVar("P", bound=Chosen)
E = TypeVar("E", bound=Estimator)


class Learner(Generic[E]):
    """One arm's learner.

    Args:
        classifier: fitted or not; one that was loaded from the registry goes on without training again.

    Attributes:
        classifier: the estimator.
        active: modAL's learner around it.
    """

    def __init__(self, classifier: E):
        self.classifier = classifier
        self.active = ActiveLearner(estimator=classifier, query_strategy=_no_strategy)
        self._take_over()

    def query(self, ids: ArrayLike, picks: P) -> P:
        """Pass picks through modAL's `query`, and give them back unchanged.

        Args:
            ids: (n,) row ids of the candidates.
            picks: chosen by a strategy, as positions among the candidates.
        """
        self.active.query_strategy = lambda learner, X, **options: (picks.indices, picks.utilities)
        chosen, rows = self.active.query(column(ids))
        self.active.query_strategy = _no_strategy
        if not (np.array_equal(chosen, picks.indices) and np.array_equal(rows, column(ids)[picks.indices])):
            raise RuntimeError("modAL returned other documents than were picked")
        return picks

    def teach(self, ids: ArrayLike, y: ArrayLike) -> None:
        """Append new answers and train on them, with replay.

        Args:
            ids: (k,) row ids, none of them taught before: a corrected answer goes through `fit`.
            y: (k,) class indices; or (k, c) 0 and 1, of several labels; or (k,) tuples of spans.
        """
        new, answers = column(ids), _array(y)
        if not len(new):
            return
        known = set(self.classifier.taught) & {int(row) for row in new.ravel()}
        if known:
            raise ValueError(f"teach only appends, but {len(known)} answers are known: give all of them to fit")
        with _silenced():
            self.active.teach(new, answers)

    def fit(self, ids: ArrayLike, y: ArrayLike) -> None:
        """Learn all answers as they now stand, corrections included; none of them leaves the classifier untaught.

        Args:
            ids: (m,) row ids of everything that is answered.
            y: their m answers, as for `teach`.
        """
        rows, answers = column(ids), _array(y)
        if not len(rows):  # modAL refuses to fit nothing
            self.classifier.fit(rows, answers)
            self.active.X_training = self.active.y_training = None
            return
        with _silenced():
            self.active.fit(rows, answers)

    def learn(self, ids: ArrayLike, y: ArrayLike) -> bool:
        """Take in all answers as they now stand: `teach` where they only grew, `fit` where one changed or went.

        Args:
            ids: (m,) row ids of everything that is answered.
            y: their m answers, as for `teach`.

        Returns:
            Whether there was anything to learn.
        """
        rows, answers, taught = column(ids), _array(y), self.classifier.taught
        stands = dict(zip(rows.ravel().tolist(), hashable(answers), strict=True))
        if any(stands.get(row) != answer for row, answer in taught.items()):
            self.fit(rows, answers)
            return True
        new = np.array([row not in taught for row in rows.ravel().tolist()], dtype=bool)
        self.teach(rows[new], answers[new])
        return bool(new.any())

    def predict_proba(self, ids: ArrayLike) -> NDArray[np.float64]:
        """Probabilities, (n, c), of the documents with these row ids (n,)."""
        return self.active.predict_proba(column(ids))

    def votes(self, ids: ArrayLike) -> NDArray[np.float64]:
        """Probabilities, (n, e, c), of documents (n,) under each member of a committee (modAL's `Committee`).

        Raises:
            DiscoverError: the classifier has no members to offer.
        """
        if not isinstance(self.classifier, Ensemble):
            raise DiscoverError(
                f"a committee needs a learner with members(), and {type(self.classifier).__name__} has none: "
                "give it one, or choose another strategy"
            )
        members = [ActiveLearner(estimator=one, query_strategy=_no_strategy) for one in self.classifier.members()]
        return Committee(members).vote_proba(column(ids))

    def _take_over(self) -> None:
        """Give modAL what the classifier already knows; its constructor would train on it again."""
        if self.classifier.taught:
            self.active.X_training = column(list(self.classifier.taught))
            self.active.y_training = stacked(list(self.classifier.taught.values()))


def _array(y: ArrayLike) -> NDArray[Any]:
    answers = np.asarray(y)
    return answers if answers.dtype == object else answers.astype(np.int64)


def _no_strategy(*_: Any, **__: Any) -> Any:
    raise RuntimeError("picks are computed by a strategy of discover.query and handed to Learner.query")


@contextmanager
def _silenced() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*force_all_finite", category=FutureWarning)
        yield
