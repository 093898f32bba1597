"""What was logged, drawn more or less sharply: the logits to a power."""

import numpy as np
from scipy.special import log_softmax

from discover.errors import DiscoverError
from discover.ope.candidates import Candidates
from discover.ope.feedback import Floats


def logged(candidates: Candidates, *, power: float = 1.0) -> Floats:
    """(n,) log-probabilities of one draw; power 1 is the logging policy, 0 is uniform.

    Raises:
        DiscoverError: the query was drawn step by step, or nothing was drawn: there are no logits.
    """
    if candidates.logits is None:
        raise DiscoverError(
            f"query {candidates.query!r}: logits are needed, and its strategy {candidates.strategy!r} has none: "
            "take another target, or log a strategy that draws by Gumbel top-k"
        )
    return np.asarray(log_softmax(power * candidates.logits), np.float64)
