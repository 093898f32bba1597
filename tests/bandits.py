"""Bandits whose truth is known, and logs drawn from them."""

from dataclasses import dataclass

import numpy as np

from discover.ope.feedback import Feedback


@dataclass(frozen=True, eq=False)
class Bandit:
    """Contexts x (m, p), each equally likely, with mean rewards and both policies (m, k)."""

    contexts: np.ndarray
    means: np.ndarray
    behaviour: np.ndarray
    target: np.ndarray
    noise: float = 0.0

    @property
    def value(self) -> float:
        """The target's true value."""
        return float((self.target * self.means).sum(axis=1).mean())

    def log(self, n: int, rng: np.random.Generator, **more) -> Feedback:
        """n rows, drawn by the behaviour."""
        x = rng.integers(0, len(self.contexts), n)
        cumulative = self.behaviour[x].cumsum(axis=1)
        actions = (rng.uniform(size=n)[:, None] * cumulative[:, -1:] > cumulative).sum(axis=1)
        rewards = self.means[x, actions] + self.noise * rng.normal(size=n)
        fields = {"contexts": self.contexts[x], "behaviour": self.behaviour[x], **more}
        return Feedback(actions, rewards, self.behaviour[x, actions], self.target[x], **fields)

    def everything(self, **more) -> tuple[Feedback, np.ndarray]:
        """Every context with every action the behaviour may take, once, and the probability (n,) of each such row."""
        x, actions = np.nonzero(self.behaviour)
        fields = {"contexts": self.contexts[x], "behaviour": self.behaviour[x], "unit": np.zeros(len(x)), **more}
        log = Feedback(actions, self.means[x, actions], self.behaviour[x, actions], self.target[x], **fields)
        return log, self.behaviour[x, actions] / len(self.contexts)


def bandit(rng: np.random.Generator, *, m: int = 40, k: int = 5, sharpness: float = 1.0, noise: float = 1.0) -> Bandit:
    """Rewards and policies depend on the context; a larger sharpness sets the policies further apart."""
    contexts = rng.normal(size=(m, 3))
    means = contexts @ rng.normal(size=(3, k)) * 0.5 + rng.normal(size=k)
    return Bandit(
        contexts,
        means,
        _softmax(sharpness * contexts @ rng.normal(size=(3, k)) / 2),
        _softmax(sharpness * contexts @ rng.normal(size=(3, k))),
        noise,
    )


def with_share(share: float, seed: int, **how) -> Bandit:
    """A bandit whose ratios have an effective share near the one wanted, found by bisection of the sharpness."""
    low, high = 0.0, 8.0
    for _ in range(30):
        middle = (low + high) / 2
        found = bandit(np.random.default_rng(seed), sharpness=middle, **how)
        low, high = (middle, high) if true_share(found) > share else (low, middle)
    return bandit(np.random.default_rng(seed), sharpness=low, **how)


def true_share(one: Bandit) -> float:
    """E[w]^2 / E[w^2]."""
    return 1 / float((one.target**2 / one.behaviour).sum(axis=1).mean())


def _softmax(scores: np.ndarray) -> np.ndarray:
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)
