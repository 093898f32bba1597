"""Rare-class seeking: what would tell most about the classes that have few answers.

``u = rank(sum_c p_c (1 - p_c) / (1 + n_c)^2)``: the model's expected squared error (Brier 1950), each class weighed by
what one answer more is worth to it: error that falls as one over n_c answers falls by one over their square. While a
class has no answer the batch is spread, ``u / 2^(picks in the cluster)``, clusters by k-means over the candidates; from
then on what lies beside a rare find is asked about first, and a spread would send it away. Once every class has twenty
answers there is nothing to be found any more, and near-duplicates are spread again.

While answers are of one class only, the error is largest where a document is like another class's description and
unlike the answers. Where descriptions say nothing, that finds a rare class that is odd, and never one that is less odd
than the oddest of the common class; so once there are many such answers, every other question goes to what comes next
in an even spread over the pool. Candidates that lie near rare classes are the other half of AnchorAL (Lesci & Vlachos
2024, https://arxiv.org/abs/2404.05623): `candidates.draw`. O(n c + n k d).
"""

import zlib

import numpy as np

from discover.plugins import Count, Weight
from discover.query.acquire import GOLDEN, Picks, gumbel_top_k, per_cost, rank_scaled
from discover.query.geometry import clusters, halved
from discover.query.view import View

DIGITS = 12  # of the error: beyond them lies rounding noise, and equal candidates must tie
ALONE = 100  # answers of one class: of a class that has three documents in a hundred, chance would have found one
FOUND = 20  # answers of each class: none is looked for any more (runs/LOG.md)


def rare_class(view: View, n: int, rng: np.random.Generator, *, power: Weight = 2.0, count: Count = 400) -> Picks:
    """Pick what is uncertain between classes with few answers; by ranks, spread but beside rare finds.

    Args:
        view: the candidates.
        n: how many.
        rng: of the draw.
        power: of a class's weight; 0 is the plain squared error.
        count: clusters to spread over; many, so that near-duplicates are spread but a rare class in one place is not
            (runs/LOG.md).
    """
    likely = view.probabilities
    errors = (likely * (1 - likely)) @ (1.0 + view.counts) ** -power
    ranks = per_cost(rank_scaled(errors.round(DIGITS)), view.costs)
    if not 0 < view.counts.min() < FOUND:
        ranks = halved(ranks, clusters(view.vectors, count)[0], rng, view.temperature)
    if np.count_nonzero(view.counts) < 2 and len(view.labels) >= ALONE:
        begin = zlib.crc32(view.vectors.tobytes())  # among other candidates elsewhere; row ids tell when each was found
        spread = (begin / 2**32 + np.arange(len(view)) * GOLDEN) % 1
        ranks = np.maximum(rank_scaled(ranks), per_cost(spread, view.costs))  # by turns
    return gumbel_top_k(ranks, n, rng, view.temperature, view.floor)
