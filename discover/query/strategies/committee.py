"""Query by committee: heads that were taught different resamples of the answers, and disagree.

``u = max_e KL(p_e || mean_e p_e)`` over the members e (McCallum & Nigam 1998; bagging: Abe & Mamitsuka 1998). Committee
and measure are modAL's. A committee is taught anew for each query: it costs as many heads.
"""

import numpy as np
from modAL.disagreement import KL_max_disagreement
from numpy.typing import NDArray
from scipy.special import rel_entr

from discover.query.acquire import Picks, gumbel_top_k, per_cost
from discover.query.view import View


def committee(view: View, n: int, rng: np.random.Generator) -> Picks:
    """Pick where a member differs most from the committee's mean; the utility is that divergence in nats."""
    apart = _labelwise(view) if view.multilabel else KL_max_disagreement(view.committee, view.X)
    return gumbel_top_k(per_cost(apart, view.costs), n, rng, view.temperature, view.floor)


def _labelwise(view: View) -> NDArray[np.float64]:
    """(n,) the largest divergence, each the sum of those of the labels."""
    votes = view.committee.probabilities
    mean = votes.mean(axis=1, keepdims=True)
    apart = rel_entr(votes, mean) + rel_entr(1 - votes, 1 - mean)
    return np.asarray(apart.sum(axis=2).max(axis=1), np.float64)
