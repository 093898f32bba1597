"""Fixed policies: what a learned one has to beat. Utilities are functions of the features alone."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from discover.policy.features import NAMES

ORACLE = "oracle"  # looks ahead with the true labels: a ceiling, no policy
Floats = NDArray[np.float64]
Columns = Callable[[str], Floats]


def random(column: Columns, rng: np.random.Generator) -> Floats:
    """Any candidate."""
    return rng.random(column("margin").shape)


def margin(column: Columns, rng: np.random.Generator) -> Floats:
    """The smallest margin."""
    return column("margin_rank")


def entropy(column: Columns, rng: np.random.Generator) -> Floats:
    """The largest entropy."""
    return column("entropy_rank")


def density_margin(column: Columns, rng: np.random.Generator) -> Floats:
    """``rank(margin) * sqrt(rank(density))``."""
    return column("margin_rank") * np.sqrt(column("density_rank"))


def clustered_density_margin(column: Columns, rng: np.random.Generator) -> Floats:
    """The same by ``sqrt(1 + labels in the cluster)``, and away from what this batch has (clDM)."""
    return density_margin(column, rng) * np.sqrt(column("crowd")) * (1 - column("batch") / 2)


def coverage(column: Columns, rng: np.random.Generator) -> Floats:
    """The farthest from all that is labelled or picked (k-center greedy: Sener & Savarese 2018)."""
    return -np.maximum(column("labelled"), column("batch"))


def typical(column: Columns, rng: np.random.Generator) -> Floats:
    """The densest of the clusters with the fewest labels (after TypiClust: Hacohen, Dekel & Weinshall 2022)."""
    return column("crowd") + 0.5 * column("density_rank") - column("batch")


HEURISTICS: dict[str, Callable[[Columns, np.random.Generator], Floats]] = {
    one.__name__: one for one in (random, margin, entropy, density_margin, clustered_density_margin, coverage, typical)
}


def utilities(name: str, features: NDArray[np.float32], rng: np.random.Generator) -> Floats:
    """(…, k) utilities of candidates by a heuristic, of their (…, k, f) features."""

    def column(wanted: str) -> Floats:
        return features[..., NAMES.index(wanted)].astype(np.float64)

    return HEURISTICS[name](column, rng)
