"""The processes that play a bench's cells: each with its share of the cores, and what it opened kept between cells."""

import contextlib
import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from discover.bench import cells, learners
from discover.bench.cells import Cell
from discover.bench.config import FULL
from discover.child import side_by_side
from discover.embed.config import EncoderConfig
from discover.embed.encoder import Encoder
from discover.learn.activations import ActivationCache
from discover.learn.classifier import TextClassifier
from discover.learn.learner import Learner
from discover.pool.labelled import Dataset
from discover.progress import progress
from discover.simulate import Arena, play

SLOWEST_FIRST = ("full", "lora", "top", "head")


class Stage:
    """What a process needs to play any cell; opened when a cell first asks for it, and kept for the next.

    Args:
        datasets: by name.
        folder: of the vectors, all of them embedded.
        version: of the encoder.
        dimension: of a vector.
    """

    def __init__(self, datasets: dict[str, Dataset], folder: Path, version: str, dimension: int):
        self.datasets, self.folder, self.version, self.dimension = datasets, folder, version, dimension
        self._opened = ("", 0)
        self._arena: tuple[Arena, ActivationCache]

    def play(self, cell: Cell) -> Cell:
        """Play a cell and publish it."""
        settings = learners.settings_of(cell.learner)
        arena, activations = self._open(cell.dataset, settings.cache_megabytes if settings else 0)
        if settings is None:
            learner: Learner[Any] = learners.own_learner(cell.learner, arena.dataset, cell.seed)
        else:
            classes = dict.fromkeys(arena.dataset.classes, "")
            learner = Learner(
                TextClassifier(self.encoder, arena.texts, classes, settings, cell.seed, activations, arena.vectors)
            )
        # One bar, that of the whole bench; not one for each training.
        with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stderr(nowhere):
            rounds = list(play(arena, learner, cells.strategy_of(cell.strategy), cell.rules, cell.seed))
        cells.write(cell, rounds, arena.dataset, torch.get_num_threads())
        return cell

    @functools.cached_property
    def encoder(self) -> Encoder:
        """Opened for learners that need it."""
        return Encoder(EncoderConfig())

    def _open(self, dataset: str, megabytes: int) -> tuple[Arena, ActivationCache]:
        if self._opened != (dataset, megabytes):
            arena = Arena(self.datasets[dataset], self.folder, self.version, self.dimension)
            self._opened, self._arena = (dataset, megabytes), (arena, ActivationCache(megabytes))
        return self._arena


def play_all(stage: Stage, wanted: Sequence[Cell], jobs: int | None, done: Callable[[Cell], None]) -> None:
    """Play cells, the slowest first.

    Args:
        stage: what they are played on.
        wanted: the cells.
        jobs: processes, by default one a core; a single one is this process.
        done: called here with each cell as it is finished; what it raises ends the others.

    Raises:
        DiscoverError: a strategy or learner fails, or a process was killed.
    """
    ordered = sorted(wanted, key=_slowness)
    with contextlib.closing(side_by_side(Stage.play, stage, ordered, jobs)) as played:
        for cell in progress(played, len(ordered), "campaigns"):
            done(cell)


def _slowness(cell: Cell) -> tuple[int, bool]:
    method = cell.learner.partition(",")[0]
    return SLOWEST_FIRST.index(method) if method in SLOWEST_FIRST else len(SLOWEST_FIRST), cell.strategy != FULL
