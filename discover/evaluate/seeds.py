"""What one arm gains over another across seeds and datasets: paired differences, their intervals and tests.

Shapes: s seeds, k datasets, r rounds. A pair is two campaigns with the same dataset, learner, seed and seed labels.
"""

import itertools
from collections.abc import Sequence
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student

EXACT = 12  # seeds up to which every assignment of signs is counted
RESAMPLES = 20_000


def standard_error(scores: ArrayLike) -> NDArray[np.float64]:
    """Standard error of the mean over the first axis, s / sqrt(n); NaN with fewer than two rows.

    Args:
        scores: (s, …).
    """
    found = np.asarray(scores, np.float64)
    if len(found) < 2:
        return np.full(found.shape[1:], np.nan)
    return np.asarray(found.std(axis=0, ddof=1) / sqrt(len(found)))


def half_width(scores: ArrayLike, level: float = 0.95) -> NDArray[np.float64]:
    """Half of Student's interval for the mean over the first axis: t(s - 1) times the standard error.

    Student 1908, "The probable error of a mean". NaN with fewer than two rows.

    Args:
        scores: (s, …); differences of pairs, or scores themselves.
        level: of the interval.
    """
    rows = len(np.asarray(scores))
    quantile = student.ppf(0.5 + level / 2, rows - 1) if rows > 1 else np.nan
    return np.asarray(quantile * standard_error(scores))


def sign_flip(differences: ArrayLike, rng: np.random.Generator) -> float:
    """Two-sided p of the mean of paired differences, were either sign of each as likely as the other.

    Fisher 1935, "The design of experiments", section 21. Exact, over all 2^s assignments of signs, up to `EXACT` pairs;
    beyond them (1 + hits) / (1 + draws) over random ones (Phipson & Smyth 2010,
    https://doi.org/10.2202/1544-6115.1585), which is never 0.

    Args:
        differences: (s,).
        rng: drawn from when there are many.

    Raises:
        ValueError: there are no differences.
    """
    pairs = np.asarray(differences, np.float64)
    if pairs.ndim != 1 or not len(pairs):
        raise ValueError(f"differences (s,) of at least one pair are needed, got the shape {pairs.shape}")
    threshold = abs(pairs.sum()) - 1e-12 * np.abs(pairs).sum()  # sums that are equal but for rounding
    if len(pairs) <= EXACT:
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=len(pairs))))
        return float((np.abs(signs @ pairs) >= threshold).mean())
    signs = rng.choice((-1.0, 1.0), (RESAMPLES, len(pairs)))
    return float((1 + (np.abs(signs @ pairs) >= threshold).sum()) / (1 + RESAMPLES))


def holm(p: Sequence[float]) -> list[float]:
    """Several p values, corrected for their number: the family-wise error rate is kept, whatever depends on what.

    Holm 1979, "A simple sequentially rejective multiple test procedure": in rising order, the i-th of m (from 0) times
    m - i, never below the one before it, at most 1.
    """
    order = np.argsort(p, kind="stable")
    stepped = np.asarray(p, np.float64)[order] * (len(p) - np.arange(len(p)))
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(stepped), 1)
    return [float(value) for value in corrected]


def between_datasets(means: ArrayLike, rng: np.random.Generator, level: float = 0.95) -> tuple[float, float] | None:
    """Percentile interval of the mean over datasets, each a unit that is drawn as a whole; none with fewer than two.

    Davison & Hinkley 1997, "Bootstrap methods and their application", section 3.8: draw clusters, keep what is in them.
    With few datasets the interval is too narrow: of two it can only say how far they lie apart.

    Args:
        means: (k,) a dataset's mean difference each.
        rng: the only source of chance.
        level: of the interval.
    """
    found = np.asarray(means, np.float64)
    if len(found) < 2:
        return None
    drawn = found[rng.integers(0, len(found), (RESAMPLES, len(found)))].mean(axis=1)
    tail = (1 - level) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return float(low), float(high)
