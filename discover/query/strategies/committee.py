"""Query by committee: heads that were taught different resamples of the answers, and disagree.

``u = max_e KL(p_e || mean_e p_e)`` over the members e (McCallum & Nigam 1998; bagging: Abe & Mamitsuka 1998). Committee
and measure are modAL's. A committee is taught anew for each query: it costs as many heads.
"""

import numpy as np
from modAL.disagreement import KL_max_disagreement

from discover.query.acquire import Picks, gumbel_top_k, per_cost
from discover.query.view import View


def committee(view: View, n: int, rng: np.random.Generator) -> Picks:
    """Pick where a member differs most from the committee's mean; the utility is that divergence in nats."""
    return gumbel_top_k(
        per_cost(KL_max_disagreement(view.committee, view.X), view.costs), n, rng, view.temperature, view.floor
    )
