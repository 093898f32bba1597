"""Baselines that see more than features: strategies of the loop, and a bandit that learns which of them to follow.

Both pick for a whole round. Other fixed policies are in `heuristics`.
"""

from collections.abc import Callable, Sequence

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from discover.query.strategy import load_strategy
from discover.query.view import View

STRATEGIES = ("auto", "badge", "typiclust")
BANDIT = "bandit"
ARMS = ("margin", "clustered_density_margin", "badge", "typiclust")  # of the bandit
Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
Asked = Callable[[Sequence[View], int, Floats, np.random.Generator], list[Rows]]  # by campaign, the best first


def by_strategy(name: str, env: VectorEnv) -> "Rounds":
    """A strategy of the loop at its defaults, without temperature or floor."""
    strategy = load_strategy(name)
    return Rounds(env, lambda views, n, quality, rng: [strategy(view, n, rng).indices for view in views])


def bandit(env: VectorEnv) -> "Rounds":
    """`Exp3` over strategies of the loop."""
    rules = env.unwrapped.episodes.rules
    return Rounds(env, Exp3(env.num_envs, -(-rules.steps // rules.batch)))


class Rounds:
    """Utilities of candidates, from picks that were made for the round: all but these are minus infinity.

    Args:
        env: ``discover/Labeling-v0``, vectorised; its campaigns begin together.
        ask: from the views, how many to pick, and each campaign's quality, to the picks as positions in each view.
    """

    def __init__(self, env: VectorEnv, ask: Asked):
        self.env, self.ask = env.unwrapped, ask
        self.wanted = np.empty((0, 0))

    def __call__(self, rng: np.random.Generator) -> Floats:
        """(e, k) utilities; asked for before every step."""
        episodes = self.env.episodes
        rules, time = episodes.rules, int(episodes.time[0])
        if time % rules.batch == 0:
            views = self.env.views()
            self.wanted = np.full(episodes.slots.shape, -np.inf)
            asked = self.ask(views, min(rules.batch, rules.steps - time), episodes.quality, rng)
            for row, (view, picked) in enumerate(zip(views, asked, strict=True)):
                self.wanted[row, view.ids[picked]] = -np.arange(len(picked))
        return self.wanted


class Exp3:
    """A bandit over strategies, of each campaign by itself: Exp3 (Auer et al. 2002, doi:10.1137/S0097539701398375).

    An arm is drawn for every round with the chance ``(1 - g) w_i / sum w + g / K``, and ``w_i`` then grows by ``exp(g x
    / (K p_i))``. The reward x in [0, 1] is how this round's gain in quality ranks among the campaign's so far. That is
    more than a real campaign could tell: the quality is measured on the reward's documents, with their labels.

    Args:
        campaigns: e, side by side.
        rounds: of each, T; the rate g is ``sqrt(K ln K / ((e - 1) T))``, at most 1.
        arms: strategies of the loop, K.
    """

    def __init__(self, campaigns: int, rounds: int, arms: Sequence[str] = ARMS):
        count = len(arms)
        self.strategies = [load_strategy(name) for name in arms]
        self.rate = min(1.0, float(np.sqrt(count * np.log(count) / ((np.e - 1) * rounds))))
        self.weights = np.zeros((campaigns, count))  # their logarithms
        self.chances = np.full((campaigns, count), 1 / count)
        self.arm = np.zeros(campaigns, np.int64)  # drawn last
        self.quality: list[Floats] = []  # (e,) at the start of each round

    def __call__(self, views: Sequence[View], n: int, quality: Floats, rng: np.random.Generator) -> list[Rows]:
        """Learn from the round before, and pick for this one."""
        every, count = np.arange(len(views)), len(self.strategies)
        self.quality.append(quality.copy())
        if len(self.quality) > 1:
            gains = np.diff(self.quality, axis=0)
            reward = ((gains < gains[-1]).sum(axis=0) + (gains == gains[-1]).sum(axis=0) / 2) / len(gains)
            self.weights[every, self.arm] += self.rate * reward / count / self.chances[every, self.arm]
        likely = np.exp(self.weights - self.weights.max(axis=1, keepdims=True))
        self.chances = (1 - self.rate) * likely / likely.sum(axis=1, keepdims=True) + self.rate / count
        self.arm = (self.chances.cumsum(axis=1) > rng.random((len(every), 1))).argmax(axis=1)
        return [self.strategies[arm](view, n, rng).indices for arm, view in zip(self.arm, views, strict=True)]
