"""Documents that a vector store lacks are encoded and stored."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from discover.embed.vectors import VectorStore, key_of
from discover.progress import progress

CHUNK = 2048


class Encodes(Protocol):
    """What gives vectors: `Encoder`, whose import would load torch."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors, (n, d)."""


def embed_new(
    encoder: Encodes,
    store: VectorStore,
    ids: NDArray[np.int64],
    public_ids: Sequence[str],
    texts: Callable[[Sequence[int]], list[str]],
) -> int:
    """Encode and store the documents that the store lacks, in the order of their public ids.

    Args:
        encoder: of the store's version.
        store: where the vectors go.
        ids: (n,) row ids.
        public_ids: aligned with ``ids``.
        texts: gives the texts of some row ids; asked for one chunk at a time, so memory does not grow with the pool.

    Returns:
        How many were added.
    """
    ids = np.asarray(ids, dtype=np.int64)
    missing = np.flatnonzero(store.positions(ids) < 0)
    missing = np.array(sorted(missing.tolist(), key=public_ids.__getitem__), dtype=np.int64)
    keys = np.array([key_of(public_ids[position]) for position in missing.tolist()], dtype=np.uint64)
    starts = range(0, len(missing), CHUNK)
    for start in progress(starts, len(starts), f"embed {len(missing)} documents"):
        chunk = ids[missing[start : start + CHUNK]]
        vectors = encoder.encode(texts([int(row) for row in chunk]))
        store.append(chunk, keys[start : start + CHUNK], vectors)
    return len(missing)
