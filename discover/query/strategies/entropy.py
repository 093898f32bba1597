"""Entropy sampling: the more evenly the model spreads its belief over all classes, the more an answer tells.

Shannon entropy of the predicted distribution, in nats (Settles 2009, section 3.1). The measure is modAL's.
"""

import numpy as np

from discover.query import uncertainty
from discover.query.acquire import Picks, gumbel_top_k, per_cost
from discover.query.view import View


def entropy(view: View, n: int, rng: np.random.Generator) -> Picks:
    """Pick where the predicted distribution is widest; the utility is its entropy in nats."""
    return gumbel_top_k(per_cost(uncertainty.entropy(view), view.costs), n, rng, view.temperature, view.floor)
