"""Set propensities: how many a second on one core, and how far from enumeration, summed over every order.

A thousand candidates and batches of 32, as the decision log has them; enumeration is for batches of 6, whose 720 orders
can be written out, in peaked and flat draws.
"""

import itertools
import time
from typing import Any

import numpy as np
from scipy.special import logsumexp

from discover.query.propensity import ordered_log_propensities, set_log_propensities
from tests.benchmarks._row import row

CANDIDATES, BATCH, SETS, REPEATS = 1000, 32, 2048, 9
SPEED, ERROR = 10_000, 1e-10


def measure() -> list[dict[str, Any]]:
    """A row for the slowest of three spreads of the logits, one for the largest error."""
    rng = np.random.default_rng(0)
    speed = min(_speed(rng, spread) for spread in (0.3, 1.0, 3.0))
    error = max(_error(rng, spread) for spread in (0.0, 0.3, 1.0, 3.0, 10.0, 30.0))
    return [
        row("set propensities, 32 of 1000", speed, "sets/s", SPEED, speed >= SPEED),
        row("set propensity against enumeration", error, "log units", ERROR, error <= ERROR),
    ]


def _speed(rng: np.random.Generator, spread: float) -> float:
    logits = rng.normal(size=(SETS, CANDIDATES)) * spread
    chosen = np.argsort(-(logits + rng.gumbel(size=logits.shape)), axis=1)[:, :BATCH]
    set_log_propensities(logits[:64], chosen[:64])
    taken = []
    for _ in range(REPEATS):
        started = time.process_time()  # of this process, whatever else the machine does
        set_log_propensities(logits, chosen)
        taken.append(time.process_time() - started)
    return SETS / float(np.median(taken))


def _error(rng: np.random.Generator, spread: float) -> float:
    logits = rng.normal(size=(5, 30)) * spread
    chosen = np.argsort(-(logits + rng.gumbel(size=logits.shape)), axis=1)[:, :6]
    found = set_log_propensities(logits, chosen)
    exact = [
        logsumexp([ordered_log_propensities(row, order).sum() for order in itertools.permutations(picked)])
        for row, picked in zip(logits, chosen, strict=True)
    ]
    return float(np.abs(found - exact).max())
