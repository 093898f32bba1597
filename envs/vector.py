"""``discover/Labeling-v0`` many times over in one process.

``gymnasium.make_vec(id, num_envs=32, vectorization_mode="vector_entry_point")`` makes it.
All episodes move in the same array operations, which is several times as fast as one after another. Environment i with
the seed s + i plays what a single one with that seed plays.
"""

from collections.abc import Sequence
from operator import index
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from discover.errors import DiscoverError
from discover.policy.config import EpisodeConfig
from discover.policy.corpus import Corpus
from discover.query.view import View
from envs.episodes import Episodes
from envs.spaces import built_in, check_undrawn, info, observation_space, observe, rules_of

Observations = dict[str, NDArray[np.float32]]


class VectorLabeling(VectorEnv[Observations, NDArray[np.int64], NDArray[np.float64]]):
    """As `envs.labeling.Labeling`; a finished episode begins anew in the same step.

    What it ended with is in the infos ``final_obs``, (e,) objects, and ``final_info``, as of Gymnasium's own.

    Args:
        num_envs: e, how many.
        corpora: to draw from; by default one small made-up task.
        episode: the rules, `EpisodeConfig` or a dict of them.
        render_mode: None; nothing is drawn.
    """

    metadata: ClassVar[dict[str, Any]] = {"autoreset_mode": AutoresetMode.SAME_STEP}

    def __init__(
        self,
        num_envs: int = 1,
        corpora: Sequence[Corpus] | None = None,
        episode: EpisodeConfig | dict[str, Any] | None = None,
        render_mode: str | None = None,
    ):
        check_undrawn(render_mode)
        self.render_mode = render_mode
        self.num_envs = num_envs
        self.episodes = Episodes(built_in() if corpora is None else corpora, num_envs, rules_of(episode))
        candidates = self.episodes.rules.candidates
        self.single_observation_space = observation_space(candidates)
        self.single_action_space = spaces.Discrete(candidates)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._chance: list[tuple[np.random.Generator, int]] = []  # and the seed of each

    @property
    def np_random(self) -> tuple[np.random.Generator, ...]:
        """What each environment draws with, once they were reset; as of Gymnasium's own."""
        return tuple(rng for rng, _ in self._chance)

    @property
    def np_random_seed(self) -> tuple[int, ...]:
        """The seed of each."""
        return tuple(seed for _, seed in self._chance)

    def action_masks(self) -> NDArray[np.bool_]:
        """(e, k) which actions are allowed."""
        return self.episodes.valid.copy()

    def report(self) -> dict[str, NDArray[np.float64]]:
        """Accuracy and macro-F1, (e,) each, on the test documents now."""
        return self.episodes.report()

    def lookahead(self) -> NDArray[np.float64]:
        """(e, k) what each candidate's true label would gain: the oracle that a policy is taught by."""
        return self.episodes.lookahead()

    def views(self) -> list[View]:
        """The candidates, now, of each campaign as a query strategy of the loop sees them; ids are actions."""
        return [self.episodes.view(row) for row in range(self.num_envs)]

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Begin every campaign.

        Args:
            seed: of the first environment, the others counting on; or one each, None leaving its chance as it is. Of
                Python or NumPy.
            options: there are none.
        """
        if isinstance(seed, int | np.integer):
            seed = [seed + i for i in range(self.num_envs)]
        try:
            seeds = [None] * self.num_envs if seed is None else [None if one is None else index(one) for one in seed]
        except TypeError as error:
            raise DiscoverError(
                f"seed must be a whole number, or a list of one for each environment, found {seed!r:.80}"
            ) from error
        if len(seeds) != self.num_envs:
            raise DiscoverError(f"expected a seed for each of {self.num_envs} environments, found {len(seeds)}")
        self._chance = [
            self._chance[row] if wanted is None and self._chance else seeding.np_random(wanted)
            for row, wanted in enumerate(seeds)
        ]
        self.episodes.reset(dict(enumerate(self.np_random)))
        return observe(self.episodes), {}

    def step(
        self, actions: NDArray[np.int64]
    ) -> tuple[Observations, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Ask about one candidate of every campaign."""
        rewards, masked, over = self.episodes.step(np.asarray(actions))
        infos: dict[str, Any] = {"masked": masked, "_masked": np.ones(self.num_envs, bool)}
        observations = observe(self.episodes)
        if over.any():
            ended = np.flatnonzero(over).tolist()
            final = np.full(self.num_envs, None, object)
            infos |= {"final_obs": final, "_final_obs": over, "_final_info": over}
            told: dict[str, Any] = {}
            for row in ended:
                final[row] = {name: array[row] for name, array in observations.items()}
                told = self._add_info(told, info(self.episodes, row, True), row)
            infos["final_info"] = told
            self.episodes.reset({row: self._chance[row][0] for row in ended})
            observations = observe(self.episodes)
        return observations, rewards, over, np.zeros(self.num_envs, bool), infos
