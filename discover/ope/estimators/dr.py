"""Doubly robust: the direct method, corrected by what its model got wrong on the logged picks.

    V = mean of sum over a of target(i, a) q(i, a) + w (r - q(i, a_i))

(Dudik, Langford & Li 2011, https://arxiv.org/abs/1103.4601). Unbiased where the propensities are right or the model is.
"""

from discover.ope import moments, ratios
from discover.ope.feedback import Feedback, Floats
from discover.ope.residuals import baseline_and_residuals


def dr(feedback: Feedback, weights: Floats) -> moments.Estimates:
    """Values (B,) and standard errors (B,) of (B, n) resamples."""
    baseline, residuals = baseline_and_residuals(feedback)
    return moments.mean(baseline + ratios.of_picks(feedback) * residuals, feedback.units, weights)
