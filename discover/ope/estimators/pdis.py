"""Per-decision importance sampling, for campaigns of several rounds.

    V = mean over campaigns of the sum over rounds t of (w_0 ... w_t) R_t

(Precup, Sutton & Singh 2000). A round's reward is weighed by what led to it alone. The product's spread grows with the
rounds: at 20 it is beyond use even for policies that are close, so longer campaigns are refused.
"""

import numpy as np

from discover.errors import DiscoverError
from discover.ope import moments, ratios
from discover.ope.estimator import per
from discover.ope.feedback import Feedback, Floats

ROUNDS = 20


@per("campaign")
def pdis(feedback: Feedback, weights: Floats) -> moments.Estimates:
    """Values (B,) and standard errors (B,) of (B, n) resamples: a campaign's sum of its batches' mean rewards.

    Raises:
        DiscoverError: a campaign has more than 20 rounds, or two batches at one step.
    """
    batches = ratios.by_batch(feedback)
    product = ratios.along_campaigns(batches)
    _, codes, counts = np.unique(batches.unit, return_inverse=True, return_counts=True)
    if counts.max() > ROUNDS:
        longest = batches.unit[int(np.argmax(counts[codes]))]
        raise DiscoverError(
            f"a campaign must have at most {ROUNDS} rounds, unit {longest} has {counts.max()}: judge its first "
            f"{ROUNDS}, or single rounds with snips or dr"
        )
    returns = np.bincount(codes, product * batches.reward).astype(np.float64)
    first = np.flatnonzero(np.r_[True, np.diff(batches.unit) != 0])
    return moments.mean(returns, batches.unit[first], np.asarray(weights)[:, batches.rows[first]])
