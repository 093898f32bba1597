"""Policies tried against one another in the environment: the same seeds, so the same documents, for each."""

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from discover.evaluate import seeds
from discover.evaluate.compare import labels_to_reach
from discover.policy import baselines
from discover.policy.config import SCAN, EpisodeConfig
from discover.policy.corpus import Corpus
from discover.policy.features import NAMES
from discover.policy.heuristics import HEURISTICS, ORACLE, utilities
from discover.policy.scorer import Scorer

Floats = NDArray[np.float64]
Observations = dict[str, NDArray[np.float32]]
Rows = list[dict[str, Any]]
Chooser = Callable[[Observations, np.random.Generator], Floats]  # (e, k) utilities

METRICS = ("macro_f1", "accuracy")
REFERENCE = "margin"
FIXED = (*HEURISTICS, *baselines.STRATEGIES, baselines.BANDIT, ORACLE)  # what a trained policy is held against
LABELING = "envs:discover/Labeling-v0"
CANDIDATES = 512  # at least: a default pool of 2,000


@dataclass(frozen=True, eq=False)
class Curves:
    """Learning curves of e campaigns, measured on the test documents.

    Attributes:
        labels: (p,) at which they were measured.
        accuracy, macro_f1: (e, p).
    """

    labels: NDArray[np.int64]
    accuracy: Floats
    macro_f1: Floats

    def area(self, metric: str) -> Floats:
        """(e,) area under the curves, by trapezoids, over the span of the labels."""
        return np.trapezoid(getattr(self, metric), self.labels, axis=1) / (self.labels[-1] - self.labels[0])


def chooser(policy: str | Scorer, env: VectorEnv) -> Chooser:
    """What a policy would rather ask about: one of `FIXED` by its name, or a trained scorer.

    Args:
        policy: itself.
        env: ``discover/Labeling-v0``, vectorised, for one campaign each.
    """
    if isinstance(policy, Scorer):
        return lambda observed, rng: policy.logits(_candidates(observed), observed["state"])
    if policy == ORACLE:
        return lambda observed, rng: env.unwrapped.lookahead()
    if policy in HEURISTICS:
        return lambda observed, rng: utilities(policy, _candidates(observed), rng)
    rounds = baselines.bandit(env) if policy == baselines.BANDIT else baselines.by_strategy(policy, env)
    return lambda observed, rng: rounds(rng)


def play(env: VectorEnv, choose: Chooser, seed: int) -> Curves:
    """Play one campaign in each environment, always the most wanted candidate.

    Args:
        env: ``discover/Labeling-v0``, vectorised, with a report.
        choose: as `chooser` gives it.
        seed: of the first environment, the others counting on.
    """
    rng = np.random.default_rng(seed)
    observed, _ = env.reset(seed=seed)
    rules = env.unwrapped.episodes.rules
    points = [(rules.initial, env.unwrapped.report())]
    for spent in range(rules.initial + 1, rules.budget + 1):
        wanted = np.where(observed["mask"] > 0, choose(observed, rng), -np.inf)
        observed, _, _, _, infos = env.step(wanted.argmax(axis=1))
        if spent == rules.budget:  # the environments have begun anew
            last = infos["final_info"]
            points.append((spent, {name: last[name] for name in ("accuracy", "macro_f1")}))
        elif (spent - rules.initial) % rules.batch == 0:
            points.append((spent, env.unwrapped.report()))
    labels, scores = zip(*points, strict=True)
    return Curves(np.array(labels), *(np.stack([one[name] for one in scores], 1) for name in ("accuracy", "macro_f1")))


