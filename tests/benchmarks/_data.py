"""The labelled sets that benchmarks run on; they lie beside the project, or where `DISCOVER_DATA` says."""

import gzip
import json
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def labelled(name: str, split: str, names: list[str] | None = None) -> tuple[list[str], NDArray[np.int64], list[str]]:
    """Texts (n), class indices (n,) and the names of the classes.

    Args:
        name: of the set.
        split: of its files.
        names: the classes, other rows are left out; by default all that there are, in alphabetical order.
    """
    file = Path(os.environ.get("DISCOVER_DATA", "../shared/data")) / "text" / f"{name}.{split}.jsonl.gz"
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    classes = names or sorted({row["label"] for row in rows})
    rows = [row for row in rows if row["label"] in classes]
    return [row["text"] for row in rows], np.array([classes.index(row["label"]) for row in rows]), classes
