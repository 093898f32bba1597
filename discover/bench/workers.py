"""The processes that play a bench's cells: each with its share of the cores, and what it opened kept between cells."""

import contextlib
import functools
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import torch

from discover.bench import cells, learners
from discover.bench.cells import Cell
from discover.bench.config import FULL
from discover.child import end_with_parent
from discover.embed.config import EncoderConfig
from discover.embed.encoder import Encoder
from discover.errors import DiscoverError
from discover.learn.activations import ActivationCache
from discover.learn.classifier import TextClassifier
from discover.learn.learner import Learner
from discover.pool.labelled import Dataset
from discover.progress import progress
from discover.simulate import Arena, play

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
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
    cores = len(os.sched_getaffinity(0))
    jobs = jobs or cores
    if jobs == 1 or not ordered:
        for cell in progress(ordered, len(ordered), "campaigns"):
            done(stage.play(cell))
        return
    spawn = multiprocessing.get_context("spawn")  # torch does not survive a fork
    with ProcessPoolExecutor(min(jobs, len(ordered)), spawn, initializer=_begin, initargs=(stage, os.getpid())) as pool:
        try:
            with _inherited(max(1, cores // jobs)):
                running = [pool.submit(_play, cell) for cell in ordered]
            for future in progress(as_completed(running), len(running), "campaigns"):
                done(future.result())
        except BrokenProcessPool as error:
            raise DiscoverError(
                "a process of the bench was killed, perhaps for want of memory: lower --jobs, then give the same "
                "command again; what is finished is kept"
            ) from error
        except BaseException:
            for child in multiprocessing.active_children():  # the pool then knows that it is broken, and ends
                child.terminate()
            raise


def _slowness(cell: Cell) -> tuple[int, bool]:
    method = cell.learner.partition(",")[0]
    return SLOWEST_FIRST.index(method) if method in SLOWEST_FIRST else len(SLOWEST_FIRST), cell.strategy != FULL


@contextlib.contextmanager
def _inherited(threads: int) -> Iterator[None]:
    """What processes started meanwhile take over: their number of threads, and that Ctrl-C is not theirs to answer.

    Libraries read the number when they load, so it must be there before a process imports anything.
    """
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, str(threads)))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


_stage: Stage


def _begin(stage: Stage, parent: int) -> None:
    """In a new process: keep what the cells need, and end when the bench ends, even if it is killed."""
    global _stage
    _stage = stage
    end_with_parent(parent)


def _play(cell: Cell) -> Cell:
    return _stage.play(cell)
