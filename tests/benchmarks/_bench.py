"""Campaigns of `discover bench` on sets of the real data."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from discover.bench.config import BenchConfig
from discover.commands.bench import bench
from discover.run import RunFolder
from tests.benchmarks._data import file_of


def played(names: Sequence[str], folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """What `discover bench` sums up of `auto` and random on the sets, played where campaigns are missing.

    Args:
        names: of the sets.
        folder: where the campaigns are kept.
        settings: the others of a `BenchConfig`.
    """
    train, test = ([file_of(name, part) for name in names] for part in ("train", "test"))
    bench(BenchConfig(train=train, test=test, strategies=["auto"], full=False, output=folder, **settings))
    summary: dict[str, Any] = json.loads(RunFolder(folder).summary.read_text(encoding="utf-8"))
    return summary
