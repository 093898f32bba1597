"""Acquisition: from utilities to picks, each with the probability that it had.

One-shot strategies draw by Gumbel top-k, which is Plackett-Luce sampling (Kool, van Hoof & Welling 2019,
https://arxiv.org/abs/1903.06059); batch methods whose utility depends on the picks so far draw step by step. Utility is
rank-scaled first, so a temperature means the same for every strategy and model:

    p = (1 - floor) * softmax(rank(u) / temperature) + floor / n

A reward does not care for the order inside a batch, so the probability of the *set* is kept too (`set_log_propensity`).
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax
from scipy.stats import rankdata

from discover.errors import DiscoverError
from discover.query.propensity import ordered_log_propensities, set_log_propensity

GOLDEN = (5**0.5 - 1) / 2  # multiples of it, modulo 1, are as evenly spread as can be, wherever one stops (Knuth 6.4)

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Picks:
    """What was chosen, in the order of the draw.

    Attributes:
        indices: (k,) int64 positions in the view; they go no further than the caller of the strategy.
        utilities: (k,) float64, as the strategy measures them; larger is more wanted, but for stock modAL strategies,
            which hand back modAL's own metric.
        log_propensities: (k,) float64, log-probability of each pick given those before it; 0 where nothing was drawn.
        logits: (n,) float64, log-probabilities of the first draw; None where one vector does not say it all (step by
            step) or nothing was drawn (temperature 0, stock modAL).
        set_log_propensity: log-probability of the picks in any order; None where `logits` is None.
        temperature: of the softmax over ranks that it was drawn with, whatever the config says; 0 where nothing was
            drawn, or not by ranks.
        floor: likewise; 1 is a uniform draw, whatever the temperature, and 0 where nothing was drawn.
        choosers: (k,) str, who chose each, ``policy`` or ``auto``, where a strategy shares its batch; else None.
        note: what people should know about this choice; mostly nothing.
    """

    indices: Indices
    utilities: Floats
    log_propensities: Floats
    logits: Floats | None = None
    set_log_propensity: float | None = None
    temperature: float = 0.0
    floor: float = 0.0
    choosers: NDArray[np.str_] | None = None
    note: str = ""

    def first(self, k: int) -> "Picks":
        """The first k of the draw, at least one, as if no more had been drawn."""
        if k >= len(self.indices):
            return self
        kept = slice(k)
        return replace(
            self,
            indices=self.indices[kept],
            utilities=self.utilities[kept],
            log_propensities=self.log_propensities[kept],
            set_log_propensity=None if self.logits is None else set_log_propensity(self.logits, self.indices[kept]),
            choosers=None if self.choosers is None else self.choosers[kept],
        )


def gumbel_top_k(
    utilities: ArrayLike, n: int, rng: np.random.Generator, temperature: float, floor: float = 0.0
) -> Picks:
    """Draw a batch without replacement, the more useful the likelier.

    Args:
        utilities: (n candidates,) finite; only their ranks matter, and ties share the mean rank.
        n: how many to pick; all of them, in a drawn order, when there are fewer.
        rng: the only source of chance.
        temperature: 0 takes the top n, ties by position, with log-propensity 0.
        floor: share of the probability that is uniform, in [0, 1].

    Raises:
        DiscoverError: a utility is not finite.
    """
    values = _finite(utilities)
    count = min(n, len(values))
    if temperature == 0:
        return _certain(np.argsort(-values, kind="stable")[:count], values)
    logits = log_probabilities(values, temperature, floor)
    perturbed = logits + rng.gumbel(size=len(values))
    indices = np.argsort(-perturbed, kind="stable")[:count]
    return Picks(
        indices,
        values[indices],
        ordered_log_propensities(logits, indices),
        logits,
        set_log_propensity(logits, indices),
        temperature,
        floor,
    )


def draw_sequentially(
    utility_given: Callable[[Indices], ArrayLike],
    n: int,
    rng: np.random.Generator,
    temperature: float,
    floor: float = 0.0,
) -> Picks:
    """Draw a batch step by step, the utilities being asked for anew after each pick.

    Args:
        utility_given: from the (j,) positions picked so far to (n candidates,) utilities, finite where not yet picked.
        n: how many to pick; all of them when there are fewer candidates.
        rng: the only source of chance.
        temperature: as for `gumbel_top_k`, on the ranks among those not yet picked.
        floor: as for `gumbel_top_k`.

    Raises:
        DiscoverError: the utility of a candidate not yet picked is not finite.
    """
    if temperature == 0:
        return _step_by_step(utility_given, None, n, rng, 0.0, 0.0)
    logits_of = functools.partial(log_probabilities, temperature=temperature, floor=floor)
    return _step_by_step(utility_given, logits_of, n, rng, temperature, floor)


def draw_by_weight(
    weights_given: Callable[[Indices], ArrayLike], n: int, rng: np.random.Generator, floor: float = 0.0
) -> Picks:
    """Draw a batch step by step, each pick in proportion to a weight that is asked for anew after each pick.

    Where all weights are 0 the draw is uniform. Logged with temperature 0, since ranks had no part in it.

    Args:
        weights_given: from the (j,) positions picked so far to (n candidates,) weights, finite and at least 0.
        n: how many to pick; all of them when there are fewer candidates.
        rng: the only source of chance.
        floor: share of the probability that is uniform, in [0, 1].

    Raises:
        DiscoverError: the weight of a candidate not yet picked is not finite.
    """
    return _step_by_step(weights_given, functools.partial(_log_shares, floor=floor), n, rng, 0.0, floor)


def per_cost(utilities: ArrayLike, costs: Floats) -> Floats:
    """(n,) utilities by what an answer costs, in ranks from 0 to 1, by how many times what the cheapest one costs.

    As they are where all cost the same.
    """
    values = np.asarray(utilities, dtype=np.float64)
    return values if not len(values) or np.ptp(costs) == 0 else rank_scaled(values) * (costs.min() / costs)


def rank_scaled(utilities: Floats) -> Floats:
    """Ranks of (n,) utilities as numbers from 0 to 1; ties share the mean rank, a lone one gets 1/2."""
    if len(utilities) < 2:
        return np.full(len(utilities), 0.5)
    ranks: Floats = rankdata(utilities)
    return (ranks - 1) / (len(utilities) - 1)


def log_probabilities(utilities: Floats, temperature: float, floor: float) -> Floats:
    """(n,) log-probabilities of one draw: softmax of the rank-scaled utilities over a uniform floor."""
    if not len(utilities):
        return np.empty(0)
    flat = -np.log(len(utilities))
    if floor >= 1:
        return np.full(len(utilities), flat)
    scaled = rank_scaled(utilities)
    # The largest is subtracted first, so that a tiny temperature underflows instead of overflowing.
    chosen: Floats = log_softmax((scaled - scaled.max()) / temperature)
    if floor <= 0:
        return chosen
    return np.minimum(np.logaddexp(np.log1p(-floor) + chosen, np.log(floor) + flat), 0.0)


def _step_by_step(
    utility_given: Callable[[Indices], ArrayLike],
    logits_of: Callable[[Floats], Floats] | None,
    n: int,
    rng: np.random.Generator,
    temperature: float,
    floor: float,
) -> Picks:
    """Draw by the log-probabilities that `logits_of` makes of the utilities of what is left; without it, the best."""
    values = np.asarray(utility_given(np.empty(0, np.int64)), dtype=np.float64)
    count = min(n, len(values))
    indices, utilities, log_propensities = np.empty(count, np.int64), np.empty(count), np.zeros(count)
    left = np.arange(len(values))
    for step in range(count):
        if step:
            values = np.asarray(utility_given(indices[:step]), dtype=np.float64)
        remaining = _finite(values[left])
        if logits_of is None:
            place = int(np.argmax(remaining))
        else:
            logits = logits_of(remaining)
            place = int(np.argmax(logits + rng.gumbel(size=len(remaining))))
            log_propensities[step] = logits[place]
        indices[step] = left[place]
        utilities[step] = remaining[place]
        left = np.delete(left, place)
    return Picks(indices, utilities, log_propensities, temperature=temperature, floor=floor)


def _log_shares(weights: Floats, floor: float) -> Floats:
    """(n,) log-probabilities of one draw in proportion to weights, over a uniform floor; all of them finite."""
    total, flat = weights.sum(), 1 / len(weights)
    shares = weights / total if total > 0 else np.full(len(weights), flat)
    return np.log(np.maximum((1 - floor) * shares + floor * flat, 1e-300))


def _certain(indices: Indices, values: Floats) -> Picks:
    return Picks(indices, values[indices], np.zeros(len(indices)))


def _finite(utilities: ArrayLike) -> Floats:
    values = np.asarray(utilities, dtype=np.float64)
    if values.ndim != 1:
        raise DiscoverError(f"utilities must be one number a candidate, found an array of shape {values.shape}")
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise DiscoverError(
            f"utilities must be finite, candidate {bad[0]} has {values[bad[0]]}: give it a large or a small number"
        )
    return values
