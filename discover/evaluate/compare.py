"""What one arm gained over another on the same test documents, in one run.

Shapes: n test documents, r rounds. Intervals here say how the figure would vary with other test documents of the same
kind; they say nothing about other seeds, for which several runs are needed.
"""

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest

RESAMPLES = 4000


@dataclass(frozen=True)
class Difference:
    """First minus second, with its interval; ``p`` is against no difference, None where no test goes with it."""

    mean: float
    low: float
    high: float
    p: float | None = None

    @property
    def clear(self) -> bool:
        """The interval does not cover zero."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Course:
    """One arm's answers on the test documents, round by round.

    Attributes:
        name: of the arm.
        labels: (r,) labels paid for, rising; or words, of which `unit` tells.
        correct: (r, n) whether each test document was right.
    """

    name: str
    labels: NDArray[np.int64]
    correct: NDArray[np.bool_]
    unit: str = "labels"

    def __post_init__(self) -> None:
        if self.correct.ndim != 2 or len(self.labels) != len(self.correct) or not self.correct.size:
            raise ValueError(f"{self.name}: labels (r,) and correct (r, n) are needed, got {self.correct.shape}")

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """(r,) accuracy of each round."""
        return self.correct.mean(axis=1)


@dataclass(frozen=True)
class Comparison:
    """A strategy against a control.

    Attributes:
        labels: the largest number of labels that both arms reached; or of words, as `unit` says.
        n: test documents.
        strategy_accuracy, control_accuracy: there.
        accuracy: their difference, paired by test document.
        area: difference of the areas under the learning curves over the labels that both arms cover.
        control_needs: labels at which the control first reached ``strategy_accuracy``; None if it never did.
        strategy_needs: labels from which the strategy stayed at or above ``control_accuracy``; None if it ended below.
        control_since, strategy_since: labels from which each stayed at or above the accuracy that it ends with itself.
    """

    strategy: str
    control: str
    n: int
    labels: int
    strategy_accuracy: float
    control_accuracy: float
    accuracy: Difference
    area: Difference
    control_needs: float | None
    strategy_needs: float | None
    control_since: float
    strategy_since: float
    unit: str = "labels"


def paired(correct_a: ArrayLike, correct_b: ArrayLike, level: float = 0.95) -> Difference:
    """Difference of two accuracies on the same documents.

    Interval: Wald's for paired proportions with one pseudo-document added to each kind of disagreement (Bonett and
    Price 2012, "Adjusted Wald confidence interval for a difference of binomial proportions based on paired data"). It
    keeps its level when disagreements are few, where a bootstrap collapses. p: exact McNemar test.

    Args:
        correct_a: (n,) whether the first was right.
        correct_b: (n,) whether the second was right, aligned with the first.
        level: of the interval.

    Raises:
        ValueError: the shapes differ or there are no documents.
    """
    a, b = np.asarray(correct_a, bool), np.asarray(correct_b, bool)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise ValueError(f"two arrays of the same length, at least 1, are needed; got {a.shape} and {b.shape}")
    n, only_a, only_b = len(a), int((a & ~b).sum()), int((b & ~a).sum())
    share_a, share_b = (only_a + 1) / (n + 2), (only_b + 1) / (n + 2)
    centre = share_a - share_b
    half = NormalDist().inv_cdf(0.5 + level / 2) * sqrt((share_a + share_b - centre**2) / (n + 2))
    discordant = only_a + only_b
    p = float(binomtest(only_a, discordant).pvalue) if discordant else 1.0
    return Difference((only_a - only_b) / n, max(-1.0, centre - half), min(1.0, centre + half), p)


def aulc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Area under the learning curve: trapezoid over labels, the seed point included, divided by the label span.

    It has the unit of the score: a constant curve's area is that constant. A curve of one point has its score.

    Args:
        labels: (r,) rising.
        scores: (r,).
    """
    at, score = np.asarray(labels, np.float64), np.asarray(scores, np.float64)
    if at.shape != score.shape or at.ndim != 1 or not len(at) or (np.diff(at) <= 0).any():
        raise ValueError("labels must be rising, and one score must go with each")
    return float(score @ _trapezoid(at))


