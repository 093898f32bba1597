"""Least confidence: the less sure the model is of its best guess, the more an answer tells.

``u = 1 - max_y p(y | x)`` (Lewis & Gale 1994, https://arxiv.org/abs/cmp-lg/9407020). The measure is modAL's. O(n c).
"""

import numpy as np

from discover.query import uncertainty
from discover.query.acquire import Picks, gumbel_top_k, per_cost
from discover.query.view import View


def least_confidence(view: View, n: int, rng: np.random.Generator) -> Picks:
    """Pick where the likeliest class is least likely; the utility is one minus its probability."""
    return gumbel_top_k(per_cost(uncertainty.doubt(view), view.costs), n, rng, view.temperature, view.floor)
