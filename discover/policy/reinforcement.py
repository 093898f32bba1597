"""A scorer improved by reinforcement learning: stable-baselines3's MaskablePPO on the vector environment.

Schulman et al. 2017, https://arxiv.org/abs/1707.06347, with invalid actions masked (Huang & Ontanon 2022,
https://arxiv.org/abs/2006.14171). The actor is the scorer, started where imitation has left it; the critic reads the
state and a summary of the candidates. Everything that is SB3's lies in this file.
"""

import shutil
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.policies import MaskableMultiInputActorCriticPolicy
from stable_baselines3.common.callbacks import BaseCallback, CheckpointCallback
from stable_baselines3.common.logger import Logger, configure
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn

from discover import tracking
from discover.errors import DiscoverError
from discover.policy.config import ReinforcementConfig
from discover.policy.features import NAMES, STATE
from discover.policy.scorer import Scorer
from discover.progress import progress

CHECKPOINT = "ppo"
SEEDS = 2**32  # as many as NumPy's older generator knows
CACHED = 8192  # candidates that are scored at a time: what the layers keep of more leaves the processor's cache


class StableBaselinesEnv(VecEnv):
    """A Gymnasium vector environment as stable-baselines3 wants it.

    Args:
        env: with ``action_masks()``, beginning anew in the step that ends an episode.
    """

    def __init__(self, env: VectorEnv):
        if env.metadata.get("autoreset_mode") is not gymnasium.vector.AutoresetMode.SAME_STEP:
            raise ValueError(f"expected an environment with same-step autoreset, found {env.metadata}")
        self.env = env  # before what follows, which asks for its attributes
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)
        self._actions: NDArray[np.int64] = np.zeros(env.num_envs, np.int64)
        self._length = np.zeros(env.num_envs, np.int64)

    def reset(self) -> dict[str, NDArray[np.float32]]:
        """Begin every episode; the seed given by `seed` counts once."""
        seeds = self._seeds if any(one is not None for one in self._seeds) else None
        observed, _ = self.env.reset(seed=seeds)
        self._reset_seeds()
        self._length[:] = 0
        return observed

    def step_async(self, actions: NDArray[np.int64]) -> None:
        """Keep the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> tuple[Any, NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """Step; of an episode that ends the infos have ``terminal_observation`` and ``episode``."""
        observed, rewards, terminated, truncated, infos = self.env.step(self._actions)
        over = terminated | truncated
        self._length += 1
        told: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for row in np.flatnonzero(over):
            told[row] = {
                "terminal_observation": infos["final_obs"][row],
                "TimeLimit.truncated": bool(truncated[row] and not terminated[row]),
                "episode": {"r": float(infos["final_info"]["mean_return"][row]), "l": int(self._length[row]), "t": 0.0},
            }
        self._length[over] = 0
        return observed, rewards.astype(np.float32), over, told

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The same attribute for each of the environments asked for."""
        return [getattr(self.env.unwrapped, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Refused: the environments share their arrays."""
        raise DiscoverError(f"environments that share their arrays have no {attr_name} of their own: make them anew")

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """A method that gives one row for each environment; of those asked for."""
        found = getattr(self.env.unwrapped, method_name)(*method_args, **method_kwargs)
        return [found[row] for row in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """None of them is wrapped one by one."""
        return [False] * len(list(self._get_indices(indices)))


class _Flat(BaseFeaturesExtractor):
    """Hands the observation on as one row: candidates, state, mask."""

    def __init__(self, observation_space: gymnasium.spaces.Dict):
        super().__init__(observation_space, sum(box.shape[0] for box in observation_space.values()))

    def forward(self, observed: dict[str, Tensor]) -> Tensor:
        return torch.cat([observed["candidates"], observed["state"], observed["mask"]], dim=-1)


class _ActorCritic(nn.Module):
    """The scorer as the actor, whose "features" are the logits themselves, and the critic beside it."""

    def __init__(self, candidates: int, scorer: Scorer, hidden: int = 64):
        super().__init__()
        self.k, self.scorer = candidates, scorer
        self.latent_dim_pi, self.latent_dim_vf = candidates, hidden
        self.critic = nn.Sequential(nn.Linear(len(STATE) + 2 * len(NAMES), hidden), nn.Tanh())

    def forward(self, row: Tensor) -> tuple[Tensor, Tensor]:
        return self.forward_actor(row), self.forward_critic(row)

    def forward_actor(self, row: Tensor) -> Tensor:
        candidates, state, _ = self._parts(row)
        few = max(1, CACHED // self.k)
        return torch.cat([self.scorer(*part) for part in zip(candidates.split(few), state.split(few), strict=True)])

    def forward_critic(self, row: Tensor) -> Tensor:
        candidates, state, mask = self._parts(row)
        count = mask.sum(dim=-1, keepdim=True).clamp(min=1)
        mean = torch.matmul(mask[..., None, :], candidates)[..., 0, :] / count
        return self.critic(torch.cat([state, mean, candidates.amax(dim=-2)], dim=-1))

    def _parts(self, row: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        candidates, state, mask = row.split([self.k * len(NAMES), len(STATE), self.k], dim=-1)
        return candidates.unflatten(-1, (self.k, len(NAMES))), state, mask


class ScorerPolicy(MaskableMultiInputActorCriticPolicy):
    """SB3's actor and critic with a scorer, of so many hidden units, in the actor's place."""

    def __init__(self, *args: Any, hidden: int, **kwargs: Any):
        self._hidden = hidden
        super().__init__(*args, features_extractor_class=_Flat, **kwargs)

    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor = _ActorCritic(int(self.action_space.n), Scorer(self._hidden))

    def _build(self, lr_schedule: Callable[[float], float]) -> None:
        self.ortho_init = False  # it would begin the scorer anew
        super()._build(lr_schedule)
        self.action_net = nn.Identity()
        self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)


class _Progress(BaseCallback):
    """Shows how many of the rollouts are done."""

    def __init__(self, rollouts: int, title: str):
        super().__init__()
        self._bar = progress(range(rollouts), rollouts, title)

    def _on_training_start(self) -> None:
        next(self._bar, None)  # the clock runs from here on

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        next(self._bar, None)


def improve(
    scorer: Scorer,
    env: VectorEnv,
    config: ReinforcementConfig,
    folder: Path,
    curves: Path,
    seed: int,
    callbacks: Sequence[BaseCallback] = (),
) -> None:
    """Train a scorer further, in place; after a kill the same call goes on from the last checkpoint.

    Args:
        scorer: where imitation has left it.
        env: ``discover/Labeling-v0``, vectorised.
        config: how long, and how.
        folder: for checkpoints.
        curves: for TensorBoard's event files.
        seed: of the environments and the actions.
        callbacks: SB3's, besides the checkpoints.
    """
    if config.steps == 0:
        return
    wrapped = StableBaselinesEnv(env)
    model = MaskablePPO(
        ScorerPolicy,
        wrapped,
        learning_rate=config.learning_rate,
        n_steps=config.rollout,
        batch_size=config.batch,
        n_epochs=config.epochs,
        gamma=1.0,  # the rewards sum up to what is wanted
        gae_lambda=config.gae_lambda,
        ent_coef=0.0,
        target_kl=config.target_kl,
        policy_kwargs={"hidden": scorer.hidden},
        seed=seed % SEEDS,
        device="cpu",  # batches are tiny
    )
    model.policy.mlp_extractor.scorer.load_state_dict(scorer.state_dict())
    done = _resume(model, folder)
    if done:
        model.set_random_seed((seed + done) % SEEDS)  # or it would play the episodes that it began with once more
    every = CheckpointCallback(max(1, config.checkpoint // env.num_envs), str(folder), CHECKPOINT)
    rollouts = -(-(config.steps - done) // (env.num_envs * config.rollout))
    told = _Progress(rollouts, f"reinforce, {env.single_action_space.n} candidates")
    model.set_logger(_logger(curves, done))
    model.learn(config.steps - done, callback=[every, told, *callbacks], reset_num_timesteps=done == 0)
    scorer.load_state_dict(_averaged(model, folder, config.steps))


def _averaged(model: MaskablePPO, folder: Path, steps: int) -> dict[str, Tensor]:
    """The scorer's weights, a mean over the end and the checkpoints of the second half: steadier than the end alone.

    Izmailov et al. 2018, https://arxiv.org/abs/1803.05407. The model is left at one of them.
    """
    found = [deepcopy(model.policy.mlp_extractor.scorer.state_dict())]
    for seen, path in _checkpoints(folder):
        if steps / 2 < seen < steps and _read(model, path):
            found.append(deepcopy(model.policy.mlp_extractor.scorer.state_dict()))
    return {name: torch.stack([one[name] for one in found]).mean(0) for name in found[0]}


def _logger(curves: Path, done: int) -> Logger:
    """SB3's own, into event files alone; what an earlier process wrote of later steps is forgotten."""
    if done:
        tracking.forget_from(curves, done + 1)
    else:
        shutil.rmtree(curves, ignore_errors=True)
    return configure(str(curves), ["tensorboard"])


def _resume(model: MaskablePPO, folder: Path) -> int:
    """Take over the newest checkpoint that can be read; how many steps it has seen."""
    for seen, path in reversed(_checkpoints(folder)):
        if _read(model, path):
            model.num_timesteps = seen
            return seen
    return 0


def _checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """Steps and path of each that lies there, in their order."""
    return sorted((int(path.stem.split("_")[1]), path) for path in folder.glob(f"{CHECKPOINT}_*_steps.zip"))


def _read(model: MaskablePPO, path: Path) -> bool:
    """Take over a checkpoint's parameters; False where it was half written when it was killed."""
    try:
        model.set_parameters(str(path), device="cpu")
    except (OSError, ValueError, RuntimeError, KeyError):
        return False
    return True
