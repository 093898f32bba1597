"""The FAISS index over a vector store: exact while the pool is small, a navigable graph (HNSW) above that.

Whole blocks of 2,048 vectors go into the graph once the store is large, the rest is searched exactly. A node's level
comes from its position and a block is inserted by one thread, so a graph that grew is the same as one built at once:
what is found never depends on when the index was saved, lost or rebuilt.

Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using hierarchical navigable small world
graphs", 2016, https://arxiv.org/abs/1603.09320. Left out: deletion, filtering inside the search.
"""

import hashlib
import json
import logging
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

GRAPH, MANIFEST = "graph.faiss", "manifest.json"
GRAPH_FROM = 50_000
BLOCK = 2048
LINKS = 32
BUILD_BREADTH = 80
SEARCH_BREADTH = 128
SAVE_FROM = 1.1  # times what is saved: a graph is written whole, and what is missing is soon built again
_log = logging.getLogger(__name__)


class Index:
    """Inner-product search over all vectors of a store.

    Args:
        store: the vectors; the index is a cache of it.
        folder: where the graph is kept; the rest is read from the store.
        graph_from: store size from which whole blocks are searched through a graph.

    Attributes:
        store: the vectors.
    """

    def __init__(self, store: VectorStore, folder: Path | str, graph_from: int = GRAPH_FROM):
        self.store = store
        self.folder = Path(folder) / "index"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._graph_from = graph_from
        self._flat: Any = None
        self._count = 0
        self._graph = self._load()
        self._mapped = self._graph is not None
        self._saved = self._graph.ntotal if self._mapped else 0
        self.update()

    def __len__(self) -> int:
        return self._count

    def search(self, vectors: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The ``k`` nearest documents of each query.

        Args:
            vectors: (q, d) unit vectors.
            k: how many; fewer come back when the index holds fewer.

        Returns:
            Scores and row ids, (q, k) each, the best first; where the graph found too few, the id is -1.
        """
        queries = np.ascontiguousarray(vectors, dtype=np.float32)
        k = min(k, self._count)
        if k == 0 or not len(queries):
            return np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
        with _one_thread():
            parts = [part.search(queries, min(k, part.ntotal)) for part in (self._graph, self._flat) if part.ntotal]
        scores = np.concatenate([found[0] for found in parts], axis=1)
        ids = np.concatenate([found[1] for found in parts], axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(scores, order, 1), np.take_along_axis(ids, order, 1)

    def update(self) -> int:
        """Add what the store has and the index lacks; returns how many that were. What grew by a tenth is saved."""
        total = len(self.store)
        added = total - self._count
        if not added and self._flat is not None:
            return 0
        inside = total // BLOCK * BLOCK if total >= self._graph_from else 0
        if self._graph is None:
            self._graph = _new_graph(self.store.dimension)
        grows = inside > self._graph.ntotal
        with _one_thread():
            if grows:
                self._grow_graph(inside)
            if grows or self._flat is None:
                self._flat = faiss.IndexIDMap2(faiss.IndexFlatIP(self.store.dimension))
            for start in range(self._graph.ntotal + self._flat.ntotal, total, BLOCK):
                stop = min(start + BLOCK, total)
                self._flat.add_with_ids(self.store.rows(start, stop), np.array(self.store.ids[start:stop]))
        self._count = total
        if self._graph.ntotal > SAVE_FROM * self._saved:
            self._save()
        return added

    def _save(self) -> None:
        """Publish the graph; where that fails, the next opening builds it again."""
        self._saved = self._graph.ntotal
        try:
            with publish(self.folder / "files") as scratch:
                scratch.mkdir()
                faiss.write_index(self._graph, str(scratch / GRAPH))
                manifest = {
                    "count": self._graph.ntotal,
                    "ids": zlib.crc32(self.store.ids[: self._graph.ntotal].tobytes()),
                    "sha256": _checksum(scratch / GRAPH),
                }
                (scratch / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
        except (OSError, RuntimeError) as error:
            _log.warning("the index in %s could not be saved: %s", self.folder, error)

    def _grow_graph(self, until: int) -> None:
        if self._mapped:  # a mapped graph is read-only
            self._graph, self._mapped = self._read(mapped=False), False
        starts = range(self._graph.ntotal, until, BLOCK)
        for start in progress(starts, len(starts), f"index {until - self._graph.ntotal} vectors"):
            stop = start + BLOCK
            graph: Any = faiss.downcast_index(self._graph.index)
            levels = np.concatenate([faiss.vector_to_array(graph.hnsw.levels), _levels(start, stop)])
            faiss.copy_array_to_vector(levels.astype(np.int32), graph.hnsw.levels)
            self._graph.add_with_ids(self.store.rows(start, stop), np.array(self.store.ids[start:stop]))

    def _load(self) -> Any:
        """The graph as it was saved, None where there is none that fits the store."""
        files = self.folder / "files"
        if not (files / MANIFEST).is_file():
            return None
        try:
            manifest = json.loads((files / MANIFEST).read_text(encoding="utf-8"))
            count = int(manifest["count"])
            if _checksum(files / GRAPH) != manifest["sha256"]:
                raise ValueError("damaged")
            if count > len(self.store) or manifest["ids"] != zlib.crc32(self.store.ids[:count].tobytes()):
                raise ValueError("stale")
            return self._read(mapped=True)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            _log.warning("the index in %s is built again: %s", self.folder, error)
            return None

    def _read(self, mapped: bool) -> Any:
        path = str(self.folder / "files" / GRAPH)
        if mapped and hasattr(faiss, "IO_FLAG_MMAP_IFC"):
            return faiss.read_index(path, faiss.IO_FLAG_MMAP_IFC)
        return faiss.read_index(path)


def nearest(vectors: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The k nearest of each of a few thousand vectors (n, d), itself included: scores and positions, (n, k) each."""
    flat = faiss.IndexFlatIP(vectors.shape[1])
    with _one_thread():
        flat.add(vectors)
        return flat.search(vectors, k)


def _new_graph(dimension: int) -> Any:
    graph = faiss.IndexHNSWFlat(dimension, LINKS, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = BUILD_BREADTH
    graph.hnsw.efSearch = SEARCH_BREADTH
    return faiss.IndexIDMap2(graph)


def _levels(start: int, stop: int) -> NDArray[np.int32]:
    """Levels of the nodes at these positions, as FAISS counts them (1 is the ground), from the position alone."""
    draws = [int.from_bytes(hashlib.blake2b(b"%d" % at, digest_size=8).digest(), "big") for at in range(start, stop)]
    uniform = (np.array(draws, dtype=np.float64) + 1) / 2.0**64
    return (1 + np.floor(-np.log(uniform) / np.log(LINKS))).astype(np.int32)


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
