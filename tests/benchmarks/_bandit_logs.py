"""Synthetic logged bandits with a known value: softmax policies over linear scores of normal contexts.

The logging policy has a uniform floor, as ours have; the target's sharpness is set so that the ratios have the
effective share that is wanted, E[w]^2 / E[w^2]. Rewards are clicks (logistic) or normal around a linear mean.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover.ope.feedback import Feedback

K, P, FLOOR = 10, 5, 0.2
SAMPLE = 200_000  # contexts that the true value is the mean over


class Logs:
    """A logging policy, a target and rewards; `value` is the target's, `share` the effective share of its ratios."""

    def __init__(self, rewards: str, share: float, seed: int = 0):
        rng = np.random.default_rng(seed)
        self.rewards = rewards
        self.worth, self.taste, self.offset = rng.normal(size=(P, K)), rng.normal(size=(P, K)), rng.normal(size=K)
        contexts = rng.normal(size=(SAMPLE, P))
        low, high = 0.0, 30.0
        for _ in range(25):
            self.sharpness = (low + high) / 2
            behaviour, target, _ = self.policies(contexts[:20_000])
            wide = 1 / (target**2 / behaviour).sum(axis=1).mean() > share
            low, high = (self.sharpness, high) if wide else (low, self.sharpness)
        behaviour, target, means = self.policies(contexts)
        self.value = float((target * means).sum(axis=1).mean())
        self.share = float(1 / (target**2 / behaviour).sum(axis=1).mean())

    def policies(self, contexts: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        """Logging policy, target and mean rewards, (n, k) each."""
        scores = contexts @ self.worth / np.sqrt(P) + self.offset
        tastes = contexts @ self.taste / np.sqrt(P)
        behaviour = (1 - FLOOR) * _softmax(tastes / 2) + FLOOR / K
        means = 1 / (1 + np.exp(-scores)) if self.rewards == "clicks" else scores
        return behaviour, _softmax(self.sharpness * (scores + tastes)), means

    def draw(self, n: int, rng: np.random.Generator, **more: Any) -> Feedback:
        """A log of n independent rows."""
        contexts = rng.normal(size=(n, P))
        behaviour, target, means = self.policies(contexts)
        actions = np.minimum((rng.uniform(size=(n, 1)) > behaviour.cumsum(axis=1)).sum(axis=1), K - 1)
        rows = np.arange(n)
        mean = means[rows, actions]
        rewards = (rng.uniform(size=n) < mean).astype(float) if self.rewards == "clicks" else mean + rng.normal(size=n)
        fields = {"behaviour": behaviour, "contexts": contexts, **more}
        return Feedback(actions, rewards, behaviour[rows, actions], target, **fields)


def _softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)
