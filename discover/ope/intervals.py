"""Intervals of an estimate: a studentised bootstrap; and two that hold at any n for rewards in a declared range.

The bootstrap resamples units and computes the whole estimate anew in each, self-normalisation included, and studentises
it by its own standard error. Its interval is symmetric (Hall 1988): with skewed importance ratios that covers better
than equal tails. The other two are for a mean of independent rows (the sequence: or of a martingale): wide,
and never wrong more often than they say.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from discover.errors import DiscoverError
from discover.ope.feedback import Feedback, Floats
from discover.ope.moments import Estimates

RESAMPLES = 1000
CELLS = 4_000_000  # of weights at a time: 32 MB

Estimate = Callable[[Feedback, Floats], Estimates]


@dataclass(frozen=True)
class Interval:
    """Its ends; infinite where nothing bounds them."""

    low: float
    high: float

    @property
    def width(self) -> float:
        """High less low."""
        return self.high - self.low


def studentised(
    estimate: Estimate, feedback: Feedback, rng: np.random.Generator, level: float = 0.95, resamples: int = RESAMPLES
) -> Interval:
    """The symmetric bootstrap-t interval over units: value ± q standard errors, q the quantile of |v* - v| / se*.

    A resample without a standard error (all its units alike, or no ratio above 0) counts as infinitely far out: where
    there are more of them than the interval may leave out, it has no end. Where all units of the log are alike, it has
    no width (`diagnostics.of_interval`).

    Args:
        estimate: from feedback and weights (B, n) to values (B,) and standard errors (B,).
        feedback: the log; its units are independent.
        rng: the only source of chance.
        level: that it is to cover.
        resamples: how many.
    """
    values, errors = estimate(feedback, np.ones((1, len(feedback))))
    value, error = float(values[0]), float(errors[0])
    if not np.isfinite(error):
        return Interval(-np.inf, np.inf)
    if error == 0:
        return Interval(value, value)
    far = np.empty(0)
    for weights in _resampled(feedback, rng, resamples):
        again, spread = estimate(feedback, weights)
        with np.errstate(divide="ignore", invalid="ignore"):
            far = np.append(far, np.abs(again - value) / spread)
    far = np.sort(np.where(np.isnan(far), np.inf, far))
    beyond = int(np.floor((1 - level) * (resamples + 1)))
    if beyond < 1:
        raise DiscoverError(
            f"{resamples} resamples cannot tell an interval of level {level}: take a lower level, or in Python "
            f"Settings(resamples={math.ceil(1 / (1 - level)) - 1})"
        )
    return Interval(value - float(far[-beyond]) * error, value + float(far[-beyond]) * error)


def empirical_bernstein(values: Floats, low: float, high: float, level: float = 0.95) -> Interval:
    """An interval for the mean of independent values that lie in [low, high].

    |mean - truth| <= sqrt(2 v L / n) + 7 (high - low) L / (3 (n - 1)),  L = log(4 / (1 - level)),  v sample variance
    (Maurer & Pontil 2009, theorem 4, on both sides). It covers at any n and any distribution in the range.

    Raises:
        DiscoverError: a value lies outside the range, or there are fewer than two.
    """
    check_range(values, low, high)
    n = len(values)
    log = np.log(4 / (1 - level))
    half = np.sqrt(2 * values.var(ddof=1) * log / n) + 7 * (high - low) * log / (3 * (n - 1))
    return Interval(max(low, float(values.mean() - half)), min(high, float(values.mean() + half)))


def confidence_sequence(values: Floats, low: float, high: float, level: float = 0.95) -> NDArray[np.float64]:
    """Intervals (n, 2) for the mean that all hold at once, one after each value: look as often as you like, and stop.

    The predictable plug-in empirical-Bernstein sequence of Waudby-Smith & Ramdas 2024 (https://arxiv.org/abs/2010.09686,
    theorem 2), intersected over time. The values may depend on those before, as in an adaptive log, so long as each has
    the same mean given them.

    Raises:
        DiscoverError: a value lies outside the range, or there are fewer than two.
    """
    check_range(values, low, high)
    n, log = len(values), np.log(2 / (1 - level))
    x = (values - low) / (high - low)
    t = np.arange(1, n + 1)
    mean = (0.5 + np.cumsum(x)) / (t + 1)
    before = np.r_[0.5, mean[:-1]]
    variance = (0.25 + np.cumsum((x - mean) ** 2)) / (t + 1)
    bet = np.minimum(np.sqrt(2 * log / (np.r_[0.25, variance[:-1]] * t * np.log(1 + t))), 0.5)
    cost = (-np.log1p(-bet) - bet) * (x - before) ** 2  # the paper's 4 (x - m)^2 and its quarter
    centre, half = np.cumsum(bet * x) / np.cumsum(bet), (log + np.cumsum(cost)) / np.cumsum(bet)
    lows, highs = np.maximum.accumulate(centre - half), np.minimum.accumulate(centre + half)
    return low + (high - low) * np.clip(np.column_stack([lows, highs]), 0, 1)


def _resampled(feedback: Feedback, rng: np.random.Generator, resamples: int) -> Iterator[Floats]:
    """Weights (B, n) in chunks: how often each row's unit was drawn."""
    units, codes = np.unique(feedback.units, return_inverse=True)
    m, chunk = len(units), max(1, CELLS // len(feedback))
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        drawn = rng.integers(0, m, (size, m)) + m * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * m).reshape(size, m)[:, codes].astype(np.float64)


def check_range(values: Floats, low: float, high: float) -> None:
    """Refuse (n,) values outside of the range that was declared, and fewer than two of them."""
    if len(values) < 2 or not -np.inf < low < high < np.inf:
        raise DiscoverError(
            f"at least 2 values and a finite range, low < high, are needed, found {len(values)}, {low} and {high}"
        )
    bad = np.flatnonzero(~((values >= low) & (values <= high)))
    if len(bad):
        raise DiscoverError(
            f"the declared range is {low:g} to {high:g}, row {bad[0] + 1} has {values[bad[0]]:g}: declare a range that "
            "every reward lies in"
        )
