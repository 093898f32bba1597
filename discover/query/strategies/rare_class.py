"""Rare-class seeking: what would tell most about the classes that have few answers, spread over the batch.

``u = rank(sum_c p_c (1 - p_c) / (1 + n_c)^2) / 2^(picks in the cluster)``: the model's expected squared error (Brier
1950), each class weighed by what one answer more is worth to it: error that falls as one over n_c answers falls by one
over their square. Clusters are those of `spread_margin`. While answers are of one class only, it asks about what is
least like them. Candidates that lie near rare classes are the other half of AnchorAL (Lesci & Vlachos 2024,
https://arxiv.org/abs/2404.05623): `candidates.draw`. O(n c + n k d).
"""

import numpy as np

from discover.plugins import Count
from discover.query.acquire import Picks
from discover.query.strategies.spread_margin import spread
from discover.query.view import View

DIGITS = 12  # of the error: beyond them lies rounding noise, and equal candidates must tie


def rare_class(view: View, n: int, rng: np.random.Generator, *, power: float = 2.0, count: Count = 400) -> Picks:
    """Pick what is uncertain between classes with few answers; the utility is the rank after halving.

    Args:
        view: the candidates.
        n: how many.
        rng: of the draw.
        power: of a class's weight; 0 is the plain squared error.
        count: clusters; many, so that near-duplicates are spread but a rare class in one place is not (runs/LOG.md).
    """
    likely = view.probabilities
    errors = (likely * (1 - likely)) @ (1.0 + view.counts) ** -power
    return spread(errors.round(DIGITS), view, n, rng, count)
