"""Margin, spread over the batch: a cluster's next document is worth half as much as the one before.

``u = rank(1 - margin) / 2^(picks in the cluster)``, clusters by k-means over the candidates. Margin alone asks about
near-duplicates in one batch; choosing by margin within clusters goes back to Citovsky et al., "Batch active learning at
scale", 2021, https://arxiv.org/abs/2107.14263, who take turns over the clusters instead. O(n k d).
"""

import numpy as np

from discover.plugins import Count
from discover.query import uncertainty
from discover.query.acquire import Picks, gumbel_top_k, per_cost, rank_scaled
from discover.query.geometry import clusters, halved
from discover.query.view import View


def spread_margin(view: View, n: int, rng: np.random.Generator, *, count: Count = 50) -> Picks:
    """Pick uncertain documents of many clusters; the utility is the rank after halving.

    Args:
        view: the candidates.
        n: how many.
        rng: of the draw.
        count: clusters.
    """
    ranks = per_cost(rank_scaled(1 - uncertainty.margin(view)), view.costs)
    spread = halved(ranks, clusters(view.vectors, count)[0], rng, view.temperature)
    return gumbel_top_k(spread, n, rng, view.temperature, view.floor)
