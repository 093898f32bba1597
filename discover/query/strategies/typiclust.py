"""TypiClust: the most typical document of each cluster that has no label yet; it needs no model.

k-means into as many clusters as there will be labels, at most 500; typicality is the mean cosine to the 20 nearest
candidates (Hacohen, Dekel & Weinshall, "Active learning on a budget: opposite strategies suit high and low budgets",
2022, https://arxiv.org/abs/2202.02794). A cluster's next typical one counts as one label more, so that
all clusters come before a second one of any. O(n^2 d + n k d).
"""

import numpy as np

from discover.plugins import Count
from discover.query.acquire import Picks, gumbel_top_k, per_cost
from discover.query.geometry import clusters, density, occupied, places
from discover.query.view import View


def typiclust(view: View, n: int, rng: np.random.Generator, *, most: Count = 500) -> Picks:
    """Pick what is typical of the clusters with the fewest labels, large ones first.

    Args:
        view: the candidates.
        n: how many.
        rng: of the draw.
        most: clusters.
    """
    labelled, vectors = view.labelled_vectors, view.vectors
    cluster, centres = clusters(vectors, min(len(labelled) + n, most))
    large = np.bincount(cluster, minlength=len(centres)) / (1 + len(view))
    typical = places(per_cost(density(vectors), view.costs), cluster, rng, view.temperature)
    utilities = (large - occupied(labelled, centres))[cluster] - typical
    return gumbel_top_k(per_cost(utilities, view.costs), n, rng, view.temperature, view.floor)
