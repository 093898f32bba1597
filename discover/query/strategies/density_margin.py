"""Density-weighted margin: an answer on what the model cannot tell apart, where many documents are like it.

``u = rank(1 - margin) * sqrt(rank(density))``, density being the mean cosine to the nearest candidates: information
density (Settles & Craven 2008) over margins, on ranks, so that neither outweighs the other. O(n^2 d).

Where the candidates are few for so many classes, it is the nearest of r documents drawn from all that is not labelled,
O(n r d). That is looked up for the half that the model is less sure of; the others count as neither crowded nor lonely.
"""

import numpy as np
from numpy.typing import NDArray

from discover.plugins import Weight
from discover.query import uncertainty
from discover.query.acquire import Picks, gumbel_top_k, per_cost, rank_scaled
from discover.query.geometry import NEIGHBOURS, density, density_among
from discover.query.view import View

# Of how many nearest: a fiftieth of an even class's share of the candidates, since what is broader than a class says
# little of it; where that would be too few, the candidates are too few to tell (runs/LOG.md).
FEWEST, PART = 4, 50


def density_margin(view: View, n: int, rng: np.random.Generator, *, weight: Weight = 0.5) -> Picks:
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
    return unsure * _crowded(view, unsure) ** weight


def _crowded(view: View, unsure: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) the rank of the density, in [0, 1], of candidates that are so unsure, (n,)."""
    c = len(view.counts)
    close = len(view) // (PART * c)
    if close >= FEWEST:
        return rank_scaled(density(view.vectors, min(close, NEIGHBOURS)))
    ranks, half = np.full(len(view), 0.5), unsure >= 0.5
    close = max(FEWEST, len(view.crowd[0]) // (PART * c))
    ranks[half] = rank_scaled(density_among(view.ids[half], view.vectors[half], view.crowd, close))
    return ranks