def area_difference(a: Course, b: Course, rng: np.random.Generator, level: float = 0.95) -> Difference:
    """Difference of the two areas over the labels that both arms cover, with a bootstrap interval over test documents.

    The area is linear in each document's correctness, so a document has an area of its own, and drawing documents
    once for all rounds and both arms is drawing from n differences. Percentile interval, `RESAMPLES` resamples.
    """
    low, high = max(a.labels[0], b.labels[0]), min(a.labels[-1], b.labels[-1])
    if low > high:
        raise ValueError(f"{a.name} and {b.name} have no number of labels in common")
    grid = np.unique(np.concatenate([a.labels, b.labels]))
    grid = grid[(grid >= low) & (grid <= high)].astype(np.float64)
    differences = _document_areas(a, grid) - _document_areas(b, grid)
    n = len(differences)
    means = np.empty(RESAMPLES)
    for index in range(RESAMPLES):
        means[index] = differences[rng.integers(0, n, n)].mean()
    tail = (1 - level) / 2
    edges = np.quantile(means, [tail, 1 - tail])
    return Difference(float(differences.mean()), float(edges[0]), float(edges[1]))


def labels_to_reach(labels: ArrayLike, scores: ArrayLike, target: float, lasting: bool = False) -> float | None:
    """Labels at which the curve, linear between rounds, reaches ``target``; None if it never does.

    Args:
        labels: (r,) rising.
        scores: (r,).
        target: a score.
        lasting: False: the first time counts, even if a later round falls back, which favours this curve. True: the
            point from which it stays at or above the target to the end, which does not.
    """
    at, score = np.asarray(labels, np.float64), np.asarray(scores, np.float64)
    above = score >= target - 1e-12
    if not (above[-1] if lasting else above.any()):
        return None
    index = int(np.flatnonzero(~above)[-1]) + 1 if lasting and not above.all() else int(np.argmax(above))
    if index == 0:
        return float(at[0])
    step = (target - score[index - 1]) / (score[index] - score[index - 1])
    return float(at[index - 1] + (at[index] - at[index - 1]) * min(step, 1.0))


def compare(strategy: Course, control: Course, rng: np.random.Generator, level: float = 0.95) -> Comparison:
    """Compare two arms of one run, which must have been tested on the same documents in the same order."""
    if strategy.correct.shape[1] != control.correct.shape[1]:
        raise ValueError("the arms were tested on different documents")
    labels = int(min(strategy.labels[-1], control.labels[-1]))
    # Rounds may end at different counts where questions were skipped: the last round at or below the common one.
    last, control_last = (int(np.searchsorted(arm.labels, labels, "right")) - 1 for arm in (strategy, control))
    if min(last, control_last) < 0:
        raise ValueError(f"{strategy.name} and {control.name} have no number of labels in common")
    reached, control_reached = float(strategy.accuracy[last]), float(control.accuracy[control_last])
    upto = slice(last + 1)
    return Comparison(
        strategy=strategy.name,
        control=control.name,
        n=strategy.correct.shape[1],
        labels=labels,
        strategy_accuracy=reached,
        control_accuracy=control_reached,
        accuracy=paired(strategy.correct[last], control.correct[control_last], level),
        area=area_difference(strategy, control, rng, level),
        control_needs=labels_to_reach(control.labels, control.accuracy, reached),
        strategy_needs=labels_to_reach(strategy.labels[upto], strategy.accuracy[upto], control_reached, lasting=True),
        control_since=_since(control, control_last),
        strategy_since=_since(strategy, last),
        unit=strategy.unit,
    )


def _since(course: Course, last: int) -> float:
    """Labels from which a course stayed at or above its accuracy in the round ``last``."""
    upto = slice(last + 1)
    found = labels_to_reach(course.labels[upto], course.accuracy[upto], float(course.accuracy[last]), lasting=True)
    assert found is not None  # it is there in that round at the latest
    return found


def _trapezoid(at: NDArray[np.float64]) -> NDArray[np.float64]:
    """(r,) weights that sum to 1: the share of the span that each point stands for."""
    if len(at) == 1:
        return np.ones(1)
    gaps = np.diff(at)
    weights = np.zeros(len(at))
    weights[:-1] += gaps / 2
    weights[1:] += gaps / 2
    return weights / (at[-1] - at[0])


def _document_areas(course: Course, grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) area under each document's own curve over ``grid``, linear between the course's rounds."""
    at = course.labels.astype(np.float64)
    between = np.stack([np.interp(grid, at, unit) for unit in np.eye(len(at))], axis=1)  # (grid, r)
    return (_trapezoid(grid) @ between) @ course.correct
