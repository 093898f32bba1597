"""Direct method: what a model of the reward says of the target's actions; no ratio, and no correction of the model.

    V = mean over i of sum over a of target(i, a) q(i, a)

Its interval knows of the sample of contexts alone, not of the model's error: where the model is wrong, so is it.
"""

import numpy as np

from discover.ope import moments, rewards
from discover.ope.estimator import with_caveat
from discover.ope.feedback import Feedback, Floats


@with_caveat("its interval leaves out how wrong the model may be")
def direct_method(feedback: Feedback, weights: Floats) -> moments.Estimates:
    """Values (B,) and standard errors (B,) of (B, n) resamples."""
    predicted = rewards.predictions(feedback)
    return moments.mean(np.einsum("nk,nk->n", feedback.of("target"), predicted), feedback.units, weights)
