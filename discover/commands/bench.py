"""Strategies and learners compared on labelled files: read, embed, play what is missing, sum up."""

import json
import sys
from collections.abc import Sequence
from typing import Any

from discover import plugins
from discover.bench import cells, learners, output, workers
from discover.bench.cells import Cell
from discover.bench.config import BenchConfig
from discover.bench.summary import summarise
from discover.bench.workers import Stage
from discover.embed.config import EncoderConfig
from discover.embed.encoder import Encoder
from discover.errors import DiscoverError
from discover.pool.labelled import Dataset, read_dataset
from discover.run import RunFolder
from discover.simulate import Arena

VOTING = "committee"  # the strategy that needs several heads


def bench(config: BenchConfig, as_json: bool = False) -> None:
    """Play every cell that is not there yet, and write the results.

    Raises:
        DiscoverError: a file, strategy, learner or setting does not fit, or arms did not start alike.
    """
    datasets = _datasets(config)
    for word in config.learners:  # and, planned once for nothing, a wrong word is told before anything is embedded
        if learners.settings_of(word) is not None:
            continue
        learners.make(word, seed=0)
        if any(plugins.split(strategy)[0] == VOTING for strategy in config.strategies):
            raise DiscoverError(f"{VOTING} asks heads of our own, and {word!r} has none: leave out one of the two")
    cells.plan(config, datasets, "")
    folder = RunFolder(config.output)
    if folder.config.exists():
        raise DiscoverError(f"--output names a folder for a bench, but {folder.root} holds a run: name another")
    folder.create(folder.cells, folder.curves)
    with folder.lock():
        folder.sweep()
        encoder = Encoder(EncoderConfig())
        for dataset in datasets:
            Arena(dataset, folder.vectors, encoder.version, encoder.dimension).embed(encoder, config.rules.test_limit)
        stage = Stage({one.name: one for one in datasets}, folder.vectors, encoder.version, encoder.dimension)
        wanted = cells.plan(config, datasets, encoder.version)
        found = _play(wanted, stage, config.jobs)
        summary = {"settings": config.model_dump(mode="json"), "datasets": _described(datasets)}
        summary |= summarise(found, config.target)
        output.write(found, summary, folder)
    print(json.dumps(summary) if as_json else "\n".join(output.table(summary)))


def _datasets(config: BenchConfig) -> list[Dataset]:
    if len(config.train) != len(config.test):
        raise DiscoverError(
            f"--train names {len(config.train)} files and --test {len(config.test)}: they go together in order"
        )
    datasets = [read_dataset(train, test) for train, test in zip(config.train, config.test, strict=True)]
    for dataset in datasets:
        left_out = ", ".join(f"{count} {reason}" for reason, count in dataset.left_out.items())
        print(
            f"{dataset.name}: {dataset.n:,} documents to ask about, {len(dataset.test):,} to test on, "
            f"{len(dataset.classes)} classes; left out: {left_out or 'nothing'}",
            file=sys.stderr,
        )
        if dataset.warning:
            print(dataset.warning, file=sys.stderr)
        if dataset.n < config.rules.initial:
            raise DiscoverError(
                f"--initial asks for {config.rules.initial} seed labels, {dataset.name} has {dataset.n} texts: "
                "set it lower"
            )
        if dataset.n < config.rules.budget:
            print(f"{dataset.name}: campaigns end when all {dataset.n:,} documents are asked about", file=sys.stderr)
    names = [dataset.name for dataset in datasets]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DiscoverError(f"two training files are called {twice!r} up to the first dot: rename one")
    return datasets


def _play(wanted: Sequence[Cell], stage: Stage, jobs: int | None) -> list[tuple[Cell, dict[str, Any]]]:
    """Play what is missing; every cell wanted, with what its file holds."""
    started: dict[tuple[Any, ...], Any] = {}
    found = {cell: content for cell in wanted if (content := cells.read(cell))}
    for cell, content in found.items():
        cells.check_start(cell, content, started)

    def done(cell: Cell) -> None:
        content = cells.read(cell)
        if content is None:
            raise DiscoverError(f"{cell.path} must hold a finished campaign and does not: give the same command again")
        cells.check_start(cell, content, started)
        found[cell] = content

    workers.play_all(stage, [cell for cell in wanted if cell not in found], jobs, done)
    return [(cell, found[cell]) for cell in wanted]


def _described(datasets: Sequence[Dataset]) -> dict[str, Any]:
    return {
        one.name: {
            "pool": one.n,
            "test": len(one.test),
            "classes": len(one.classes),
            "class_shift": one.class_shift,
            "left_out": dict(one.left_out),
        }
        for one in datasets
    }
