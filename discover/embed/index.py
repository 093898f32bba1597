"""The FAISS index over a vector store: exact while the pool is small, inverted lists (IVF) above that.

Whole blocks of 2,048 vectors go into the lists once the store is large, the rest is searched exactly. The centres of
the lists are learned from the first vectors when the store passes LISTS_FROM, and anew each time it is four times as
large; then, too, as many lists are looked through as it takes to find RECALL of the ten nearest, which is measured
against an exact search. All this happens at fixed sizes: what is found never depends on when the index was saved, lost
or rebuilt.

Jegou, Douze & Schmid, "Product quantization for nearest neighbor search", 2011, section IV. The vectors in the lists
are float16, as in the store. Navigable graphs (HNSW) took twelve times as long to grow and twice the memory
(runs/LOG.md).
What is removed stays in lists and block as a tombstone that every search passes over, since positions in the lists are
those in the store. When more than COMPACT_FROM of the store is such, `compact` writes it anew without them, and builds
the index again.
"""

import hashlib
import json
import logging
import shutil
import threading
import zlib
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import ArrayLike, NDArray

from discover.embed import gpu
from discover.embed.neighbours import ITERATIONS, nearest_in, one_thread
from discover.embed.vectors import VectorStore
from discover.progress import progress
from discover.run import publish

LISTS, MANIFEST = "lists.faiss", "manifest.json"
LISTS_FROM = 50_000
GROWTH = 4  # of the store, after which the centres are learned anew
BLOCK = 2048
CENTRES = 512  # at first; twice as many at each fourfold size
TRAINED_ON = 40  # vectors a centre
RECALL, AT, QUERIES = 0.97, 10, 100
COMPACT_FROM = 0.1  # share of the store that is removed: so much longer is a search, so rare is a rebuild
SAVE_FROM = 1.1  # times what is saved: the lists are written whole, and what is missing is soon added again
_log = logging.getLogger(__name__)


