"""Random sampling: every candidate is as likely as the next; the control that each strategy is measured against."""

import numpy as np

from discover.query.acquire import Picks, gumbel_top_k
from discover.query.view import View


def random(view: View, n: int, rng: np.random.Generator) -> Picks:
    """Pick uniformly, whatever the view's temperature: a random control without chance would be no control.

    Logged as it was drawn, with floor 1, under which the temperature has no effect.
    """
    return gumbel_top_k(np.zeros(len(view)), n, rng, temperature=1.0, floor=1.0)
