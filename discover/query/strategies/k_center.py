"""k-center: cover the pool, each pick as far as can be from all that is labelled or picked.

The greedy 2-approximation (Gonzalez 1985; as "core-set" in Sener & Savarese 2018, https://arxiv.org/abs/1708.00489),
drawn step by step. It needs no model, so it fits the first rounds. O(n (m + k) d) time and O(n d) memory: distances are
kept as one running minimum, never as a matrix over pairs of candidates.
"""

import numpy as np
from numpy.typing import NDArray

from discover.query.acquire import Picks, draw_sequentially
from discover.query.view import View

BLOCK = 64  # labelled vectors compared at a time
DIGITS = 6  # of squared distance: float32 products carry no more, and equal vectors must tie


def k_center(view: View, n: int, rng: np.random.Generator) -> Picks:
    """Pick what is farthest from the nearest labelled or picked vector; the utility is that Euclidean distance."""
    vectors = view.vectors
    lengths = np.einsum("nd,nd->n", vectors, vectors)
    nearest = np.full(len(vectors), np.inf, dtype=np.float32)
    labelled = view.labelled_vectors
    for start in range(0, len(labelled), BLOCK):
        block = labelled[start : start + BLOCK]
        np.minimum(nearest, _squared(vectors, lengths, block).min(axis=1), out=nearest)

    def utility_given(picked: NDArray[np.int64]) -> NDArray[np.float32]:
        if len(picked):
            newest = vectors[picked[-1:]]
            np.minimum(nearest, _squared(vectors, lengths, newest)[:, 0], out=nearest)
        elif not len(labelled):
            return np.zeros(len(vectors), dtype=np.float32)  # nothing to be far from: all are alike
        return np.sqrt(nearest)

    return draw_sequentially(utility_given, n, rng, view.temperature, view.floor)


def _squared(
    vectors: NDArray[np.float32], lengths: NDArray[np.float32], centers: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Squared distances, (n, b), from (n, d) vectors of known squared lengths (n,) to (b, d) centers."""
    products = vectors @ centers.T
    squared = lengths[:, None] + np.einsum("bd,bd->b", centers, centers) - 2 * products
    return np.round(np.maximum(squared, 0), DIGITS)
