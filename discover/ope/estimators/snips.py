"""Self-normalised inverse propensity scoring: a weighted mean of the rewards.

    V = sum of w r / sum of w

(Swaminathan & Joachims 2015). It moves with rewards that are shifted, and lies within their range; the price is a bias
that vanishes with n. The sum of the ratios is taken anew in each resample.
"""

from discover.ope import moments, ratios
from discover.ope.feedback import Feedback, Floats


def snips(feedback: Feedback, weights: Floats) -> moments.Estimates:
    """Values (B,) and standard errors (B,) of (B, n) resamples; NaN where no ratio is above 0."""
    ratio = ratios.of_picks(feedback)
    return moments.ratios([(ratio * feedback.rewards, ratio)], feedback.units, weights)
