"""Surprise: one less the probability that the model that chose gave to what the answer turned out to be.

It says what `error` says, whether there was something to be learned from the answer, and says it with less chance: a
doubtful document is worth about a half whichever way it falls, and not 0 or 1. So a test on it is sooner sure, which is
why it is the default (measured by `tests/benchmarks/safety.py`, figures in runs/LOG.md). Like `error` it does not know
how many other documents an answer tells about.
"""

import numpy as np

from discover.policy.reward import Answered, Floats
from discover.query.uncertainty import probability_of


def surprise(answered: Answered) -> Floats:
    """(k,) rewards of a query's answered picks, in [0, 1]."""
    given = probability_of(answered.answers, answered.probabilities)
    return np.asarray(np.clip(1 - given, 0, 1), np.float64)
