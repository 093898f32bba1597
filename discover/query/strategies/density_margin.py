"""Density-weighted margin: an answer on what the model cannot tell apart, where many documents are like it.

``u = rank(1 - margin) * sqrt(rank(density))``, density being the mean cosine to the 4 to 20 nearest candidates:
information density (Settles & Craven 2008) over margins, on ranks, so that neither outweighs the other. O(n^2 d).
"""

import numpy as np
from numpy.typing import NDArray

from discover.query import uncertainty
from discover.query.acquire import Picks, gumbel_top_k, per_cost, rank_scaled
from discover.query.geometry import NEIGHBOURS, density
from discover.query.view import View

# Of how many nearest candidates: a fiftieth of an even class's share of them, since what is broader than a class says
# little of it (runs/LOG.md).
FEWEST, PART = 4, 50


def density_margin(view: View, n: int, rng: np.random.Generator, *, weight: float = 0.5) -> Picks:
    """Pick uncertain documents in crowded places; the utility is the product of both ranks.

    Args:
        view: the candidates.
        n: how many.
        rng: of the draw.
        weight: power of the density's rank; 0 is margin.
    """
    return gumbel_top_k(per_cost(crowded_margin(view, weight), view.costs), n, rng, view.temperature, view.floor)


def crowded_margin(view: View, weight: float) -> NDArray[np.float64]:
    """(n,) the utility, in [0, 1]."""
    unsure = rank_scaled(1 - uncertainty.margin(view))
    close = np.clip(len(view) // (PART * len(view.counts)), FEWEST, NEIGHBOURS)
    return unsure * rank_scaled(density(view.vectors, int(close))) ** weight