class Index:
    """Inner-product search over all vectors of a store; threads may search while one adds.

    Args:
        store: the vectors; the index is a cache of it.
        folder: where the lists are kept; the rest is read from the store.
        lists_from: store size, rounded up to blocks, from which whole blocks are searched through lists.

    Attributes:
        store: the vectors.
        recall: share of the ten nearest that the lists found when it was last measured; 1 while there are none.
    """

    def __init__(self, store: VectorStore, folder: Path | str, lists_from: int = LISTS_FROM):
        self.store = store
        self.folder = Path(folder) / "index"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._first_level = -(-lists_from // BLOCK) * BLOCK
        self._lock = threading.Lock()
        self._flat: Any = faiss.IndexIDMap2(faiss.IndexFlatIP(store.dimension))
        self._lists: Any = None
        self._on_gpu: Any = None  # a copy of the lists
        self._count, self._level, self._saved, self._mapped, self.recall = 0, 0, 0, False, 1.0
        self._tombstones: Any = None  # a FAISS selector of all that was not removed
        self._load()
        self._pass_over()
        self.update()

    def __len__(self) -> int:
        """Documents that can be found."""
        return self._count - (len(self.store) - self.store.alive)

    def search(self, vectors: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The ``k`` nearest documents of each query.

        Args:
            vectors: (q, d) unit vectors.
            k: how many; fewer come back when the index holds fewer.

        Returns:
            Scores and row ids, (q, k) each, the best first; where the lists found too few, the id is -1.
        """
        queries = np.ascontiguousarray(vectors, dtype=np.float32)
        with self._lock, one_thread():
            k = min(k, len(self))
            if k == 0 or not len(queries):
                return np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
            parts = [self._in(one, queries, k) for one in (self._lists, self._flat) if one and one.ntotal]
        scores = np.concatenate([found[0] for found in parts], axis=1)
        ids = np.concatenate([found[1] for found in parts], axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(scores, order, 1), np.take_along_axis(ids, order, 1)

    def _in(self, part: Any, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """A part's share of a search."""
        k = min(k, part.ntotal)
        settings: Any = None  # of these FAISS's type stubs know no argument
        if self._tombstones is not None and part is self._lists:
            settings = faiss.SearchParametersIVF(sel=self._tombstones, nprobe=part.nprobe)  # type: ignore[call-arg]
        elif self._tombstones is not None:
            settings = faiss.SearchParameters(sel=self._tombstones)  # type: ignore[call-arg]
        elif part is self._lists and self._on_gpu is not None and k <= gpu.MOST:  # a GPU knows no tombstones
            part = self._on_gpu
        scores, ids = part.search(queries, k, params=settings)
        return scores, ids

    def remove(self, ids: ArrayLike) -> int:
        """Never find these documents again; what the store has and the index lacks is added first.

        Durable: it holds for whoever opens store and index afterwards. A removed document is not meant to come back:
        until its row is gone the store refuses it.

        Args:
            ids: row ids; those that the store lacks, or has lost before, are passed over.

        Returns:
            How many could be found until now.

        Raises:
            DiscoverError: there is no room, or no right to write.
        """
        self.update()
        with self._lock:
            removed = self.store.remove(ids)
            self._pass_over()
        return removed

    def _pass_over(self) -> None:
        removed = self.store.removed
        self._tombstones = faiss.IDSelectorNot(faiss.IDSelectorBatch(np.array(removed))) if len(removed) else None

    def compact(self) -> None:
        """Let go of what was removed, if that is more than COMPACT_FROM of the store: its vectors are then gone.

        Store and lists are written anew, which takes as long as the first time. Where that fails it stays passed over.
        """
        if len(self.store) - self.store.alive <= COMPACT_FROM * len(self.store):
            return
        _log.info("%d of %d vectors are removed: the rest is written anew", len(self.store.removed), len(self.store))
        with self._lock:
            try:
                self.store.compact()
            except OSError as error:
                _log.warning("the vectors in %s could not be written anew: %s", self.store.folder, error)
                return
            shutil.rmtree(self.folder / "files", ignore_errors=True)
            again = Index(self.store, self.folder.parent, self._first_level)
            self._flat, self._lists, self._on_gpu, self._count = again._flat, again._lists, again._on_gpu, again._count
            self._level, self._saved, self._mapped = again._level, again._saved, again._mapped
            self.recall, self._tombstones = again.recall, again._tombstones

    def update(self) -> int:
        """Add what the store has and the index lacks; returns how many that were. What grew by a tenth is saved."""
        added = len(self.store) - self._count
        self._grow(len(self.store) // BLOCK * BLOCK)
        inside = self._lists.ntotal if self._lists else 0
        for start in range(inside + self._flat.ntotal, len(self.store), BLOCK):
            self._add(self._flat, start, min(start + BLOCK, len(self.store)))
        self._count = len(self.store)
        if inside > SAVE_FROM * self._saved:
            self._save()
        return added

    def _grow(self, until: int) -> None:
        """Bring the lists to this many vectors, if that is enough for them."""
        level = self._first_level
        while level * GROWTH <= until:
            level *= GROWTH
        lists, begin = self._lists, self._lists.ntotal if self._lists else 0
        if until < level or (level == self._level and until == begin):
            return
        if level != self._level:
            lists, begin = self._learned(level), 0
        else:
            self._on_gpu = None  # until it has what is added now
            lists = self._read(mapped=False) if self._mapped else lists  # what is mapped is read-only
        starts = range(begin, until, BLOCK)
        for start in progress(starts, len(starts), f"index {until - begin} vectors"):
            self._add(lists, start, start + BLOCK)
            if begin == 0 and start + BLOCK == level:
                self._measure(lists, level)
        with self._lock:
            self._lists, self._level, self._mapped = lists, level, False
            self._on_gpu = gpu.copied(lists)
            self._flat.reset()

    def _add(self, part: Any, start: int, stop: int) -> None:
        with self._lock, one_thread():
            part.add_with_ids(self.store.rows(start, stop), np.array(self.store.ids[start:stop]))
            if part is self._lists:
                self._flat.reset()  # what it held is in this block

    def _learned(self, level: int) -> Any:
        """Empty lists, their centres learned from the first vectors."""
        centres = CENTRES * round(np.sqrt(level / self._first_level))
        centres = min(centres, level // TRAINED_ON)
        lists = faiss.IndexIVFScalarQuantizer(
            faiss.IndexFlatIP(self.store.dimension),
            self.store.dimension,
            centres,
            faiss.ScalarQuantizer.QT_fp16,
            faiss.METRIC_INNER_PRODUCT,
        )
        lists.cp.niter, lists.cp.spherical = ITERATIONS, True
        step = max(1, level // (centres * TRAINED_ON))
        sample = np.concatenate(
            [self.store.rows(start, min(start + BLOCK, level))[::step] for start in range(0, level, BLOCK)]
        )
        _log.info("learning %d centres from %d vectors", centres, len(sample))
        with one_thread():
            lists.train(sample)
        return lists

    def _measure(self, lists: Any, level: int) -> None:
        """Look through so many lists that of the ten nearest RECALL are found."""
        queries = np.concatenate(
            [self.store.rows(at, at + 1) for at in np.linspace(0, level - 1, QUERIES).astype(int).tolist()]
        )
        with one_thread():
            exact = np.asarray(self.store.ids)[nearest_in(self.store, level, queries, AT)]
            lists.nprobe = 2
            while True:
                found = lists.search(queries, AT)[1]
                self.recall = float((found[:, :, None] == exact[:, None, :]).any(axis=1).mean())
                if self.recall >= RECALL or lists.nprobe >= lists.nlist:
                    break
                lists.nprobe = min(2 * lists.nprobe, lists.nlist)
        _log.info("%d of %d lists find %.3f of the ten nearest", lists.nprobe, lists.nlist, self.recall)

    def _save(self) -> None:
        """Publish the lists; where that fails, the next opening builds them again."""
        self._saved = self._lists.ntotal
        try:
            with publish(self.folder / "files") as scratch:
                scratch.mkdir()
                faiss.write_index(self._lists, str(scratch / LISTS))
                manifest = {
                    "count": self._lists.ntotal,
                    "level": self._level,
                    "recall": self.recall,
                    "ids": zlib.crc32(self.store.ids[: self._lists.ntotal].tobytes()),
                    "sha256": _checksum(scratch / LISTS),
                }
                (scratch / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
        except (OSError, RuntimeError) as error:
            _log.warning("the index in %s could not be saved: %s", self.folder, error)

    def _load(self) -> None:
        """Take the lists as they were saved, where that fits the store."""
        files = self.folder / "files"
        if not (files / MANIFEST).is_file():
            return
        try:
            manifest = json.loads((files / MANIFEST).read_text(encoding="utf-8"))
            count, level, recall = int(manifest["count"]), int(manifest["level"]), float(manifest["recall"])
            if _checksum(files / LISTS) != manifest["sha256"]:
                raise ValueError("damaged")
            if count > len(self.store) or manifest["ids"] != zlib.crc32(self.store.ids[:count].tobytes()):
                raise ValueError("stale")
            self._lists = self._read(mapped=True)
            self._level, self.recall, self._saved, self._mapped = level, recall, count, True
            self._on_gpu = gpu.copied(self._lists)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            _log.warning("the index in %s is built again: %s", self.folder, error)

    def _read(self, mapped: bool) -> Any:
        return faiss.read_index(str(self.folder / "files" / LISTS), faiss.IO_FLAG_MMAP if mapped else 0)


def _checksum(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
