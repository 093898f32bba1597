"""Inverse propensity scoring with ratios cut off at a ceiling: less variance for a bias towards 0.

    V = mean of min(w, c) r

(Ionides 2008, truncated importance sampling: with c = sqrt(n) the bias vanishes as n grows.)
"""

import numpy as np

from discover.errors import DiscoverError
from discover.ope import moments, ratios
from discover.ope.estimator import bounded_by
from discover.ope.feedback import Feedback, Floats


def ceiling_of(feedback: Feedback, *, ceiling: float | None = None) -> float:
    """The ceiling c; by default the square root of the number of rows.

    Raises:
        DiscoverError: it is not positive.
    """
    if ceiling is None:
        return float(np.sqrt(len(feedback)))
    if not ceiling > 0:
        raise DiscoverError(f"ceiling must be more than 0, found {ceiling}: it is the largest ratio that counts")
    return float(ceiling)


@bounded_by(ceiling_of)
def clipped_ips(feedback: Feedback, weights: Floats, *, ceiling: float | None = None) -> moments.Estimates:
    """Values (B,) and standard errors (B,) of (B, n) resamples; `ceiling` is c."""
    ratio = np.minimum(ratios.of_picks(feedback), ceiling_of(feedback, ceiling=ceiling))
    return moments.mean(ratio * feedback.rewards, feedback.units, weights)
