"""The labelled sets that benchmarks run on; they lie beside the project, or where `DISCOVER_DATA` says."""

import gzip
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.real_data import DATA

LATENT, DIMENSION = 32, 384


def labelled(name: str, split: str, names: list[str] | None = None) -> tuple[list[str], NDArray[np.int64], list[str]]:
    """Texts (n), class indices (n,) and the names of the classes.

    Args:
        name: of the set.
        split: of its files.
        names: the classes, other rows are left out; by default all that there are, in alphabetical order.
    """
    with gzip.open(file_of(name, split), "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    classes = names or sorted({row["label"] for row in rows})
    rows = [row for row in rows if row["label"] in classes]
    return [row["text"] for row in rows], np.array([classes.index(row["label"]) for row in rows]), classes


def file_of(name: str, split: str) -> Path:
    """The file of a set's split."""
    return DATA / "text" / f"{name}.{split}.jsonl.gz"


def answerable(name: str, folder: Path) -> Path:
    """A copy of a set's test file without the rows of classes that its training file lacks (atis has five such rows).

    Args:
        name: of the set.
        folder: where it is written, as ``name.answerable.jsonl``.
    """
    texts, y, classes = labelled(name, "test", labelled(name, "train")[2])
    path = folder / f"{name}.answerable.jsonl"
    rows = (json.dumps({"text": text, "label": classes[one]}) for text, one in zip(texts, y, strict=True))
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def thinned(name: str, shares: dict[str, float], folder: Path, seed: int = 0) -> Path:
    """A copy of a set's training file in which some classes are rarer; it is for a benchmark's own folder.

    Args:
        name: of the set.
        shares: of the documents that are left, by class; of each class the others are all kept.
        folder: where it is written, as ``name.thinned.jsonl``.
        seed: of the draw of those that are left.
    """
    texts, y, classes = labelled(name, "train")
    kept = np.isin(y, [classes.index(label) for label in shares], invert=True)
    total = kept.sum() / (1 - sum(shares.values()))
    rng = np.random.default_rng(seed)
    for label, share in shares.items():
        kept[rng.permutation(np.flatnonzero(y == classes.index(label)))[: round(share * total)]] = True
    path = folder / f"{name}.thinned.jsonl"
    rows = (json.dumps({"text": texts[row], "label": classes[y[row]]}) for row in np.flatnonzero(kept))
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def made_up_classes(start: int, count: int, classes: int) -> NDArray[np.int64]:
    """The classes of `made_up`, without the vectors, which take a thousand times as long."""
    return np.random.default_rng([start, count]).integers(classes, size=count)


def made_up(start: int, count: int, classes: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Unit vectors, (count, 384), and their classes: documents of a made-up pool, from one on.

    Random ones of 32 dimensions around a centre a class, turned into 384 with a little noise: a text encoder's vectors
    lie near a thin sheet.
    """
    rng = np.random.default_rng([start, count])
    sheet = np.random.default_rng(0).normal(size=(LATENT, DIMENSION)).astype(np.float32)
    centres = np.random.default_rng(1).normal(size=(classes, LATENT)).astype(np.float32)
    found = rng.integers(classes, size=count)  # first, as in `made_up_classes`
    vectors = (centres[found] + rng.standard_normal((count, LATENT), np.float32)) @ sheet
    vectors += rng.standard_normal((count, DIMENSION), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors, found
