"""``discover/Batch-v0``: a batch a step; the action says how many of its picks each source may choose."""

from collections.abc import Sequence
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from discover.errors import DiscoverError
from discover.policy import features
from discover.policy.config import EpisodeConfig
from discover.policy.corpus import Corpus
from discover.policy.heuristics import HEURISTICS, utilities
from envs.episodes import Episodes
from envs.spaces import built_in, check_undrawn, info, rules_of

Floats = NDArray[np.float32]

STRATEGIES = ("random", "margin", "density_margin", "coverage", "rarity", "change")
SOURCES = (*(f"from_{name}" for name in features.GENERATORS), *STRATEGIES)
SCALE = 4.0  # of an action: a source can then be e^8 times as wanted as another


class Batch(gymnasium.Env[Floats, Floats]):
    """A labeling campaign, round by round: each step says how the next batch is made up.

    Action Space
        ``Box(-1, 1, (s,))``: a quarter of a logit for each of `SOURCES`. The softmax, times the batch, rounded by
        largest remainders, are the picks of each: a candidate generator picks at random among its own, a strategy the
        best. What a generator cannot fill is picked at random.

    Observation Space
        ``Box(0, 1)``: the state, then mean and maximum over the candidates of each feature that enters as a value
        (`discover.policy.features`).

    Starting State, Episode End
        As in ``discover/Labeling-v0``; a step spends a whole batch.

    Rewards
        ``(Q_t - Q_t-1)(T - t + 1) / T``, t counting rounds; they sum up to the mean of Q_1 … Q_T less Q_0.

    Settings
        corpora: to draw from; by default one small made-up task.
        episode: the rules, `EpisodeConfig` or a dict of them; ``twin`` has no effect here.
        render_mode: None; nothing is drawn.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}

    def __init__(
        self,
        corpora: Sequence[Corpus] | None = None,
        episode: EpisodeConfig | dict[str, Any] | None = None,
        render_mode: str | None = None,
    ):
        check_undrawn(render_mode)
        self.render_mode = render_mode
        rules = rules_of(episode).model_copy(update={"twin": False})
        self.episodes = Episodes(built_in() if corpora is None else corpora, 1, rules)
        self.rounds = -(-rules.steps // rules.batch)
        self.action_space = spaces.Box(-1, 1, (len(SOURCES),), np.float32)
        size = len(features.STATE) + 2 * len(features.VALUED)
        self.observation_space = spaces.Box(0, 1, (size,), np.float32)
        self._round, self._returned = 0, 0.0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Floats, dict[str, Any]]:
        """Begin a campaign; there are no options."""
        super().reset(seed=seed)
        self.episodes.reset({0: self.np_random})
        self._round, self._returned = 0, 0.0
        return self._observation(), info(self.episodes, 0, False)

    def step(self, action: Floats) -> tuple[Floats, float, bool, bool, dict[str, Any]]:
        """Ask about a batch."""
        self.episodes.check_going()
        action = np.asarray(action)
        if action.shape != self.action_space.shape or not np.isfinite(action).all():
            raise DiscoverError(f"an action must be {len(SOURCES)} finite numbers, one a source, found {action!r:.80}")
        action = np.clip(action, -1, 1)
        rules, before = self.episodes.rules, self.episodes.quality[0]
        count = min(rules.batch, rules.budget - int(self.episodes.spent[0]))
        over = False
        for source, picks in zip(SOURCES, quotas(SCALE * action, count), strict=True):
            for _ in range(picks):
                if not over:
                    over = bool(self.episodes.step(np.array([self._pick(source)]))[2][0])
        self._round += 1
        reward = float(self.episodes.quality[0] - before) * (self.rounds - self._round + 1) / self.rounds
        self._returned += reward
        told = info(self.episodes, 0, over)
        if over:
            told["mean_return"] = self._returned
        return self._observation(), reward, over, False, told

    def _pick(self, source: str) -> int:
        """The slot that a source picks now."""
        valid = self.episodes.valid[0]
        wanted = self._utilities(source)
        if not (valid & np.isfinite(wanted)).any():
            wanted = self.np_random.random(len(valid))
        return int(np.where(valid, wanted, -np.inf).argmax())

    def _utilities(self, source: str) -> NDArray[np.float64]:
        observed = self.episodes.observed[0]
        if source in HEURISTICS:
            return utilities(source, observed, self.np_random)
        if source.startswith("from_"):
            mine = observed[:, features.NAMES.index(source)] > 0
            return np.where(mine, self.np_random.random(len(mine)), -np.inf)
        return observed[:, features.NAMES.index(f"{source}_rank")].astype(np.float64)

    def _observation(self) -> Floats:
        start = len(features.RANKED)
        values = self.episodes.observed[0, :, start : start + len(features.VALUED)]
        kept = values[self.episodes.valid[0]]
        parts = (kept.mean(axis=0), kept.max(axis=0)) if len(kept) else (np.zeros(2 * values.shape[1], np.float32),)
        return np.concatenate([self.episodes.state[0], *parts]).astype(np.float32)


def quotas(logits: Floats, count: int) -> list[int]:
    """Whole numbers that sum up to ``count``, near the softmax shares of (s,) logits; by largest remainders."""
    exponentials = np.exp(logits.astype(np.float64) - logits.max())
    exact = (count * exponentials / exponentials.sum()).round(9)
    floors = np.floor(exact).astype(int)
    more = np.argsort(floors - exact, kind="stable")[: count - floors.sum()]
    floors[more] += 1
    return [int(one) for one in floors]
