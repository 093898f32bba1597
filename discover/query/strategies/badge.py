"""BADGE: a batch whose gradients are large and point in different directions.

The gradient of the loss at the head, for the class that the model thinks likeliest, is ``(p - onehot) (x) v``. Seeding
as in k-means++ in that space: the first pick is drawn in proportion to its squared length, each other one to the
squared distance to the nearest one picked (Ash et al. 2020, https://arxiv.org/abs/1906.03671). Since ``<a (x) v, b (x)
w> = <a, b> <v, w>``, no gradient is ever written out: O(n (c + d)) a pick, O(n c) memory. Of several
labels the likeliest set takes the place of the class.
"""

import numpy as np
from numpy.typing import NDArray

from discover.query.acquire import Picks, draw_by_weight
from discover.query.view import View

DIGITS = 6  # of squared distance: float32 products carry no more, and equal gradients must tie


def badge(view: View, n: int, rng: np.random.Generator) -> Picks:
    """Draw in proportion to squared distance by cost, which is the utility, whatever the view's temperature."""
    vectors = view.vectors
    residuals = view.probabilities.astype(np.float32)
    if view.multilabel:
        residuals -= residuals >= 0.5
    else:
        residuals[np.arange(len(view)), residuals.argmax(axis=1)] -= 1
    lengths = np.einsum("nc,nc->n", residuals, residuals) * np.einsum("nd,nd->n", vectors, vectors)
    nearest = np.full(len(view), np.inf, np.float32)

    def weights_given(picked: NDArray[np.int64]) -> NDArray[np.float64]:
        nonlocal nearest
        if not len(picked):
            return lengths.round(DIGITS) / view.costs
        newest = picked[-1]
        # einsum, since a product this thin is slower on many threads than on one
        products = np.einsum("nc,c->n", residuals, residuals[newest])
        products *= np.einsum("nd,d->n", vectors, vectors[newest])
        nearest = np.minimum(nearest, np.maximum(lengths + lengths[newest] - 2 * products, 0))
        return nearest.round(DIGITS) / view.costs

    return draw_by_weight(weights_given, n, rng, view.floor)
