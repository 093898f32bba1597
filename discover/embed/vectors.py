"""The vector store: an append-only, memory-mapped file of vectors for each encoder version, with row ids and keys.

Three plain arrays lie side by side (vectors, ids, keys) and a manifest says how many rows of them count. Rows are
written and synced first, the manifest is published last; so what a killed process left is cut off at the next opening.
The store is a cache: damage empties it, and `embed_new` fills it again. Left out: deletion and concurrent writers.
"""

import json
import logging
import os
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from discover.errors import DiscoverError
from discover.progress import progress
from discover.run import crashpoint, publish

CHUNK = 2048
_log = logging.getLogger(__name__)


class Encodes(Protocol):
    """What gives vectors: `Encoder`, whose import would load torch."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors, (n, d)."""


class VectorStore:
    """Vectors of one encoder version.

    Args:
        folder: where all versions live; this one gets a folder of its version's name.
        version: of the encoder.
        dimension: d.
        dtype: ``float16`` or ``float32`` on disk; what comes out is float32.

    Attributes:
        folder: of this version.
        version: of the encoder.
    """

    def __init__(self, folder: Path | str, version: str, dimension: int, dtype: str = "float16"):
        self.version = version
        self.dimension = dimension
        self.folder = Path(folder) / version
        self.folder.mkdir(parents=True, exist_ok=True)
        self._manifest = self.folder / "manifest.json"
        self._columns = {"vectors": np.dtype((dtype, (dimension,))), "ids": np.dtype("<i8"), "keys": np.dtype("<u8")}
        self._count = 0
        self._checksums = dict.fromkeys(self._columns, 0)
        self._maps: dict[str, NDArray[Any]] = {}
        self._order = np.empty(0, np.int64)
        self._open()

    def __len__(self) -> int:
        return self._count

    @property
    def ids(self) -> NDArray[np.int64]:
        """Row ids, (n,), in the order of addition; memory-mapped, read-only."""
        return self._map("ids")

    @property
    def keys(self) -> NDArray[np.uint64]:
        """The first 64 bits of the public ids, (n,), in the order of addition; memory-mapped, read-only."""
        return self._map("keys")

    def vectors(self, ids: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
        """Vectors of these documents, (k, d) float32, in the order asked for.

        Raises:
            KeyError: one of them is not in the store.
        """
        wanted = np.asarray(ids, dtype=np.int64)
        positions = self.positions(wanted)
        if (positions < 0).any():
            lost = wanted[positions < 0]
            raise KeyError(f"{len(lost)} documents have no vector of version {self.version}, like row id {lost[0]}")
        return self._map("vectors")[positions].astype(np.float32)

    def positions(self, ids: ArrayLike) -> NDArray[np.int64]:
        """Where documents are in the order of addition, (k,), in the order asked for; -1 for those not in the store."""
        wanted = np.asarray(ids, dtype=np.int64)
        if not self._count:
            return np.full(len(wanted), -1)
        self._sort()
        at = np.searchsorted(self.ids, wanted, sorter=self._order)
        found = self._order[np.minimum(at, self._count - 1)]
        return np.where(self.ids[found] == wanted, found, -1)

    def _sort(self) -> None:
        """Bring the order of ids up to date; newer ones are mostly greater, so that only they need sorting."""
        known = len(self._order)
        if known < self._count:
            added = known + np.argsort(self.ids[known:], kind="stable")
            if known and self.ids[added[0]] < self.ids[self._order[-1]]:
                self._order = np.argsort(self.ids, kind="stable")
            else:
                self._order = np.concatenate([self._order, added])

    def rows(self, start: int, stop: int) -> NDArray[np.float32]:
        """Vectors by position in the order of addition, (stop - start, d) float32."""
        return self._map("vectors")[start:stop].astype(np.float32)

    def append(self, ids: ArrayLike, keys: ArrayLike, vectors: ArrayLike) -> None:
        """Add rows durably: after a crash all of them are there, or none.

        Args:
            ids: (k,) row ids, none of them in the store yet.
            keys: (k,) first 64 bits of the public ids.
            vectors: (k, d).

        Raises:
            DiscoverError: there is no room, or no right to write.
        """
        given = {"vectors": vectors, "ids": ids, "keys": keys}
        arrays = {name: np.ascontiguousarray(value, self._columns[name].base) for name, value in given.items()}
        added = len(arrays["ids"])
        if arrays["vectors"].shape != (added, self.dimension) or arrays["keys"].shape != (added,):
            raise ValueError(f"{added} ids need as many keys and vectors of {self.dimension}")
        if len(np.unique(arrays["ids"])) != added or (self.positions(arrays["ids"]) >= 0).any():
            raise ValueError("a document is in the store once: drop the ids that it has")
        try:
            self._write(arrays)
        except OSError as error:
            raise DiscoverError(
                f"{added} vectors must be stored in {self.folder}, but {error.strerror or error}: make room there, "
                "then give the same command again"
            ) from error

    def _write(self, arrays: dict[str, NDArray[Any]]) -> None:
        checksums = {}
        for name, array in arrays.items():
            content = array.tobytes()
            with self._file(name).open("r+b") as handle:
                handle.seek(self._count * self._columns[name].itemsize)
                handle.write(content[: len(content) // 2])
                handle.flush()
                crashpoint(f"append:{name}")
                handle.write(content[len(content) // 2 :])
                handle.flush()
                os.fsync(handle.fileno())
            checksums[name] = zlib.crc32(content, self._checksums[name])
        crashpoint("append:written")
        self._write_manifest(self._count + len(arrays["ids"]), checksums)
        crashpoint("append:published")

    def _open(self) -> None:
        for name in self._columns:
            self._file(name).touch()
        try:
            manifest = json.loads(self._manifest.read_text(encoding="utf-8"))
            self._count, self._checksums = manifest["count"], manifest["checksums"]
            fits = manifest["columns"] == self._described() and all(map(self._intact, self._columns))
        except FileNotFoundError:
            fits = False
        except (ValueError, KeyError, TypeError):
            fits = False
            _log.warning("the vector store's manifest in %s is damaged", self.folder)
        if not fits:
            if self._manifest.exists():
                _log.warning("the vectors in %s are damaged: they are computed again", self.folder)
            self._write_manifest(0, dict.fromkeys(self._columns, 0))
        for name, kind in self._columns.items():
            os.truncate(self._file(name), self._count * kind.itemsize)

    def _intact(self, name: str) -> bool:
        size = self._count * self._columns[name].itemsize
        checksum = 0
        with self._file(name).open("rb") as handle:
            while size > 0 and (block := handle.read(min(size, 1 << 24))):
                checksum = zlib.crc32(block, checksum)
                size -= len(block)
        return size == 0 and checksum == self._checksums[name]

    def _write_manifest(self, count: int, checksums: dict[str, int]) -> None:
        content = {"count": count, "checksums": checksums, "columns": self._described()}
        with publish(self._manifest) as scratch:
            scratch.write_text(json.dumps(content), encoding="utf-8")
        self._count, self._checksums = count, checksums
        self._maps.clear()

    def _described(self) -> dict[str, list[Any]]:
        return {name: [kind.base.str, *kind.shape] for name, kind in self._columns.items()}

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.bin"

    def _map(self, name: str) -> NDArray[Any]:
        kind = self._columns[name]
        if not self._count:
            return np.empty((0, *kind.shape), kind.base)
        if name not in self._maps:
            shape = (self._count, *kind.shape)
            self._maps[name] = np.memmap(self._file(name), dtype=kind.base, mode="r", shape=shape)
        return self._maps[name]


def key_of(public_id: str) -> int:
    """The first 64 bits of a public id: what draws and ties are ordered by."""
    return int(public_id[:16], 16)


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
