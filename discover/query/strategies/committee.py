"""Query by committee: heads that were taught different resamples of the answers, and disagree.

``u = H(share of the members that vote for each class)``, vote entropy (Dagan & Engelson 1995, "Committee-based sampling
for training probabilistic classifiers"; bagging: Abe & Mamitsuka 1998). Committee and measure are modAL's. Ties, of
which there are many, are broken by lot. How far the members' probabilities lie apart (McCallum & Nigam 1998) goes for
what is odd while answers are few: runs/LOG.md. A committee is taught anew for each query: it costs as many heads.
"""

import numpy as np
from modAL.disagreement import vote_entropy
from numpy.typing import NDArray
from scipy.special import entr

from discover.query.acquire import Picks, gumbel_top_k, per_cost
from discover.query.view import View


def committee(view: View, n: int, rng: np.random.Generator) -> Picks:
    """Pick where the members' votes differ most; the utility is their entropy in nats."""
    apart = _labelwise(view) if view.multilabel else vote_entropy(view.committee, view.X)
    return gumbel_top_k(per_cost(apart, view.costs), n, rng, view.temperature, view.floor)


def _labelwise(view: View) -> NDArray[np.float64]:
    """(n,) the sum of the labels' own entropies."""
    share = (view.committee.probabilities > 0.5).mean(axis=1)
    return np.asarray((entr(share) + entr(1 - share)).sum(axis=1), np.float64)
