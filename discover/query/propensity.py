"""Propensities of a Plackett-Luce draw, from its logits alone: of the ordered batch, and of the set.

A batch of k picks drawn by Gumbel top-k is a Plackett-Luce draw, so its ordered probability is a product; the
probability of the set sums that product over k! orders, which one integral does (Yellott 1977; Kool et al. 2019).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

NEGLIGIBLE = 38.0  # log units below the integrand's peak: exp(-38) is 3e-17, beyond float64's resolution
COARSE = 40  # points that find where the integrand matters
TOGETHER = 16  # sets at a time: their arrays stay in a core's cache
STEADY = 64.0  # log units: factors this far from 0 and infinity are multiplied instead of adding their logarithms


def ordered_log_propensities(logits: ArrayLike, indices: ArrayLike) -> NDArray[np.float64]:
    """Log-probability of each pick given those before it, under Plackett-Luce.

    Args:
        logits: (n,) log-probabilities, up to a constant.
        indices: (k,) positions in the order of the draw.

    Returns:
        (k,) float64. Their sum is the log-probability of the ordered batch.
    """
    logits, indices = np.asarray(logits, dtype=np.float64), np.asarray(indices, dtype=np.int64)
    if not len(indices):
        return np.empty(0)
    chosen = logits[indices]
    # Sums from the back instead of differences from the front: nothing cancels, however peaked the logits are.
    sums = np.concatenate([_log_rest(logits[None], indices[None]), chosen[::-1]])
    return chosen - np.logaddexp.accumulate(sums)[:0:-1]


def set_log_propensity(logits: ArrayLike, indices: ArrayLike) -> float:
    """Log-probability that Plackett-Luce draws this set, in any of its k! orders.

    Args:
        logits: (n,) log-probabilities, up to a constant.
        indices: (k,) distinct positions, in any order.

    Returns:
        The log-probability, at most 0; 0 when all were drawn.
    """
    logits, indices = np.asarray(logits, dtype=np.float64), np.asarray(indices, dtype=np.int64)
    return float(set_log_propensities(logits[None], indices[None])[0])


def set_log_propensities(logits: ArrayLike, indices: ArrayLike) -> NDArray[np.float64]:
    """The same of many sets, which is faster than one at a time.

    A set is drawn when its smallest perturbed logit exceeds the largest z of the rest, so with
    a = logit - logsumexp(logits of the rest) and g the standard Gumbel density,

        P(S) = integral of g(z) * prod over S of (1 - exp(-exp(a - z))) dz.

    The integrand's logarithm h is concave, and h' <= exp(-z) - 1 everywhere, h' >= exp(-z) - 1 - k: so its peak lies
    between -log(k + 1) and 0, and outside of the range searched below it is negligible, whatever the logits. It is
    analytic in a strip, so the trapezoidal rule converges geometrically.

    Args:
        logits: (q, n) log-probabilities, each row up to a constant.
        indices: (q, k) distinct positions in each row, in any order.

    Returns:
        (q,) log-probabilities, at most 0; 0 when all were drawn.
    """
    logits, indices = np.asarray(logits, dtype=np.float64), np.asarray(indices, dtype=np.int64)
    (q, k), n = indices.shape, logits.shape[1]
    if k in (0, n):
        return np.zeros(q)
    # Sorted, so that the order of a set's picks changes no digit.
    above = np.sort(np.take_along_axis(logits, indices, axis=1), axis=1) - _log_rest(logits, indices)[:, None]
    return np.concatenate([_integrated(above[start : start + TOGETHER]) for start in range(0, q, TOGETHER)])


def _integrated(above: NDArray[np.float64]) -> NDArray[np.float64]:
    """(q,) log-probabilities of sets whose picks are so far above the rest, (q, k)."""
    q, k = above.shape
    coarse = np.linspace(-np.log(k + 1.0) - 4, NEGLIGIBLE + 1, COARSE)
    heights = _log_integrand(np.broadcast_to(coarse, (q, COARSE)), above)
    matters = heights > heights.max(axis=1, keepdims=True) - NEGLIGIBLE
    low = coarse[np.maximum(matters.argmax(axis=1) - 1, 0)]
    high = coarse[np.minimum(COARSE - matters[:, ::-1].argmax(axis=1), COARSE - 1)]
    # The product bends on a scale of 1/sqrt(k) at its sharpest: this step leaves less than 1e-14, relative.
    count = 2 + int((high - low).max() * np.sqrt(k + 6) / 0.7)
    points = np.linspace(low, high, count, axis=1)
    found = _log_integrand(points, above)
    peak = found.max(axis=1)
    total = np.exp(found - peak[:, None]).sum(axis=1)
    return np.minimum(0.0, np.log(total) + peak + np.log(points[:, 1] - points[:, 0]))


def _log_rest(logits: NDArray[np.float64], indices: NDArray[np.int64]) -> NDArray[np.float64]:
    """(q,) logsumexp of each row's logits outside of its (q, k) indices; -inf where none is left."""
    left = logits.copy()
    np.put_along_axis(left, indices, -np.inf, axis=1)
    peak = left.max(axis=1, initial=-np.inf)
    finite = np.where(np.isfinite(peak), peak, 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(np.exp(left - finite[:, None]).sum(axis=1)) + finite)


def _log_integrand(z: NDArray[np.float64], above: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithm of the integrand at (q, p) points for (q, k) picks."""
    below = np.exp(-z)
    density = -z - below
    lowest, highest = above.min() - z.max(), above.max() - z.min()
    if lowest > -STEADY and highest < 700:
        factors = np.expm1(np.exp(above)[:, :, None] * -below[:, None, :])  # (q, k, p), each minus one factor
        np.negative(factors, out=factors)
        room = STEADY * 10 / max(-lowest, 1.0)  # how many of the smallest factors float64 holds
        while factors.shape[1] % 2 == 0 and room >= 2:
            half, room = factors.shape[1] // 2, room / 2
            factors = factors[:, :half] * factors[:, half:]
        return density + np.log(factors).sum(axis=1)
    gap = above[:, :, None] - z[:, None, :]
    tiny = gap < -30  # there 1 - exp(-x) is x to the last digit
    exact = np.log(-np.expm1(-np.exp(np.clip(gap, -30, 700))))
    return density + np.where(tiny, gap, exact).sum(axis=1)
