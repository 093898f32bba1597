"""The FAISS index over a vector store: exact while the pool is small, inverted lists (IVF) above that.

Whole blocks of 2,048 vectors go into the lists once the store is large, the rest is searched exactly. The centres of
the lists are learned from the first vectors when the store passes LISTS_FROM, and anew each time it is four times as
large; then, too, as many lists are looked through as it takes to find RECALL of the ten nearest, which is measured
against an exact search. All this happens at fixed sizes: what is found never depends on when the index was saved, lost
or rebuilt.

Jegou, Douze & Schmid, "Product quantization for nearest neighbor search", 2011, section IV. The vectors in the lists
are float16, as in the store. Navigable graphs (HNSW) took twelve times as long to grow and twice the memory
(runs/LOG.md).
Left out: deletion, filtering inside the search.
"""

import hashlib
import json
import logging
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from discover.embed.vectors import VectorStore
from discover.progress import progress
from discover.run import publish

LISTS, MANIFEST = "lists.faiss", "manifest.json"
LISTS_FROM = 50_000
GROWTH = 4  # of the store, after which the centres are learned anew
BLOCK = 2048
CENTRES = 512  # at first; twice as many at each fourfold size
TRAINED_ON, ITERATIONS = 40, 8  # vectors a centre
RECALL, AT, QUERIES = 0.97, 10, 100
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
        self._count, self._level, self._saved, self._mapped, self.recall = 0, 0, 0, False, 1.0
        self._load()
        self.update()

    def __len__(self) -> int:
        return self._count

    def search(self, vectors: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The ``k`` nearest documents of each query.

        Args:
            vectors: (q, d) unit vectors.
            k: how many; fewer come back when the index holds fewer.

        Returns:
            Scores and row ids, (q, k) each, the best first; where the lists found too few, the id is -1.
        """
        queries = np.ascontiguousarray(vectors, dtype=np.float32)
        with self._lock, _one_thread():
            k = min(k, self._count)
            if k == 0 or not len(queries):
                return np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
            parts = [one.search(queries, min(k, one.ntotal)) for one in (self._lists, self._flat) if one and one.ntotal]
        scores = np.concatenate([found[0] for found in parts], axis=1)
        ids = np.concatenate([found[1] for found in parts], axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(scores, order, 1), np.take_along_axis(ids, order, 1)

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
        elif self._mapped:  # what is mapped is read-only
            lists = self._read(mapped=False)
        starts = range(begin, until, BLOCK)
        for start in progress(starts, len(starts), f"index {until - begin} vectors"):
            self._add(lists, start, start + BLOCK)
            if begin == 0 and start + BLOCK == level:
                self._measure(lists, level)
        with self._lock:
            self._lists, self._level, self._mapped = lists, level, False
            self._flat.reset()

    def _add(self, part: Any, start: int, stop: int) -> None:
        with self._lock, _one_thread():
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
        with _one_thread():
            lists.train(sample)
        return lists

    def _measure(self, lists: Any, level: int) -> None:
        """Look through so many lists that of the ten nearest RECALL are found."""
        queries = np.concatenate(
            [self.store.rows(at, at + 1) for at in np.linspace(0, level - 1, QUERIES).astype(int).tolist()]
        )
        with _one_thread():
            exact = np.asarray(self.store.ids)[_exact(self.store, level, queries)]
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
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            _log.warning("the index in %s is built again: %s", self.folder, error)

    def _read(self, mapped: bool) -> Any:
        return faiss.read_index(str(self.folder / "files" / LISTS), faiss.IO_FLAG_MMAP if mapped else 0)


def _exact(store: VectorStore, until: int, queries: NDArray[np.float32]) -> NDArray[np.int64]:
    """(q, AT) positions of the nearest among the first vectors, without holding them."""
    scores, positions = np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
    for start in range(0, until, BLOCK):
        found = queries @ store.rows(start, min(start + BLOCK, until)).T
        scores = np.concatenate([scores, found], axis=1)
        here = np.broadcast_to(np.arange(start, start + found.shape[1]), found.shape)
        positions = np.concatenate([positions, here], axis=1)
        best = np.argpartition(-scores, AT - 1, axis=1)[:, :AT]
        scores, positions = np.take_along_axis(scores, best, 1), np.take_along_axis(positions, best, 1)
    return positions


def nearest(vectors: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The k nearest of each of a few thousand vectors (n, d), itself included: scores and positions, (n, k) each."""
    flat = faiss.IndexFlatIP(vectors.shape[1])
    with _one_thread():
        flat.add(vectors)
        return flat.search(vectors, k)


def clusters(vectors: NDArray[np.float32], count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Spherical k-means over unit vectors (n, d): the cluster of each, (n,), and the centres, (count, d)."""
    found = faiss.Kmeans(
        vectors.shape[1],
        count,
        niter=ITERATIONS,
        spherical=True,
        min_points_per_centroid=1,
        max_points_per_centroid=len(vectors),
    )
    with _one_thread():
        found.train(vectors)
        return found.index.search(vectors, 1)[1][:, 0], np.asarray(found.centroids)


def _checksum(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@contextmanager
def _one_thread() -> Iterator[None]:
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
