"""``discover/Labeling-v0``: one label a step, from a masked set of candidates."""

from collections.abc import Sequence
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from discover.policy.config import EpisodeConfig
from discover.policy.corpus import Corpus
from envs.episodes import Episodes
from envs.spaces import built_in, check_undrawn, info, observation_space, observe, rules_of

Observation = dict[str, NDArray[np.float32]]


class Labeling(gymnasium.Env[Observation, np.int64]):
    """A labeling campaign: each step picks the next document to ask about, and a ridge head learns its label.

    Action Space
        ``Discrete(k)``: a slot of this round's candidates. One that is masked leaves the state unchanged, costs a step
        and is reported as ``info["masked"]``.

    Observation Space
        A dict of flat boxes in [0, 1]: ``candidates`` (k * f), the features of each in turn
        (`discover.policy.features`), ``state`` (g), and ``mask`` (k), 1 where a slot may be picked.

    Starting State
        A corpus, its splits and the seed labels, all drawn with the seed; no two splits share a document.

    Rewards
        ``(Q_t - Q_t-1)(T - t + 1) / T``, where Q is macro-F1 or accuracy on documents that nothing else looks at. They
        sum up to the mean of Q_1 … Q_T less Q_0: what is learned early counts for longer.

    Episode End
        Terminated when T = budget - initial steps are taken (how much is left is observed), or when nothing is left to
        pick. The last ``info`` has the ``mean_return``, and the test documents' figures if ``episode.report`` asks.

    Settings
        corpora: to draw from; by default one small made-up task.
        episode: the rules, `EpisodeConfig` or a dict of them.
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
        self.episodes = Episodes(built_in() if corpora is None else corpora, 1, rules_of(episode))
        candidates = self.episodes.rules.candidates
        self.observation_space = observation_space(candidates)
        self.action_space = spaces.Discrete(candidates)

    def action_masks(self) -> NDArray[np.bool_]:
        """(k,) which actions are allowed, as sb3-contrib asks for it."""
        return self.episodes.valid[0].copy()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin a campaign; there are no options."""
        super().reset(seed=seed)
        self.episodes.reset({0: self.np_random})
        return self._observation(), info(self.episodes, 0, False)

    def step(self, action: np.int64) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Ask about one candidate."""
        rewards, masked, over = self.episodes.step(np.array([action]))
        told = {**info(self.episodes, 0, bool(over[0])), "masked": bool(masked[0])}
        return self._observation(), float(rewards[0]), bool(over[0]), False, told

    def _observation(self) -> Observation:
        return {name: array[0] for name, array in observe(self.episodes).items()}
