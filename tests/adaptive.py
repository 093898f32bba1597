"""Logs of a policy that learns while it logs."""

import numpy as np

from discover.ope.feedback import Feedback

MEANS = np.array([0.2, 0.5, 0.6])
TARGET = np.array([0.6, 0.2, 0.2])  # wants what the learning policy comes to avoid


def epsilon_greedy(n: int, rng: np.random.Generator, noise: float = 1.0) -> tuple[Feedback, float]:
    """n rows of a greedy policy whose exploration decays as t^(-1/3); the feedback and the target's true value."""
    k = len(MEANS)
    sums, counts = np.zeros(k), np.zeros(k)
    actions, rewards, behaviour = np.empty(n, int), np.empty(n), np.empty((n, k))
    for t in range(n):
        explored = max(0.1, (t + 1) ** (-1 / 3))
        best = np.argmax(np.where(counts > 0, sums / np.maximum(counts, 1), np.inf))
        behaviour[t] = explored / k + (1 - explored) * np.eye(k)[best]
        actions[t] = rng.choice(k, p=behaviour[t])
        rewards[t] = MEANS[actions[t]] + noise * rng.normal()
        sums[actions[t]] += rewards[t]
        counts[actions[t]] += 1
    log = Feedback(actions, rewards, behaviour[np.arange(n), actions], np.tile(TARGET, (n, 1)), behaviour=behaviour)
    return log, float(TARGET @ MEANS)
