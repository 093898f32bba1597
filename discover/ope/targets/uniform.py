"""Every candidate alike: what a control would be worth."""

import numpy as np

from discover.ope.candidates import Candidates
from discover.ope.feedback import Floats


def uniform(candidates: Candidates) -> Floats:
    """(n,) log-probabilities of one draw."""
    return np.full(len(candidates), -np.log(len(candidates)))
