"""Where the candidates lie: how crowded it is around each, and in which cluster.

Everything is a function of the vectors and not of their order: k-means begins in an order that the vectors themselves
give, so that shuffled candidates are clustered alike.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from discover.embed.neighbours import k_means, nearest

NEIGHBOURS = 20  # as in TypiClust

Vectors = NDArray[np.float32]


def density(vectors: Vectors, neighbours: int = NEIGHBOURS) -> NDArray[np.float64]:
    """(n,) mean cosine of each of (n, d) unit vectors to its nearest others; O(n^2 d)."""
    if len(vectors) < 2:
        return np.zeros(len(vectors))
    scores, _ = nearest(vectors, min(neighbours + 1, len(vectors)))
    return scores[:, 1:].mean(axis=1, dtype=np.float64).round(5)  # what is left is noise of float32


def clusters(vectors: Vectors, count: int) -> tuple[NDArray[np.int64], Vectors]:
    """k-means: the cluster of each of (n, d) unit vectors, (n,), and the centres, (k, d), k at most ``count``."""
    order = np.lexsort(vectors.T[:3])
    different = len(np.unique(vectors.round(5), axis=0))
    found, centres = k_means(np.ascontiguousarray(vectors[order]), min(count, different))
    assigned = np.empty(len(vectors), np.int64)
    assigned[order] = found
    return assigned, centres


def occupied(labelled: Vectors, centres: Vectors) -> NDArray[np.int64]:
    """(k,) how many of (m, d) labelled unit vectors lie nearest to each of (k, d) centres."""
    return np.bincount((labelled @ centres.T).argmax(axis=1), minlength=len(centres))


def places(cluster: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.int64]:
    """(n,) how many of the same cluster have a larger value than each; equals share a place."""
    found = np.empty(len(cluster), np.int64)
    for one in np.unique(cluster):
        rows = np.flatnonzero(cluster == one)
        found[rows] = rankdata(-values[rows], method="min") - 1
    return found
