"""The vector store: an append-only, memory-mapped file of vectors for each encoder version, with row ids and keys.

Three plain arrays lie side by side (vectors, ids, keys) and a manifest says how many rows of them count. Rows are
written and synced first, the manifest is published last; so what a killed process left is passed over by whoever reads,
and cut off before the next write. Opening and reading change no file: `discover search` reads beside a writing loop.
A fourth array names the rows that were removed: they stay in their places until `compact` writes all files anew, under
names of their own, which the manifest then points to.
The store is a cache: damage empties it, and `discover.embed.embedding` fills it again. Left out: concurrent writers;
who has opened it sees nothing of what another process writes.
"""

import json
import logging
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from discover.errors import DiscoverError
from discover.run import crashpoint, publish

CHUNK = 2048  # rows that are copied at once
REMOVED = "removed"  # the one column that has no entry for each row
_log = logging.getLogger(__name__)


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

    _generation: int  # how often it was compacted
    _cleared: bool  # of what a killed process left
    _maps: dict[str, NDArray[Any]]
    _order: NDArray[np.int64]  # of rising ids
    _rising: bool  # whether that is the order of addition, which is searched in a quarter of the time

    def __init__(self, folder: Path | str, version: str, dimension: int, dtype: str = "float16"):
        self.version = version
        self.dimension = dimension
        self.folder = Path(folder) / version
        self._manifest = self.folder / "manifest.json"
        self._rows = {"vectors": np.dtype((dtype, (dimension,))), "ids": np.dtype("<i8"), "keys": np.dtype("<u8")}
        self._columns = {**self._rows, REMOVED: np.dtype("<i8")}
        self._forget()
        self._open()

    def __len__(self) -> int:
        """Rows, those of removed documents included."""
        return self._lengths["ids"]

    @property
    def alive(self) -> int:
        """Documents that have not been removed."""
        return len(self) - self._lengths[REMOVED]

    @property
    def removed(self) -> NDArray[np.int64]:
        """Row ids, (r,), of the removed documents whose rows are still there."""
        return self._map(REMOVED)

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
        if not len(self):
            return np.full(len(wanted), -1)
        self._sort()
        # In their order, so that each search begins near where the one before ended: in half the time.
        by_id = np.argsort(wanted, kind="stable")
        at = np.empty(len(wanted), np.int64)
        at[by_id] = np.searchsorted(self.ids, wanted[by_id], sorter=None if self._rising else self._order)
        at = np.minimum(at, len(self) - 1)
        found = at if self._rising else self._order[at]
        return np.where(self.ids[found] == wanted, found, -1)

    def _sort(self) -> None:
        """Bring the order of ids up to date; newer ones are mostly greater, so that only they need sorting."""
        known = len(self._order)
        if known < len(self):
            added = known + np.argsort(self.ids[known:], kind="stable")
            if known and self.ids[added[0]] < self.ids[self._order[-1]]:
                self._order = np.argsort(self.ids, kind="stable")
            else:
                self._order = np.concatenate([self._order, added])
            self._rising = bool((self._order[1:] > self._order[:-1]).all())

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
        self._write(arrays, f"{added} vectors")

    def check(self, after: int, known: Mapping[int, str]) -> None:
        """Empty the store where it has documents that the database does not: an older copy of that was put back.

        Args:
            after: row ids up to this one are as they were.
            known: public ids of the documents above it.
        """
        above = self.ids > after
        for row, key in zip(self.ids[above].tolist(), self.keys[above].tolist(), strict=True):
            if row not in known or key_of(known[row]) != key:
                _log.warning("the vectors in %s are of other documents: they are computed again", self.folder)
                return self._forget()

    def remove(self, ids: ArrayLike) -> int:
        """Note durably that documents were removed; those that the store lacks, or has lost before, are passed over.

        Returns:
            How many were there until now.

        Raises:
            DiscoverError: there is no room, or no right to write.
        """
        known = np.setdiff1d(np.asarray(ids, np.int64), self.removed)
        found = known[self.positions(known) >= 0]
        if len(found):
            self._write({REMOVED: found}, f"the removal of {len(found)} documents")
        return len(found)

    def compact(self) -> None:
        """Write all rows anew but those of removed documents, in their order; only then are these vectors gone.

        It needs room for a second copy, and ends as if it had not begun where it is killed, or fails.

        Raises:
            OSError: there is no room, or no right to write.
        """
        self._clear()
        stays, generation = ~np.isin(self.ids, self.removed), self._generation + 1
        checksums = dict.fromkeys(self._columns, 0)
        for name in self._columns:
            with self._file(name, generation).open("wb") as handle:
                for start in range(0, len(self) if name != REMOVED else 0, CHUNK):
                    content = self._map(name)[start : start + CHUNK][stays[start : start + CHUNK]].tobytes()
                    checksums[name] = zlib.crc32(content, checksums[name])
                    handle.write(content)
                handle.flush()
                os.fsync(handle.fileno())
        crashpoint("compact:written")
        lengths = dict.fromkeys(self._rows, int(stays.sum())) | {REMOVED: 0}
        self._write_manifest(lengths, checksums, generation)
        self._order = np.empty(0, np.int64)
        crashpoint("compact:published")
        self._drop_others()

    def _write(self, arrays: dict[str, NDArray[Any]], what: str) -> None:
        try:
            self._clear()
            self._append(arrays)
        except OSError as error:
            raise DiscoverError(
                f"{what} must be stored in {self.folder}, but {error.strerror or error}: make room there, "
                "then give the same command again"
            ) from error

    def _append(self, arrays: dict[str, NDArray[Any]]) -> None:
        checksums, lengths = {}, {}
        for name, array in arrays.items():
            content = array.tobytes()
            with self._file(name).open("r+b") as handle:
                handle.seek(self._lengths[name] * self._columns[name].itemsize)
                handle.write(content[: len(content) // 2])
                handle.flush()
                crashpoint(f"append:{name}")
                handle.write(content[len(content) // 2 :])
                handle.flush()
                os.fsync(handle.fileno())
            checksums[name] = zlib.crc32(content, self._checksums[name])
            lengths[name] = self._lengths[name] + len(array)
        crashpoint("append:written")
        self._write_manifest(self._lengths | lengths, self._checksums | checksums, self._generation)
        crashpoint("append:published")

    def _open(self) -> None:
        """Take what the manifest says, where the files have it; else the store is empty until the first write."""
        manifest = ""
        while (found := self._published()) != manifest:  # a compaction may put other files in their place meanwhile
            manifest = found
            try:
                if self._taken(json.loads(manifest)):
                    return
            except (ValueError, KeyError, TypeError, AttributeError):
                _log.warning("the vector store's manifest in %s is damaged", self.folder)
                break
            except FileNotFoundError:
                pass
        if manifest:
            _log.warning("the vectors in %s are damaged: they are computed again", self.folder)
        self._forget()

    def _forget(self) -> None:
        self._lengths = dict.fromkeys(self._columns, 0)
        self._checksums = dict.fromkeys(self._columns, 0)
        self._generation, self._cleared, self._maps = 0, False, {}
        self._order, self._rising = np.empty(0, np.int64), True

    def _published(self) -> str:
        """The manifest as it now is; empty where nothing was ever written."""
        try:
            return self._manifest.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""

    def _taken(self, manifest: dict[str, Any]) -> bool:
        """Whether the files hold what the manifest says."""
        # An older version's says nothing of removal.
        self._generation = int(manifest.get("generation", 0))
        self._lengths = dict.fromkeys(self._rows, manifest["count"]) | {REMOVED: manifest.get(REMOVED, 0)}
        self._checksums = {REMOVED: 0} | manifest["checksums"]
        self._maps.clear()
        if manifest["columns"] != self._described() or not all(map(self._intact, self._columns)):
            return False
        for name in self._columns:
            self._map(name)  # now, so that a reader keeps the rows of files that a compaction removes later
        return True

    def _clear(self) -> None:
        """Before the first write, cut off and remove what a killed process left."""
        if self._cleared:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write_manifest(self._lengths, self._checksums, self._generation)  # of a damaged store: it is empty
        for name, kind in self._columns.items():
            self._file(name).touch()
            os.truncate(self._file(name), self._lengths[name] * kind.itemsize)
        self._drop_others()
        self._cleared = True

    def _drop_others(self) -> None:
        """Remove the files of another generation: from before a compaction, or of one that was killed."""
        kept = {self._file(name) for name in self._columns}
        for file in self.folder.glob("*.bin"):
            if file not in kept:
                file.unlink()

    def _intact(self, name: str) -> bool:
        size = self._lengths[name] * self._columns[name].itemsize
        checksum = 0
        if not size:
            return self._checksums[name] == 0
        with self._file(name).open("rb") as handle:
            while size > 0 and (block := handle.read(min(size, 1 << 24))):
                checksum = zlib.crc32(block, checksum)
                size -= len(block)
        return size == 0 and checksum == self._checksums[name]

    def _write_manifest(self, lengths: dict[str, int], checksums: dict[str, int], generation: int) -> None:
        content = {
            "count": lengths["ids"],
            REMOVED: lengths[REMOVED],
            "generation": generation,
            "checksums": checksums,
            "columns": self._described(),
        }
        with publish(self._manifest) as scratch:
            scratch.write_text(json.dumps(content), encoding="utf-8")
        self._lengths, self._checksums, self._generation = lengths, checksums, generation
        self._maps.clear()

    def _described(self) -> dict[str, list[Any]]:
        return {name: [kind.base.str, *kind.shape] for name, kind in self._rows.items()}

    def _file(self, name: str, generation: int | None = None) -> Path:
        number = self._generation if generation is None else generation
        return self.folder / (f"{name}.{number}.bin" if number else f"{name}.bin")

    def _map(self, name: str) -> NDArray[Any]:
        kind, length = self._columns[name], self._lengths[name]
        if not length:
            return np.empty((0, *kind.shape), kind.base)
        if name not in self._maps:
            shape = (length, *kind.shape)
            self._maps[name] = np.memmap(self._file(name), dtype=kind.base, mode="r", shape=shape)
        return self._maps[name]


def key_of(public_id: str) -> int:
    """The first 64 bits of a public id: what draws and ties are ordered by."""
    return int(public_id[:16], 16)
