"""Margin sampling: the smaller the gap between the two likeliest classes, the more an answer decides.

Scheffer, Decomain & Wrobel 2001; also called breaking ties. The measure is modAL's; what it
means of several labels, `discover.query.uncertainty` says.
"""

import numpy as np

from discover.query import uncertainty
from discover.query.acquire import Picks, gumbel_top_k, per_cost
from discover.query.view import View


def margin(view: View, n: int, rng: np.random.Generator) -> Picks:
    """Pick where the two likeliest classes lie closest; the utility is 1 - margin."""
    return gumbel_top_k(per_cost(1 - uncertainty.margin(view), view.costs), n, rng, view.temperature, view.floor)
