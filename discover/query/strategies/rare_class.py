"""Rare-class seeking: margin among those that are most like one class, each class in turn.

AnchorAL's idea (Lesci & Vlachos 2024, https://arxiv.org/abs/2404.05623): what is most like some class is what margin
may choose from, equally many for each class, so that a rare one has as large a part in it as a common one. A document
is as like a class as the mean cosine to its nearest ANCHORS labelled ones. O(n m d).
"""

import numpy as np
from modAL.uncertainty import classifier_margin
from numpy.typing import NDArray
from scipy.stats import rankdata

from discover.query.acquire import Picks, gumbel_top_k, per_cost
from discover.query.view import View

ANCHORS = 3


def rare_class(view: View, n: int, rng: np.random.Generator, *, share: float = 0.2) -> Picks:
    """Pick what the model cannot tell apart among what is near some class; the utility is 1 - margin, there plus 1.

    Args:
        view: the candidates.
        n: how many.
        rng: of the draw.
        share: of the candidates that are near, the same number for each class; at least twice n of them.
    """
    unsure = 1 - classifier_margin(view, view.X)
    if not len(view.labels):
        return gumbel_top_k(per_cost(unsure, view.costs), n, rng, view.temperature, view.floor)
    place = _places(view.vectors @ view.labelled_vectors.T, view.labels)
    near = place <= np.sort(place)[min(max(2 * n, int(share * len(view))), len(view)) - 1]
    return gumbel_top_k(per_cost(unsure + near, view.costs), n, rng, view.temperature, view.floor)


def _places(cosines: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n,) each candidate's best place in the orders of likeness to the classes, of cosines (n, m) to the labelled."""
    best = np.full(len(cosines), np.inf)
    for one in np.unique(labels):
        ours = cosines[:, labels == one]
        closest = np.sort(ours, axis=1)[:, -ANCHORS:].mean(axis=1, dtype=np.float64).round(5)
        best = np.minimum(best, rankdata(-closest))
    return best
