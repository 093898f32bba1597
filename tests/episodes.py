"""Small corpora, and episodes on them, for the tests of the environments."""

import functools

import gymnasium
import numpy as np

from discover.policy.config import EpisodeConfig
from discover.policy.corpus import synthetic

LABELING, BATCH = "envs:discover/Labeling-v0", "envs:discover/Batch-v0"


@functools.cache
def corpus(seed=0):
    return synthetic(np.random.default_rng(seed), n=700, classes=4, dimension=16)


def episode(**settings):
    return EpisodeConfig(**{"budget": 60, "candidates": 16, "pool": 300, "state": 50, "reward": 200, **settings})


def vector(count, **settings):
    return gymnasium.make_vec(
        LABELING,
        num_envs=count,
        vectorization_mode="vector_entry_point",
        corpora=[corpus(0), corpus(1)],
        episode=episode(**settings),
    )


def allowed(mask, rng):
    return int(rng.choice(np.flatnonzero(mask)))


def played(episodes, steps, seed=0):
    """Begin every episode and pick at random for some steps."""
    rng = np.random.default_rng(seed)
    episodes.reset({row: np.random.default_rng(seed + row) for row in range(len(episodes.time))})
    for _ in range(steps):
        episodes.step(np.array([allowed(mask, rng) for mask in episodes.valid]))
    return episodes
