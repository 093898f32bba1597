"""A batch that two choosers share, each with its part of all picks of a run, however small a batch is."""

from collections.abc import Callable

import numpy as np

from discover.query.acquire import Picks
from discover.query.view import View, rest

Choose = Callable[[View, int, np.random.Generator], Picks]


def due(share: float, spent: float, n: int) -> int:
    """How many of n picks are the second one's, after so many labels were spent."""
    before, after = (np.floor(share * labels + 1e-9) for labels in (spent, spent + n))
    return int(min(n, after - before))


def then(picks: Picks, view: View, n: int, choose: Choose, rng: np.random.Generator) -> Picks:
    """Picks, and n more by another one among what they leave; they count as drawn step by step."""
    left, places = rest(view, picks.indices)
    more = choose(left, n, rng)
    return Picks(
        np.concatenate([picks.indices, places[more.indices]]),
        np.concatenate([picks.utilities, more.utilities]),
        np.concatenate([picks.log_propensities, more.log_propensities]),
        temperature=picks.temperature,
        floor=picks.floor,
    )
