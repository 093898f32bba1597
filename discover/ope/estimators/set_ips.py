"""Inverse propensity scoring of whole batches, in any order.

    V = mean over batches of W R,   W = P_target(set) / P_logged(set),   R the mean reward of the batch's picks

A reward does not care for the order of a draw, so the ratio of the set, which averages over all orders, is right as
well and varies less than the ratio of the order drawn. This is what a reward of the whole batch needs. A batch whose
set has no known probability, as one that the budget cut, is weighed by the order drawn.
"""

import numpy as np

from discover.errors import DiscoverError
from discover.ope import moments, ratios
from discover.ope.estimator import per
from discover.ope.feedback import Feedback, Floats


@per("batch")
def set_ips(feedback: Feedback, weights: Floats) -> moments.Estimates:
    """Values (B,) and standard errors (B,) of (B, n) resamples.

    Raises:
        DiscoverError: batches have several picks, and no set's probability is known.
    """
    batches = ratios.by_batch(feedback)
    if len(batches.rows) < len(feedback):
        known = np.isfinite(feedback.of("set_log_propensities")) & ~np.isnan(feedback.of("set_log_targets"))
        if not known.any():  # the product over an order alone is another estimator
            raise DiscoverError("the probability of a whole batch must be known of some, found none: log it")
    return moments.mean(batches.ratio * batches.reward, batches.unit, np.asarray(weights)[:, batches.rows])
