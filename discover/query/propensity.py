"""Propensities of a Plackett-Luce draw, from its logits alone: of the ordered batch, and of the set.

A batch of k picks drawn by Gumbel top-k is a Plackett-Luce draw, so its ordered probability is a product; the
probability of the set sums that product over k! orders, which one integral does (Yellott 1977; Kool et al. 2019).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

NEGLIGIBLE = 42.0  # log units below the integrand's peak: exp(-42) is 6e-19, beyond float64's resolution


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
    sums = np.concatenate([[_log_rest(logits, indices)], chosen[::-1]])
    return chosen - np.logaddexp.accumulate(sums)[:0:-1]


def set_log_propensity(logits: ArrayLike, indices: ArrayLike) -> float:
    """Log-probability that Plackett-Luce draws this set, in any of its k! orders.

    The set is drawn when its smallest perturbed logit exceeds the largest z of the rest, so with
    a = logit - logsumexp(logits of the rest) and g the standard Gumbel density,

        P(S) = integral of g(z) * prod over S of (1 - exp(-exp(a - z))) dz.

    The integrand's logarithm h is concave, and h' <= exp(-z) - 1 everywhere, h' >= exp(-z) - 1 - k: so its peak lies
    between -log(k + 1) and 0, and outside of the range searched below it is negligible, whatever the logits. It is
    analytic in a strip, so the trapezoidal rule converges geometrically. All in the log domain.

    Args:
        logits: (n,) log-probabilities, up to a constant.
        indices: (k,) distinct positions, in any order.

    Returns:
        The log-probability, at most 0; 0 when all were drawn.
    """
    logits, indices = np.asarray(logits, dtype=np.float64), np.asarray(indices, dtype=np.int64)
    k = len(indices)
    if k in (0, len(logits)):
        return 0.0
    above = np.sort(logits[indices]) - _log_rest(logits, indices)
    coarse = np.linspace(-np.log(k + 1.0) - 4, NEGLIGIBLE + 1, 96)
    heights = _log_integrand(coarse, above)
    matters = np.flatnonzero(heights > heights.max() - NEGLIGIBLE)
    low, high = coarse[max(matters[0] - 1, 0)], coarse[min(matters[-1] + 1, len(coarse) - 1)]
    # The product bends on a scale of 1/sqrt(k) at its sharpest: half of that leaves less than 1e-15, relative.
    points = np.linspace(low, high, 2 + int((high - low) * 2 * np.sqrt(k + 6)))
    return min(0.0, float(logsumexp(_log_integrand(points, above)) + np.log(points[1] - points[0])))


def _log_rest(logits: NDArray[np.float64], indices: NDArray[np.int64]) -> float:
    rest = np.ones(len(logits), dtype=bool)
    rest[indices] = False
    return float(logsumexp(logits[rest])) if rest.any() else -np.inf


def _log_integrand(z: NDArray[np.float64], above: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithm of the integrand at (p,) points for (k,) picks."""
    gap = above - z[:, None]
    tiny = gap < -30  # there 1 - exp(-x) is x to the last digit
    exact = np.log(-np.expm1(-np.exp(np.clip(gap, -30, 700))))
    return -z - np.exp(-z) + np.where(tiny, gap, exact).sum(axis=1)
