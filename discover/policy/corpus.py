"""A corpus as the environments see it: reduced vectors and labels, and where each document lies. No texts.

Vectors are centred and reduced to their principal components, so that a ridge head over them costs little, with a
constant last component as its bias.
"""

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover.errors import DiscoverError
from discover.query.geometry import clusters, density

Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]
Classes = NDArray[np.int64]

DIMENSION = 64
CLUSTERS = 50


@dataclass(frozen=True, eq=False)
class Corpus:
    """Labelled documents to learn a policy on, or to judge one.

    Attributes:
        name: of the corpus.
        vectors: (n, d) float32, reduced, the last component being 1.
        labels: (n,) int64 classes, from 0 on.
        test_vectors, test_labels: the documents that a report is made on, likewise.
        density: (n,) float64, mean cosine to the nearest others, before the reduction.
        cluster: (n,) int64, of a k-means, before the reduction.
    """

    name: str
    vectors: Vectors
    labels: Classes
    test_vectors: Vectors
    test_labels: Classes
    density: Floats
    cluster: NDArray[np.int64]

    def __post_init__(self) -> None:
        _check(self.name, "", self.vectors, self.labels, self.vectors.shape[-1])
        _check(self.name, "test_", self.test_vectors, self.test_labels, self.vectors.shape[-1])

    @property
    def classes(self) -> int:
        """How many classes there are, c."""
        return int(max(self.labels.max(), self.test_labels.max())) + 1

    @property
    def digest(self) -> str:
        """Of all that campaigns on it depend on."""
        parts = (self.vectors, self.labels, self.test_vectors, self.test_labels, self.density, self.cluster)
        return hashlib.sha256(b"".join(np.ascontiguousarray(one).tobytes() for one in parts)).hexdigest()

    def __len__(self) -> int:
        return len(self.labels)


def prepare(
    name: str,
    vectors: Vectors,
    labels: Classes,
    test_vectors: Vectors,
    test_labels: Classes,
    dimension: int = DIMENSION,
) -> Corpus:
    """Make a corpus of an encoder's vectors.

    Args:
        name: of the corpus.
        vectors: (n, d) unit vectors of the documents.
        labels: (n,) their classes, from 0 on.
        test_vectors: (t, d) of the test documents; the reduction is not fitted to them.
        test_labels: (t,) their classes.
        dimension: components to keep, at most d and n.

    Raises:
        DiscoverError: arrays do not fit together, a vector is not finite, or a label is no class.
    """
    vectors, test_vectors = np.asarray(vectors), np.asarray(test_vectors)
    labels, test_labels = np.asarray(labels), np.asarray(test_labels)
    _check(name, "", vectors, labels, vectors.shape[-1] if vectors.ndim else 0)
    _check(name, "test_", test_vectors, test_labels, vectors.shape[-1])
    reduce = Reduction(vectors, dimension)
    return Corpus(
        name,
        reduce(vectors),
        labels.astype(np.int64),
        reduce(test_vectors),
        test_labels.astype(np.int64),
        density(vectors),
        clusters(vectors, CLUSTERS)[0],
    )


def _check(name: str, split: str, vectors: NDArray[Any], labels: NDArray[Any], d: int) -> None:
    """Refuse vectors that are not finite and (n, d), and labels that are not (n,) classes."""
    if vectors.ndim != 2 or labels.shape != (len(vectors),) or len(vectors) == 0 or vectors.shape[1] != d:
        raise DiscoverError(
            f"corpus {name!r}: {split}vectors must be (n, {d}) and {split}labels (n,), n at least 1, "
            f"found {vectors.shape} and {labels.shape}"
        )
    if vectors.dtype.kind not in "fiu" or not np.isfinite(vectors).all():
        raise DiscoverError(f"corpus {name!r}: {split}vectors must hold finite numbers: leave documents without out")
    if labels.dtype.kind not in "iu":
        raise DiscoverError(
            f"corpus {name!r}: {split}labels must be whole numbers that count from 0, found {str(labels[0])!r}: number "
            "the classes"
        )
    if labels.min() < 0:
        raise DiscoverError(f"corpus {name!r}: {split}labels must count from 0, found {labels.min()}")


class Reduction:
    """Principal components of (n, d) vectors, most variance first; call it on (k, d) to get (k, components + 1)."""

    def __init__(self, vectors: Vectors, dimension: int):
        self._mean = vectors.mean(axis=0, dtype=np.float64)
        centred = vectors - self._mean
        _, components = np.linalg.eigh(centred.T @ centred)  # ascending
        kept = components[:, ::-1][:, : min(dimension, len(vectors))]
        # The sign of a component is arbitrary: its largest weight is made positive.
        self._components = kept * np.sign(kept[np.abs(kept).argmax(axis=0), np.arange(kept.shape[1])])

    def __call__(self, vectors: Vectors) -> Vectors:
        """(k, components + 1) float32."""
        found = (vectors - self._mean) @ self._components
        return np.pad(found, ((0, 0), (0, 1)), constant_values=1).astype(np.float32)


def altered(corpus: Corpus, rng: np.random.Generator) -> Corpus:
    """The corpus as another task: classes left out, merged, or made rare; at least two are left.

    Many tasks of one corpus teach a policy what is common to tasks. Test documents change in the same way.
    """
    count = corpus.classes
    kept = rng.permutation(count)[: rng.integers(2, count + 1)]
    target = np.full(count, -1)
    target[kept] = rng.permutation(np.arange(len(kept)) % rng.integers(2, len(kept) + 1))
    labels, test_labels = target[corpus.labels], target[corpus.test_labels]
    # From even to very skewed: the rarest class keeps down to a fiftieth of its documents.
    share = 50 ** -(rng.random(len(kept)) * rng.random())
    rows = (labels >= 0) & (rng.random(len(labels)) < share[np.maximum(labels, 0)])
    tested = test_labels >= 0
    if len(np.unique(labels[rows])) < 2 or not tested.any():
        return corpus
    return replace(
        corpus,
        vectors=corpus.vectors[rows],
        labels=labels[rows],
        test_vectors=corpus.test_vectors[tested],
        test_labels=test_labels[tested],
        density=corpus.density[rows],
        cluster=corpus.cluster[rows],
    )


def synthetic(
    rng: np.random.Generator, n: int = 1200, tested: int = 300, classes: int = 4, dimension: int = 32
) -> Corpus:
    """A made-up task: skewed classes of several lumps each, some of them overlapping.

    Args:
        rng: of all its chance.
        n: documents to learn from.
        tested: documents to test on.
        classes: how many, c.
        dimension: of the vectors before the reduction.
    """
    lumps = rng.integers(1, 4, size=classes)
    owner = np.repeat(np.arange(classes), lumps)
    centres = rng.normal(size=(len(owner), dimension))
    shares = rng.dirichlet(np.full(classes, 2.0)) * 0.9 + 0.1 / classes
    labels = rng.choice(classes, size=n + tested, p=shares)
    lump = np.array([rng.choice(np.flatnonzero(owner == one)) for one in labels])
    scales = rng.uniform(1.2, 2.4, size=len(owner))
    vectors = centres[lump] + rng.normal(size=(n + tested, dimension)) * scales[lump, None]
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return prepare("synthetic", vectors[:n], labels[:n], vectors[n:], labels[n:], dimension)
