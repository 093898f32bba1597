"""Exact neighbours, and clusters, without an index that lasts."""

from collections.abc import Iterator
from contextlib import contextmanager

import faiss
import numpy as np
from numpy.typing import NDArray

from discover.embed.vectors import CHUNK, VectorStore

ITERATIONS = 8  # of k-means


def nearest_in(store: VectorStore, until: int, queries: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """(q, k) positions of the nearest among the first vectors of a store, without holding them."""
    scores, positions = np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
    for start in range(0, until, CHUNK):
        found = queries @ store.rows(start, min(start + CHUNK, until)).T
        scores = np.concatenate([scores, found], axis=1)
        here = np.broadcast_to(np.arange(start, start + found.shape[1]), found.shape)
        positions = np.concatenate([positions, here], axis=1)
        best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        scores, positions = np.take_along_axis(scores, best, 1), np.take_along_axis(positions, best, 1)
    return positions


def nearest(
    vectors: NDArray[np.float32], k: int, among: NDArray[np.float32] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The k nearest of each of a few thousand vectors (n, d): scores and positions, (n, k) each.

    Args:
        vectors: n of them.
        k: at most r.
        among: (r, d) vectors that are found; by default the n themselves, each its own nearest.
    """
    with one_thread():
        return faiss.knn(vectors, vectors if among is None else among, k, metric=faiss.METRIC_INNER_PRODUCT)


def k_means(vectors: NDArray[np.float32], count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Spherical, over unit vectors (n, d): the cluster of each, (n,), and the centres, (count, d)."""
    found = faiss.Kmeans(
        vectors.shape[1],
        count,
        niter=ITERATIONS,
        spherical=True,
        min_points_per_centroid=1,
        max_points_per_centroid=len(vectors),
    )
    with one_thread():
        found.train(vectors)
        return found.index.search(vectors, 1)[1][:, 0], np.asarray(found.centroids)


@contextmanager
def one_thread() -> Iterator[None]:
    """FAISS on one core: its results then never depend on how many there are."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
