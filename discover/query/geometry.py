"""Where the candidates lie: how crowded it is around each, and in which cluster.

Everything is a function of the vectors and not of their order: k-means begins in an order that the vectors themselves
give, so that shuffled candidates are clustered alike.
"""

import numpy as np
from numpy.typing import NDArray

from discover.embed.neighbours import k_means, nearest

NEIGHBOURS = 20  # as in TypiClust

Vectors = NDArray[np.float32]


def density(vectors: Vectors, neighbours: int = NEIGHBOURS) -> NDArray[np.float64]:
    """(n,) mean cosine of each of (n, d) unit vectors to its nearest others; O(n^2 d)."""
    ids = np.arange(len(vectors))
    return density_among(ids, vectors, (ids, vectors), neighbours)


def density_among(
    ids: NDArray[np.int64], vectors: Vectors, crowd: tuple[NDArray[np.int64], Vectors], neighbours: int
) -> NDArray[np.float64]:
    """(n,) mean cosine of each document to the nearest of a crowd, but to itself; O(n r d).

    Args:
        ids: (n,) row ids.
        vectors: (n, d) unit vectors of theirs.
        crowd: (r,) row ids, each once, and (r, d) unit vectors.
        neighbours: how many nearest.
    """
    others, places = crowd
    if not len(ids) or len(others) < 2:
        return np.zeros(len(ids))
    scores, found = nearest(vectors, min(neighbours + 1, len(others)), places)
    left_out = others[found] == ids[:, None]
    left_out[~left_out.any(axis=1), -1] = True  # as many for those that are not in the crowd
    near = scores[~left_out].reshape(len(ids), -1)
    return near.mean(axis=1, dtype=np.float64).round(5)  # what is left is noise of float32


def clusters(vectors: Vectors, count: int) -> tuple[NDArray[np.int64], Vectors]:
    """k-means: the cluster of each of (n, d) unit vectors, (n,), and the centres, (k, d), k at most ``count``."""
    order = np.lexsort(vectors.T[:3])
    different = len({row.tobytes() for row in vectors.round(5) + 0.0})  # -0.0 is 0.0
    found, centres = k_means(np.ascontiguousarray(vectors[order]), min(count, different))
    assigned = np.empty(len(vectors), np.int64)
    assigned[order] = found
    return assigned, centres


def occupied(labelled: Vectors, centres: Vectors) -> NDArray[np.int64]:
    """(k,) how many of (m, d) labelled unit vectors lie nearest to each of (k, d) centres."""
    return np.bincount((labelled @ centres.T).argmax(axis=1), minlength=len(centres))


def halved(values: NDArray[np.float64], cluster: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n,) values, the best of a cluster's as they are, each further one's halved once more.

    Within a cluster the best is picked first, so what is to be halved is known before the draw.
    """
    return values * 0.5 ** places(cluster, values)


def places(cluster: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.int64]:
    """(n,) how many of the same cluster have a larger value than each; equals share a place."""
    order = np.lexsort((-values, cluster))
    cluster, values = cluster[order], values[order]
    first = np.append(True, cluster[1:] != cluster[:-1])  # of its cluster
    other = first | np.append(True, values[1:] != values[:-1])  # than the one before
    at, found = np.arange(len(order)), np.empty(len(order), np.int64)
    found[order] = np.maximum.accumulate(at * other) - np.maximum.accumulate(at * first)
    return found
