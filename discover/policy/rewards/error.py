"""Error: 1 where the model that chose was wrong about the document, 0 where it was right, of several labels about all.

A label counts as given from a probability of 1/2 on: the log does not keep the thresholds that were fitted.

What it knew already teaches a model little. It is cheap, bounded and says the same in every round, but it does not know
how many other documents an answer tells about: noise and outliers are worth as much as what is typical.
"""

import numpy as np

from discover.policy.reward import Answered, Floats


def error(answered: Answered) -> Floats:
    """(k,) rewards of a query's answered picks, 0 or 1."""
    if answered.answers.ndim == 2:
        return np.asarray(((answered.probabilities >= 0.5) != answered.answers).any(axis=1), np.float64)
    return np.asarray(answered.probabilities.argmax(axis=1) != answered.answers, np.float64)
