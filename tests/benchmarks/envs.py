"""Environment steps a second on one core: 32 environments, 32 candidates, 1,000 held-out documents, 6 classes."""

import time
from typing import Any

import gymnasium
import numpy as np
from threadpoolctl import threadpool_limits

from discover.policy.config import EpisodeConfig
from discover.policy.corpus import synthetic
from tests.benchmarks._row import row

ENVIRONMENTS, REPEATS, GOAL = 32, 5, 10_000


def measure() -> list[dict[str, Any]]:
    """A row for rounds of 5 labels, the default, and one for a look at the candidates after each label."""
    corpora = [synthetic(np.random.default_rng(one), n=3300, classes=6, dimension=64) for one in range(4)]
    with threadpool_limits(1):
        speeds = {batch: _speed(corpora, batch) for batch in (5, 1)}
    return [
        row(f"environment steps, batch {batch}", speed, "steps/s", GOAL, speed >= GOAL)
        for batch, speed in speeds.items()
    ]


def _speed(corpora: list[Any], batch: int) -> float:
    """The median over episodes, margin picking; beginning anew counts."""
    env = gymnasium.make_vec(
        "envs:discover/Labeling-v0",
        num_envs=ENVIRONMENTS,
        vectorization_mode="vector_entry_point",
        corpora=corpora,
        episode=EpisodeConfig(batch=batch, candidates=32, reward=1000),
    )
    env.reset(seed=0)
    steps, speeds = env.unwrapped.episodes.rules.steps, []
    for _ in range(REPEATS):
        started = time.process_time()  # of this process, whatever else the machine does
        for _ in range(steps):
            env.step(env.unwrapped.episodes.greedy("margin"))
        speeds.append(ENVIRONMENTS * steps / (time.process_time() - started))
    return float(np.median(speeds))
