"""How often a policy that does harm is caught, and one that does none is blamed, in the environment.

The sets are made-up corpora and those of ``BENCH_SETS`` (by default trec6, sst2, ag_news_desc), 500 picks each, in
batches of 25 as `discover bench` asks them and of 50 as the loop does. The goals are for the default rule of rewards;
the others are measured on the made-up corpora. `random` is neither sabotage nor as good as `auto`: its row has no goal,
and beside each stands by how much the mean return differs from that of `auto`.
"""

import os
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from discover import plugins
from discover.commands.policy import read_corpora
from discover.policy import safety
from discover.policy.config import CorpusFiles
from discover.policy.corpus import Corpus, synthetic
from discover.policy.reward import PACKAGE
from discover.query.config import QueryConfig
from discover.query.strategies.auto import auto
from discover.query.strategies.clustered_density_margin import clustered_density_margin
from discover.query.strategies.random import random
from discover.run import RunFolder
from tests.benchmarks._batches import Policy, play, repeated, rules, surest
from tests.benchmarks._data import file_of
from tests.benchmarks._row import row

SABOTAGE, SOUND, BORDERLINE = (surest, repeated), (auto, clustered_density_margin), (random,)
SEEDS, SYNTHETIC, SHAPES = range(500, 506), (4, 6, 3, 8), ((50, 10), (25, 20))
CAUGHT, FALSE = 0.95, 0.05


def corpora() -> list[Corpus]:
    """Made-up ones, and real ones, embedded."""
    made = [synthetic(np.random.default_rng(900 + c), n=3700, classes=c) for c in SYNTHETIC]
    names = os.environ.get("BENCH_SETS", "trec6 sst2 ag_news_desc").split()
    files = [CorpusFiles(train=file_of(name, "train"), test=file_of(name, "test")) for name in names]
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(folder)
        run.create(run.vectors)
        return [*made, *read_corpora(files, 4000, run)]


def measure() -> list[dict[str, Any]]:
    """A row for each way to ask, rule of rewards and policy."""
    found, rows, default = corpora(), [], QueryConfig().reward
    policies = {one.__name__: one for one in (*SABOTAGE, *SOUND, *BORDERLINE)}
    for rule in plugins.names(PACKAGE):
        for shape in SHAPES if rule == default else SHAPES[:1]:
            rejected, returned = shares(found if rule == default else found[: len(SYNTHETIC)], policies, rule, shape)
            rows += [_row(name, rejected, returned, rule, shape[0]) for name in policies]
    return rows


def shares(
    found: list[Corpus], policies: Mapping[str, Policy], rule: str, shape: tuple[int, int], seeds: range = SEEDS
) -> tuple[dict[str, float], dict[str, float]]:
    """By policy, the share of campaigns in which it was given up, and its mean return."""
    given_up: dict[str, list[bool]] = {name: [] for name in policies}
    returned: dict[str, list[float]] = {name: [] for name in policies}
    for corpus in found:
        for name, policy in policies.items():
            campaigns, returns = play(corpus, policy, rules(*shape), seeds, rule)
            given_up[name] += [bool(safety.harm(one)) for one in campaigns]
            returned[name] += returns.tolist()
    return {name: float(np.mean(one)) for name, one in given_up.items()}, {
        name: float(np.mean(one)) for name, one in returned.items()
    }


def _row(
    name: str, rejected: Mapping[str, float], returned: Mapping[str, float], rule: str, batch: int
) -> dict[str, Any]:
    share, bad = rejected[name], name in [one.__name__ for one in SABOTAGE]
    compared = rule != QueryConfig().reward or name in [one.__name__ for one in BORDERLINE]
    goal = None if compared else CAUGHT if bad else FALSE
    holds = goal is None or (share >= goal if bad else share <= goal)
    peer = {"peer": "return less auto's", "peer_value": round(returned[name] - returned["auto"], 4)}
    return row(f"given up: {name}, by {rule}, batches of {batch}", round(share, 4), "share", goal, holds, **peer)
