"""Self-normalised doubly robust: as `dr`, its correction a weighted mean.

    V = mean of sum over a of target(i, a) q(i, a) + sum of w (r - q(i, a_i)) / sum of w

(Thomas & Brunskill 2016, https://arxiv.org/abs/1604.00923.) The sum of the ratios is taken anew in each resample.
"""

import numpy as np

from discover.ope import moments, ratios
from discover.ope.feedback import Feedback, Floats
from discover.ope.residuals import baseline_and_residuals


def sndr(feedback: Feedback, weights: Floats) -> moments.Estimates:
    """Values (B,) and standard errors (B,) of (B, n) resamples; NaN where no ratio is above 0."""
    baseline, residuals = baseline_and_residuals(feedback)
    ratio = ratios.of_picks(feedback)
    parts = [(baseline, np.ones(len(feedback))), (ratio * residuals, ratio)]
    return moments.ratios(parts, feedback.units, weights)
