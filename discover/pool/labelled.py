"""A labelled dataset out of two files: the documents that may be asked about, and those that measure."""

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2_contingency

from discover.errors import DiscoverError
from discover.pool.files import read_documents

SHOWN_CLASSES = 8
UNLIKE, BY_CHANCE = 0.05, 0.001  # total variation of the class shares from which it is told, and its p-value


@dataclass(frozen=True, eq=False)
class Dataset:
    """Documents whose labels are known. A row id is a position in ``texts``.

    The pool comes first, then the test documents, each in the order of public ids: nothing depends on a file's order.

    Attributes:
        name: of the training file, up to the first dot.
        classes: c names in alphabetical order; a class index is a position here.
        texts: n of the pool, then t for testing.
        public_ids: aligned with ``texts``.
        y: (n + t,) class indices.
        n: documents of the pool.
        left_out: how many rows are not used, by reason.
    """

    name: str
    classes: tuple[str, ...]
    texts: list[str]
    public_ids: list[str]
    y: NDArray[np.int64]
    n: int
    left_out: Counter[str]

    @property
    def pool(self) -> NDArray[np.int64]:
        """(n,) row ids."""
        return np.arange(self.n)

    @property
    def test(self) -> NDArray[np.int64]:
        """(t,) row ids. A public id is a hash, so the first of them are a uniform sample."""
        return np.arange(self.n, len(self.texts))

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """(2, c) documents of each class, in the pool and among the test documents."""
        return np.stack([np.bincount(self.y[rows], minlength=len(self.classes)) for rows in (self.pool, self.test)])

    @property
    def shares(self) -> NDArray[np.float64]:
        """(2, c) of the classes, in the pool and among the test documents."""
        return np.asarray(self.counts / self.counts.sum(axis=1, keepdims=True))

    @property
    def class_shift(self) -> float:
        """Total variation between the two, from 0 to 1."""
        return float(np.abs(np.subtract(*self.shares)).sum() / 2)

    @property
    def warning(self) -> str | None:
        """What it means that the test documents' classes are not those of the pool; None where they are.

        Chance does not count: a chi-squared test of the counts (Pearson 1900).
        """
        occurring = self.counts[:, self.counts.any(axis=0)]
        if self.class_shift < UNLIKE or chi2_contingency(occurring).pvalue > BY_CHANCE:
            return None
        pool, test = self.shares
        most = int((test - pool).argmax())
        return (
            f"{self.name}: the classes of the test documents are not those of the pool (total variation "
            f"{self.class_shift:.2f}; {self.classes[most]!r:.40} {test[most]:.1%} for {pool[most]:.1%}): figures "
            "hold for documents like the test file's, and what is gained on the pool can be lost there; to judge for "
            "the pool, test on documents drawn from it"
        )

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits over texts, labels and split."""
        labels = (self.classes[one] for one in self.y)
        lines = [f"{public_id} {label}" for public_id, label in zip(self.public_ids, labels, strict=True)]
        return hashlib.sha256("\n".join([str(self.n), *lines]).encode()).hexdigest()[:16]


def read_dataset(train: Path, test: Path) -> Dataset:
    """Read two files, cleaned as an import cleans them.

    The same text twice is one document. One with two different labels has no answer and is left out, and so is a
    training text that also stands in the test file.

    Raises:
        DiscoverError: a file cannot be read or has nothing usable, there are fewer than two classes, or the test file
            has a class that the training file lacks.
    """
    left_out: Counter[str] = Counter()
    asked, measured = _read(train, "train", left_out), _read(test, "test", left_out)
    shared = asked.keys() & measured.keys()
    if shared:
        left_out["train texts that are also in test"] = len(shared)
    pool = sorted(found for found in asked.items() if found[0] not in shared)
    classes = sorted({label for _, (_, label) in pool})
    if len(classes) < 2:
        found = f"only {classes[0]!r}" if classes else "no text that is not in the test file"
        raise DiscoverError(f"{train} must hold documents of at least two classes, found {found}: add others")
    unknown = Counter(label for _, label in measured.values() if label not in classes)
    if unknown:
        label, count = unknown.most_common(1)[0]
        known = ", ".join(classes[:SHOWN_CLASSES]) + (" …" if len(classes) > SHOWN_CLASSES else "")
        raise DiscoverError(
            f"{test} has the label {label!r:.60} ({count} documents), which {train} lacks (it has {known}): "
            "correct the label, or add training documents of that class"
        )
    rows = [*pool, *sorted(measured.items())]
    return Dataset(
        name=train.name.partition(".")[0] or train.name,
        classes=tuple(classes),
        texts=[text for _, (text, _) in rows],
        public_ids=[public_id for public_id, _ in rows],
        y=np.array([classes.index(label) for _, (_, label) in rows], np.int64),
        n=len(pool),
        left_out=left_out,
    )


def shortened(dataset: Dataset, documents: int, tested: int) -> Dataset:
    """The dataset with so many documents of each kind at most; a uniform sample, as public ids are hashes."""
    pool, test = dataset.pool[:documents], dataset.test[:tested]
    rows = np.concatenate([pool, test])
    return replace(
        dataset,
        texts=[dataset.texts[row] for row in rows],
        public_ids=[dataset.public_ids[row] for row in rows],
        y=dataset.y[rows],
        n=len(pool),
    )


def _read(path: Path, part: str, left_out: Counter[str]) -> dict[str, tuple[str, str]]:
    """Public id to text and label."""
    found: dict[str, tuple[str, str]] = {}
    contradicted: set[str] = set()

    def skip(line: int, reason: str) -> None:
        left_out[f"{part} rows: {reason.partition(':')[0]}"] += 1

    for document in read_documents(path, skip):
        public_id, label = document.public_id, document.label
        if label is None:
            left_out[f"{part} rows without a label"] += 1
        elif found.setdefault(public_id, (document.text, label))[1] != label:
            contradicted.add(public_id)
            left_out[f"{part} rows that contradict another"] += 1
        elif found[public_id][0] is not document.text:
            left_out[f"{part} rows seen before"] += 1
    for public_id in contradicted:
        del found[public_id]
        left_out[f"{part} rows that contradict another"] += 1
    if not found:
        why = ", ".join(f"{count} {reason}" for reason, count in left_out.items()) or "no rows"
        raise DiscoverError(f"nothing usable in {path} ({why}): each row needs a `text` and a `label`")
    return found
