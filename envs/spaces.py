"""What every environment shows: spaces, observations and infos made of the arrays of `Episodes`."""

import functools
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from discover.config import validate
from discover.errors import DiscoverError
from discover.policy import features
from discover.policy.config import EpisodeConfig
from discover.policy.corpus import Corpus, synthetic
from envs.episodes import Episodes


@functools.cache
def built_in() -> tuple[Corpus, ...]:
    """The small made-up task of an environment that is given no corpora."""
    return (synthetic(np.random.default_rng(0)),)


def rules_of(episode: EpisodeConfig | dict[str, Any] | None) -> EpisodeConfig:
    """The rules of an environment, which may come as plain values.

    Raises:
        DiscoverError: a key is unknown, or a value does not fit.
    """
    return episode if isinstance(episode, EpisodeConfig) else validate(EpisodeConfig, episode or {}, "episode")


def observation_space(candidates: int) -> spaces.Dict:
    """Of k candidates: their features row by row, the state, and which may be picked; all in [0, 1], all flat."""
    sizes = {"candidates": candidates * len(features.NAMES), "state": len(features.STATE), "mask": candidates}
    return spaces.Dict({name: spaces.Box(0, 1, (size,), np.float32) for name, size in sizes.items()})


def check_undrawn(render_mode: str | None) -> None:
    """Refuse to draw: Gymnasium hands every environment a render mode, and campaigns have nothing to show."""
    if render_mode is not None:
        raise DiscoverError(f"render_mode must be None, found {render_mode!r:.80}: nothing is drawn here, leave it out")


def observe(episodes: Episodes) -> dict[str, NDArray[np.float32]]:
    """(e, k * f) ``candidates``, (e, g) ``state`` and (e, k) ``mask``; copies."""
    return {
        "candidates": episodes.observed.reshape(len(episodes.time), -1).copy(),
        "state": episodes.state.copy(),
        "mask": episodes.valid.astype(np.float32),
    }


def info(episodes: Episodes, row: int, over: bool) -> dict[str, Any]:
    """What is told of one episode besides its observation.

    ``corpus``, ``labels`` so far, ``quality`` on the reward documents; at the end ``mean_return`` and, where there is a
    report, ``accuracy`` and ``macro_f1`` on the test documents.
    """
    found = {
        "corpus": episodes.corpora[episodes.corpus_of[row]].name,
        "labels": int(episodes.spent[row]),
        "quality": float(episodes.quality[row]),
    }
    if over:
        found["mean_return"] = float(episodes.returned[row])
        if episodes.rules.report:
            found |= {name: float(values[0]) for name, values in episodes.report([row]).items()}
    return found
