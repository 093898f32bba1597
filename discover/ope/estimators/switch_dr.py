"""Switch-DR: doubly robust where the ratio is moderate, the model alone where it is not.

    V = mean of sum over a of target(i, a) q(i, a) + 1{w <= c} w (r - q(i, a_i))

(Wang, Agarwal & Dudik 2017, https://arxiv.org/abs/1612.01205).
"""

import numpy as np

from discover.ope import moments, ratios
from discover.ope.estimators.clipped_ips import ceiling_of
from discover.ope.feedback import Feedback, Floats
from discover.ope.residuals import baseline_and_residuals


def switch_dr(feedback: Feedback, weights: Floats, *, ceiling: float | None = None) -> moments.Estimates:
    """Values (B,) and standard errors (B,) of (B, n) resamples; `ceiling` is c, by default sqrt(n)."""
    baseline, residuals = baseline_and_residuals(feedback)
    ratio = ratios.of_picks(feedback)
    kept = np.where(ratio <= ceiling_of(feedback, ceiling=ceiling), ratio, 0)
    return moments.mean(baseline + kept * residuals, feedback.units, weights)
