"""Which estimator learns a task's answers."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from discover.embed.encoder import Encoder
from discover.learn.activations import ActivationCache
from discover.learn.classifier import TextClassifier
from discover.learn.config import LearnConfig
from discover.learn.tagger import Tagger
from discover.pool.labels import Task

OwnEstimator = TextClassifier | Tagger


def untaught(
    encoder: Encoder,
    texts: Callable[[Sequence[int]], list[str]],
    classes: dict[str, str],
    config: LearnConfig,
    seed: int,
    cache: ActivationCache,
    vectors: Callable[[Sequence[int]], NDArray[np.float32]] | None,
    task: Task,
) -> OwnEstimator:
    """The estimator of a task, before any answer; arguments as for `TextClassifier`."""
    if task == "spans":
        return Tagger(encoder, texts, classes, config, seed, cache)
    return TextClassifier(encoder, texts, classes, config, seed, cache, vectors, task)
