"""Doubly robust with optimistic shrinkage: large ratios are shrunk smoothly, by the amount that bounds the error best.

    V = mean of sum over a of target(i, a) q(i, a) + s w / (w^2 + s) (r - q(i, a_i))

(Su, Dimakopoulou, Krishnamurthy & Dudik 2020, https://arxiv.org/abs/1907.09623). A ratio of sqrt(s) is halved; s = 0 is
the direct method, a large s is `dr`.
"""

from discover.errors import DiscoverError
from discover.ope import moments, ratios
from discover.ope.feedback import Feedback, Floats
from discover.ope.residuals import baseline_and_residuals


def dros(feedback: Feedback, weights: Floats, *, shrinkage: float | None = None) -> moments.Estimates:
    """Values (B,) and standard errors (B,) of (B, n) resamples; `shrinkage` is s, by default n.

    Raises:
        DiscoverError: the shrinkage is negative.
    """
    s = float(len(feedback) if shrinkage is None else shrinkage)
    if s < 0:
        raise DiscoverError(f"shrinkage must be 0 or more, found {shrinkage}: a ratio of its square root is halved")
    baseline, residuals = baseline_and_residuals(feedback)
    ratio = ratios.of_picks(feedback)
    shrunk = s * ratio / (ratio**2 + s) if s else 0 * ratio
    return moments.mean(baseline + shrunk * residuals, feedback.units, weights)
