"""Policies tried against one another in the environment: the same seeds, so the same documents, for each."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from discover.policy.features import NAMES
from discover.policy.heuristics import HEURISTICS, utilities
from discover.policy.scorer import Scorer

Floats = NDArray[np.float64]
Observations = dict[str, NDArray[np.float32]]
Chooser = Callable[[Observations, VectorEnv, np.random.Generator], Floats]  # (e, k) utilities

ORACLE = "oracle"  # looks ahead with the true labels: a ceiling, no policy


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


def chooser(policy: str | Scorer) -> Chooser:
    """What a policy would rather ask about: a heuristic's name, `ORACLE`, or a trained scorer."""
    if isinstance(policy, Scorer):
        return lambda observed, env, rng: policy.logits(_candidates(observed), observed["state"])
    if policy == ORACLE:
        return lambda observed, env, rng: env.unwrapped.lookahead()
    assert policy in HEURISTICS
    return lambda observed, env, rng: utilities(policy, _candidates(observed), rng)


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
        wanted = np.where(observed["mask"] > 0, choose(observed, env, rng), -np.inf)
        observed, _, _, _, infos = env.step(wanted.argmax(axis=1))
        if spent == rules.budget:  # the environments have begun anew
            last = infos["final_info"]
            points.append((spent, {name: last[name] for name in ("accuracy", "macro_f1")}))
        elif (spent - rules.initial) % rules.batch == 0:
            points.append((spent, env.unwrapped.report()))
    labels, scores = zip(*points, strict=True)
    return Curves(np.array(labels), *(np.stack([one[name] for one in scores], 1) for name in ("accuracy", "macro_f1")))


def _candidates(observed: Observations) -> NDArray[np.float32]:
    return observed["candidates"].reshape(len(observed["state"]), -1, len(NAMES))
