"""k-center: cover the pool, each pick as far as can be from all that is labelled or picked.

The greedy 2-approximation (Gonzalez 1985; as "core-set" in Sener & Savarese 2018, https://arxiv.org/abs/1708.00489),
drawn step by step. It needs no model, so it fits the first rounds. O(n (m + k) d) time and O(n d) memory: distances are
kept as one running minimum, never as a matrix over pairs of candidates.
"""

import numpy as np
from numpy.typing import NDArray

from discover.query.acquire import Picks, draw_sequentially, per_cost
from discover.query.view import View

BLOCK = 256  # labelled vectors compared at a time
DIGITS = 6  # of squared distance: float32 products carry no more, and equal vectors must tie

Vectors = NDArray[np.float32]


def k_center(view: View, n: int, rng: np.random.Generator) -> Picks:
    """Pick what is farthest from the nearest labelled or picked vector; the utility is that Euclidean distance."""
    vectors, labelled = view.vectors, view.labelled_vectors
    lengths = _squared_lengths(vectors)
    nearest = np.full(len(vectors), np.inf, dtype=np.float32)
    for start in range(0, len(labelled), BLOCK):
        block = labelled[start : start + BLOCK]
        squared = lengths[:, None] + _squared_lengths(block) - 2 * (vectors @ block.T)
        np.minimum(nearest, _tidy(squared.min(axis=1)), out=nearest)

    def utility_given(picked: NDArray[np.int64]) -> NDArray[np.floating]:
        if len(picked):
            newest = picked[-1]
            # einsum, since a product this thin is slower on many threads than on one
            products = np.einsum("nd,d->n", vectors, vectors[newest])
            np.minimum(nearest, _tidy(lengths + lengths[newest] - 2 * products), out=nearest)
        elif not len(labelled):
            return 1 / view.costs  # nothing to be far from: all are alike
        return per_cost(np.sqrt(nearest), view.costs)

    return draw_sequentially(utility_given, n, rng, view.temperature, view.floor)


def _squared_lengths(vectors: Vectors) -> Vectors:
    return np.einsum("nd,nd->n", vectors, vectors)


def _tidy(squared: Vectors) -> Vectors:
    return np.maximum(squared, 0).round(DIGITS)
