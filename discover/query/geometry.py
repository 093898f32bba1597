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


def halved(
    values: NDArray[np.float64], cluster: NDArray[np.int64], rng: np.random.Generator, temperature: float
) -> NDArray[np.float64]:
    """(n,) values, the best of a cluster's as they are, each further one's halved once more.

    Within a cluster the best is picked first, so what is to be halved is known before the draw. Costs must be in the
    values already: halved for a dearer one, a cheap one would never be asked about.
    """
    return values * 0.5 ** places(values, cluster, rng, temperature)


def places(
    values: NDArray[np.float64], cluster: NDArray[np.int64], rng: np.random.Generator, temperature: float
) -> NDArray[np.int64]:
    """(n,) how many of the same cluster come before each: the larger values, and of equals some.

    Those come in a drawn order, as no place in the view is better than another, or where nothing is drawn
    (temperature 0) in that of the view; to stand side by side would let one document, there many times, fill a batch.

    Args:
        values: (n,) the larger the sooner.
        cluster: (n,) of each.
        rng: its stream is left as it is.
        temperature: of the draw that follows.
    """
    tie = rng.spawn(1)[0].permutation(len(values)) if temperature else np.arange(len(values))
    order = np.lexsort((tie, -values, cluster))
    ordered, at = cluster[order], np.arange(len(order))
    first = np.append(True, ordered[1:] != ordered[:-1])[: len(order)]  # of its cluster
    found = np.empty(len(order), np.int64)
    found[order] = at - np.maximum.accumulate(at * first)
    return found