def judged(corpus: Corpus, policies: Mapping[str, str | Scorer], count: int, episode: EpisodeConfig, seed: int) -> Rows:
    """Play policies on one corpus, each with the same seeds.

    Args:
        corpus: one that none of them was trained on.
        policies: by the names of the rows; as for `chooser`.
        count: campaigns of each.
        episode: the rules; enough candidates that the whole pool is scanned, so that margin is margin over the pool.
        seed: of the first campaign.

    Returns:
        A row for each policy and campaign: ``dataset``, ``policy``, ``seed``, the area under both curves, and of
        macro-F1 the ``curve`` itself, at so many ``labels``.
    """
    scanning = -(-episode.pool // SCAN)
    wide = {"candidates": max(CANDIDATES, episode.batch, scanning), "report": len(corpus.test_labels), "twin": False}
    rules = episode.model_copy(update=wide)
    env, rows = make_env([corpus], count, rules), []
    for name, policy in policies.items():
        curves = play(env, chooser(policy, env), seed)
        areas = zip(*(curves.area(metric).tolist() for metric in METRICS), strict=True)
        rows += [
            {"dataset": corpus.name, "policy": name, "seed": number, **dict(zip(METRICS, area, strict=True))}
            | {"labels": curves.labels.tolist(), "curve": curves.macro_f1[number].tolist()}
            for number, area in enumerate(areas)
        ]
    return rows


def make_env(corpora: Sequence[Corpus], count: int, episode: EpisodeConfig) -> VectorEnv:
    """The vector environment of ``count`` labeling campaigns.

    Raises:
        DiscoverError: a corpus is too small for the rules.
    """
    return gymnasium.make_vec(
        LABELING, num_envs=count, vectorization_mode="vector_entry_point", corpora=corpora, episode=episode
    )


def _candidates(observed: Observations) -> NDArray[np.float32]:
    return observed["candidates"].reshape(len(observed["state"]), -1, len(NAMES))


def summary(rows: Rows, rng: np.random.Generator) -> dict[str, Any]:
    """What each policy gains over margin in area under the curve.

    Args:
        rows: of results, one a dataset, policy and seed, with the areas under ``macro_f1`` and ``accuracy``.
        rng: of the bootstrap over datasets.

    Returns:
        ``margin``: its mean areas by dataset; ``gains``: of each other policy and metric, by dataset the mean
        difference and half of its 95 % interval over paired seeds; over datasets their mean, with a bootstrap's
        interval; ``savings``: of each other policy the share of margin's labels that it does not need to be, and stay,
        at margin's last macro-F1 on the mean curves, by dataset, and likewise over them. None where one seed, or one
        dataset, has no interval.
    """
    areas: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for row in rows:
        for metric in METRICS:
            areas[row["dataset"], row["policy"], metric].append(row[metric])
    datasets = list(dict.fromkeys(row["dataset"] for row in rows))
    policies = [name for name in dict.fromkeys(row["policy"] for row in rows) if name != REFERENCE]
    gains = []
    for name, metric in itertools.product(policies, METRICS):
        pairs = {one: np.subtract(areas[one, name, metric], areas[one, REFERENCE, metric]) for one in datasets}
        means = [float(pairs[one].mean()) for one in datasets]
        halves = [float(seeds.half_width(pairs[one])) if len(pairs[one]) > 1 else None for one in datasets]
        gains.append(
            {
                "policy": name,
                "metric": metric,
                "datasets": {one: [mean, half] for one, mean, half in zip(datasets, means, halves, strict=True)},
                "mean": float(np.mean(means)),
                "interval": seeds.between_datasets(means, rng),
            }
        )
    savings = []
    for name in policies:
        saved = [_saved(rows, dataset, name) for dataset in datasets]
        over = {"mean": float(np.mean(saved)), "interval": seeds.between_datasets(saved, rng)}
        savings.append({"policy": name, "datasets": dict(zip(datasets, saved, strict=True)), **over})
    reference = {one: {metric: float(np.mean(areas[one, REFERENCE, metric])) for metric in METRICS} for one in datasets}
    return {REFERENCE: reference, "gains": gains, "savings": savings}


def _saved(rows: Rows, dataset: str, policy: str) -> float:
    """Share of margin's labels that a policy saves on a dataset; 0 where it ends below margin."""
    wanted = [row for row in rows if row["dataset"] == dataset and row["policy"] in (policy, REFERENCE)]
    labels = wanted[0]["labels"]
    curve, target = (
        np.mean([row["curve"] for row in wanted if row["policy"] == name], axis=0) for name in (policy, REFERENCE)
    )
    needed = labels_to_reach(labels, curve, target[-1], lasting=True)
    return 0.0 if needed is None else 1 - needed / labels[-1]


def table(found: Mapping[str, Any]) -> Iterator[str]:
    """The summary in lines: macro-F1 by dataset, the means of both metrics, in points, and the labels saved."""
    gains = [one for one in found["gains"] if one["metric"] == "macro_f1"]
    widths, longest = [max(14, len(one["policy"])) for one in gains], max(map(len, found[REFERENCE]))
    yield "area under the macro-F1 curve less that of margin, in points, mean of the seeds (half of a 95% interval)"
    yield "  ".join(
        [" " * longest, f"{REFERENCE:>7}", *(one["policy"].rjust(w) for one, w in zip(gains, widths, strict=True))]
    )
    for dataset, reference in found[REFERENCE].items():
        pairs = [one["datasets"][dataset] for one in gains]
        cells = [f"{100 * mean:+.1f} " + ("(-)" if half is None else f"({100 * half:.1f})") for mean, half in pairs]
        columns = (cell.rjust(w) for cell, w in zip(cells, widths, strict=True))
        yield "  ".join([dataset.ljust(longest), f"{100 * reference['macro_f1']:7.1f}", *columns])
    for one in found["gains"]:
        said = f"{one['policy']}: {one['metric']} {100 * one['mean']:+.1f} points over margin"
        if one["interval"]:
            low, high = one["interval"]
            said += f" [{100 * low:+.1f}, {100 * high:+.1f}] over datasets"
        yield said
    for one in found["savings"]:
        said = f"{one['policy']}: {one['mean']:.0%} of margin's labels saved"
        if one["interval"]:
            said += " [{:.0%}, {:.0%}] over datasets".format(*one["interval"])
        yield said
