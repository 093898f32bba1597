"""Density-weighted margin with a penalty for what a cluster has had already (clDM).

``u = rank(1 - margin) * rank(density)^w / sqrt(1 + labels in the cluster) / 2^(picks in the cluster)``, clusters by
k-means over the candidates. One batch then spreads over the regions that the model cannot tell apart, and labels over
those that have few. `density_margin` for the density, O(n k d) for the clusters.
"""

import numpy as np

from discover.plugins import Count, Weight
from discover.query.acquire import Picks, gumbel_top_k, per_cost
from discover.query.geometry import clusters, halved, occupied
from discover.query.strategies.density_margin import crowded_margin
from discover.query.view import View


def clustered_density_margin(
    view: View, n: int, rng: np.random.Generator, *, weight: Weight = 0.25, count: Count = 50
) -> Picks:
    """Pick uncertain documents in crowded places of which little is labelled or picked.

    Args:
        view: the candidates.
        n: how many.
        rng: of the draw.
        weight: power of the density's rank, w; with 0.5 it falls behind margin where much is labelled (runs/LOG.md).
        count: clusters.
    """
    cluster, centres = clusters(view.vectors, count)
    utilities = crowded_margin(view, weight) / np.sqrt(1 + occupied(view.labelled_vectors, centres))[cluster]
    spread = halved(per_cost(utilities, view.costs), cluster, rng, view.temperature)
    return gumbel_top_k(spread, n, rng, view.temperature, view.floor)
