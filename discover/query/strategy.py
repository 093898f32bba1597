"""A query strategy: the config word that names it, and its bridges to and from modAL.

A strategy is a function ``(view, n, rng) -> Picks``; its keyword-only parameters are its options. The word is a file in
`strategies`, ``path/file.py:name``, or a stock modAL one, ``modAL.uncertainty:margin_sampling``, which modAL runs with
the view in the place of its classifier.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover import plugins
from discover.errors import DiscoverError
from discover.pool.labels import Task
from discover.query import stock
from discover.query.acquire import Picks
from discover.query.config import CandidateConfig
from discover.query.propensity import ordered_log_propensities, set_log_propensity
from discover.query.view import View

PACKAGE = "discover.query.strategies"
BY_CLASS = ("badge", "committee", "rare_class")  # what cannot rank answers by spans
CHOOSERS = ("policy", "auto")  # who may share a batch
CONTROL = "random"  # what every other strategy is measured against; it also draws the seed labels

ModalStrategy = Callable[..., tuple[NDArray[np.int64], NDArray[np.float64]]]


@dataclass(frozen=True)
class Strategy:
    """A strategy found and its options checked; call it as ``strategy(view, n, rng)``.

    Attributes:
        word: what the config says.
        function: from (view, n, rng) and the options to picks.
        options: its keyword-only parameters.
    """

    word: str
    function: Callable[..., Picks]
    options: dict[str, Any] = field(default_factory=dict)

    def candidates_from(self, shares: CandidateConfig) -> CandidateConfig:
        """Where its candidates come from: those of the control from the whole pool, evenly.

        Random picks among candidates that were drawn near labels, or where the model is unsure, are no random sample.
        """
        if self.word != CONTROL:
            return shares
        return CandidateConfig(count=shares.count, uniform=1, neighbours=0, uncertain=0, newest=0)

    def __call__(self, view: View, n: int, rng: np.random.Generator) -> Picks:
        """Pick n candidates, or all of them when there are fewer.

        Raises:
            DiscoverError: the strategy fails, or what it returns breaks the contract.
        """
        count = min(n, len(view))
        if count == 0:  # no strategy need think of it
            return Picks(np.empty(0, np.int64), np.empty(0), np.empty(0))
        with plugins.calling(f"the strategy {self.word!r}", ours=":" not in self.word):
            picks = self.function(view, count, rng, **self.options)
        _check(picks, view, count, self.word)
        return replace(
            picks,
            indices=np.asarray(picks.indices, np.int64),  # a user's may be lists
            utilities=np.asarray(picks.utilities, np.float64),
            log_propensities=np.asarray(picks.log_propensities, np.float64),
            logits=None if picks.logits is None else np.asarray(picks.logits, np.float64),
            choosers=None if picks.choosers is None else np.asarray(picks.choosers, np.str_),
        )


def names() -> list[str]:
    """The words of the built-in strategies."""
    return plugins.names(PACKAGE)


def load_strategy(word: str, options: dict[str, Any] | None = None, task: Task = "multiclass") -> Strategy:
    """Find the strategy that a config names.

    Args:
        word: a file in `strategies`, ``modAL.module:function``, or ``path/file.py:name``.
        options: its keyword-only parameters; of a modAL strategy, the keywords after ``n_instances``.
        task: what an answer is.

    Raises:
        DiscoverError: there is no such strategy, an option is not one of its own, or it does not fit the task.
    """
    options = dict(options or {})
    if stock.is_stock(word):
        return Strategy(word, stock.load(word, options, task))
    if task == "spans" and word in BY_CLASS:
        raise DiscoverError(
            f"query.strategy {word} goes by the probability of each class of a document, but with label.task spans it "
            "has those of its two likeliest answers: take margin, or auto"
        )
    function = plugins.load(PACKAGE, word)
    if not callable(function):
        raise DiscoverError(f"{word!r} must be a function (view, n, rng) -> Picks, found {type(function).__name__}")
    plugins.check_options(function, options, f"the strategy {word!r}")
    return Strategy(word, function, options)


def as_modal_strategy(
    strategy: Callable[[View, int, np.random.Generator], Picks],
    view_of: Callable[[Any, Any], View],
    rng: np.random.Generator,
) -> ModalStrategy:
    """Hand a strategy of ours to a modAL learner: ``ActiveLearner(estimator, query_strategy=…)``.

    Args:
        strategy: from (view, n, rng) to picks.
        view_of: from modAL's (classifier, X) to the view of X's rows, in their order.
        rng: drawn from at each query.

    Returns:
        A function (classifier, X, n_instances=1) -> (indices (k,), utilities (k,)). Always a pair: modAL runs a
        strategy twice when it returns a bare array, and takes a bare array of two indices for a pair.
    """
    failed: BaseException | None = None

    def query_strategy(classifier: Any, X: Any, n_instances: int = 1) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        nonlocal failed
        # modAL answers any exception, Ctrl-C included, by calling again: end there instead of drawing a second time.
        if failed is not None and sys.exc_info()[1] is failed:
            raise failed
        try:
            picks = strategy(view_of(classifier, X), n_instances, rng)
        except BaseException as error:
            failed = error
            raise
        return picks.indices, picks.utilities

    return query_strategy


def _check(picks: Any, view: View, count: int, word: str) -> None:
    """Refuse picks that would be logged wrongly or ask a question twice."""
    if not isinstance(picks, Picks):
        raise DiscoverError(f"the strategy {word!r} must return Picks, found {type(picks).__name__}: see acquire.Picks")
    n = len(view)
    indices = np.asarray(picks.indices)
    problem = ""
    if indices.shape != (count,) or not np.issubdtype(indices.dtype, np.integer):
        problem = f"{count} integer indices expected, found {indices.dtype} of shape {indices.shape}"
    elif count and (indices.min() < 0 or indices.max() >= n):
        problem = f"indices must lie in 0 … {n - 1}, found {indices.min()} … {indices.max()}"
    elif len(np.unique(indices)) < count:
        problem = "each candidate may be picked once, found one twice"
    elif not _finite(picks.utilities, (count,)):
        problem = f"utilities must be {count} finite numbers"
    elif not _finite(picks.log_propensities, (count,)) or (np.asarray(picks.log_propensities) > 1e-9).any():
        problem = f"log_propensities must be {count} finite numbers of at most 0"
    elif picks.logits is not None and not _finite(picks.logits, (n,)):
        problem = f"logits must be {n} finite numbers, or None"
    elif not _finite([picks.temperature, picks.floor, picks.set_log_propensity or 0.0], (3,)):
        problem = "temperature, floor and set_log_propensity must be finite; the last may be None"
    elif picks.choosers is not None and not _names(picks.choosers, count):
        problem = f"choosers must be {count} times one of {', '.join(CHOOSERS)}, or None"
    elif picks.logits is None:
        problem = "" if picks.set_log_propensity is None else "set_log_propensity must be None where logits is None"
    else:
        problem = _disagreement(picks, np.asarray(picks.logits, np.float64), indices)
    if problem:
        raise DiscoverError(
            f"the strategy {word!r} breaks its contract: {problem}; draw through discover.query.acquire"
        )


def _disagreement(picks: Picks, logits: NDArray[np.float64], indices: NDArray[np.int64]) -> str:
    """Which probability of the picks is not what the logits say; '' where all are."""
    said = ordered_log_propensities(logits, indices)
    wrong = np.flatnonzero(~np.isclose(picks.log_propensities, said, rtol=1e-6, atol=1e-6))
    if len(wrong):
        pick, found = wrong[0], picks.log_propensities[wrong[0]]
        return f"log_propensities must be what the logits say, {said[pick]:.6g} for pick {pick}, found {found:.6g}"
    given, of_set = picks.set_log_propensity, set_log_propensity(logits, indices)
    if given is not None and not np.isclose(given, of_set, rtol=1e-6, atol=1e-6):
        return f"set_log_propensity must be what the logits say, {of_set:.6g}, found {given:.6g}"
    return ""


def _names(choosers: Any, count: int) -> bool:
    return np.shape(choosers) == (count,) and set(np.asarray(choosers).tolist()) <= set(CHOOSERS)


def _finite(values: Any, shape: tuple[int, ...]) -> bool:
    array = np.asarray(values, dtype=np.float64)
    return array.shape == shape and bool(np.isfinite(array).all())
