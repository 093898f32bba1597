"""Inverse propensity scoring: each reward weighed by how much likelier the target makes its pick.

    V = mean of w r,   w = target / propensity

(Horvitz & Thompson 1952; Dudik et al. 2014, https://arxiv.org/abs/1503.02834). Unbiased where the logging policy gave
every action that the target wants some probability; its variance is that of the ratios, and grows with the rewards'
distance from 0.
"""

from discover.ope import moments, ratios
from discover.ope.estimator import bounded_by
from discover.ope.feedback import Feedback, Floats


@bounded_by(ratios.largest)
def ips(feedback: Feedback, weights: Floats) -> moments.Estimates:
    """Values (B,) and standard errors (B,) of (B, n) resamples."""
    return moments.mean(ratios.of_picks(feedback) * feedback.rewards, feedback.units, weights)
