import json
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from discover.embed import index as module
from discover.embed.config import EncoderConfig
from discover.embed.encoder import Encoder
from discover.embed.index import Index
from discover.embed.retriever import Retriever
from discover.embed.vectors import VectorStore
from tests.conftest import room_for
from tests.test_encoder import some_texts


def filled(folder, n: int, version: str = "v1", seed: int = 0) -> VectorStore:
    store = VectorStore(folder, version, 32)
    extend(store, n, seed)
    return store


def extend(store: VectorStore, n: int, seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(n, 32))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = np.random.default_rng(seed).permutation(n) * 3 + (store.ids.max() + 1 if len(store) else 5)
    store.append(ids, np.arange(n), vectors)


def truth(store: VectorStore, queries, k: int):
    return store.ids[np.argsort(-(queries @ store.rows(0, len(store)).T), axis=1, kind="stable")[:, :k]]


def test_exact_below_the_threshold(tmp_path):
    store = filled(tmp_path, 500)
    queries = store.rows(0, 20)
    scores, ids = Index(store, tmp_path).search(queries, 5)
    assert np.array_equal(ids, truth(store, queries, 5)) and np.all(np.diff(scores) <= 0)
    assert Index(store, tmp_path).search(queries, 9999)[1].shape == (20, 500)
    empty = Index(VectorStore(tmp_path, "empty", 32), tmp_path)
    assert empty.search(queries, 5)[1].shape == (20, 0)


def test_who_reads_vectors_only_leaves_the_index_alone(tmp_path):
    filled(tmp_path, 10)
    retriever = Retriever(SimpleNamespace(version="v1", dimension=32), tmp_path)
    assert len(retriever.store) == 10 and not (retriever.store.folder / "index").exists()
    assert len(retriever.index) == 10


@pytest.mark.parametrize("lists_from", [10_000, 1000])
def test_what_grew_finds_what_a_rebuilt_one_finds(tmp_path, lists_from):
    store = filled(tmp_path, 3000)
    grown = Index(store, tmp_path / "a", lists_from)
    extend(store, 2500, seed=1)
    reopened = Index(store, tmp_path / "a", lists_from)
    assert grown.update() == 2500 and grown.update() == 0 and len(grown) == len(reopened) == 5500
    extend(store, 4000, seed=2)  # past a size at which the centres are learned anew
    assert grown.update() == reopened.update() == 4000
    queries = store.rows(100, 160)
    found = [index.search(queries, 10) for index in (grown, reopened, Index(store, tmp_path / "b", lists_from))]
    found.append(Index(store, tmp_path / "a", lists_from).search(queries, 10))
    for scores, ids in found[1:]:
        assert np.array_equal(ids, found[0][1]) and np.array_equal(scores, found[0][0])
    assert (found[0][1][:, :5, None] == truth(store, queries, 5)[:, None, :]).any(1).mean() > 0.9


@pytest.mark.parametrize("damage", ["missing", "flip", "manifest", "stale"])
def test_a_useless_index_is_built_again(tmp_path, damage, caplog):
    store = filled(tmp_path, 3000)
    index = Index(store, tmp_path, lists_from=1000)
    file, manifest = index.folder / "files" / "lists.faiss", index.folder / "files" / "manifest.json"
    if damage == "missing":
        file.unlink()
    elif damage == "manifest":
        manifest.write_text("[]")
    elif damage == "flip":
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    else:  # the store was emptied and filled in another order
        (store.folder / "manifest.json").unlink()
        store = filled(tmp_path, 3100, seed=7)
    again = Index(store, tmp_path, lists_from=1000)
    assert "built again" in caplog.text
    queries = store.rows(0, 20)
    assert (again.search(queries, 5)[1] == truth(store, queries, 5)).mean() > 0.9
    caplog.clear()
    assert len(Index(store, tmp_path, lists_from=1000)) == len(store) and not caplog.text


def test_lists_are_learned_once_and_saved_when_they_grew(tmp_path, monkeypatch):
    store = filled(tmp_path, 3000)
    index = Index(store, tmp_path, lists_from=1000)
    manifest = index.folder / "files" / "manifest.json"
    before = manifest.stat().st_mtime_ns
    queries = store.rows(0, 20)
    with monkeypatch.context() as patch:
        patch.setattr(Index, "_learned", lambda *_: pytest.fail("built again"))
        reopened = Index(store, tmp_path, lists_from=1000)
        assert np.array_equal(reopened.search(queries, 5)[1], index.search(queries, 5)[1])
        extend(store, 1000, seed=1)  # not a whole block yet
        assert reopened.update() == 1000
    assert manifest.stat().st_mtime_ns == before
    extend(store, 100, seed=2)
    assert reopened.update() == 100
    assert json.loads(manifest.read_text())["count"] == 2 * module.BLOCK


def test_a_search_while_another_thread_adds_finds_each_document_once(tmp_path):
    store = filled(tmp_path, 3000)
    index, queries = Index(store, tmp_path, lists_from=1000), store.rows(0, 20)
    first, ended = store.ids[:20].copy(), threading.Event()
    found = []

    def search() -> None:
        while not ended.is_set():
            found.append(index.search(queries, 10)[1])

    searching = threading.Thread(target=search)
    searching.start()
    for seed in range(1, 7):
        extend(store, 2500, seed)
        index.update()
    ended.set()
    searching.join()
    assert len(found) > 6 and all((ids[:, 0] == first).all() for ids in found)
    assert all(len(np.unique(row)) == 10 for ids in found for row in ids)


def test_what_is_searched_exactly_is_not_saved(tmp_path):
    assert not (Index(filled(tmp_path, 300), tmp_path).folder / "files").exists()


def test_without_room_for_the_lists_they_are_not_saved(tmp_path, caplog):
    store = filled(tmp_path, 3000)
    with room_for(100_000):
        index = Index(store, tmp_path, lists_from=1000)
    assert "could not be saved" in caplog.text and index.search(store.rows(0, 1), 1)[1][0, 0] == store.ids[0]
    caplog.clear()
    assert len(Index(store, tmp_path, lists_from=1000)) == 3000 and not caplog.text


def test_recall_on_real_vectors(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 512)
    encoder = Encoder(EncoderConfig(max_tokens=32))
    texts = list(dict.fromkeys(some_texts(900, seed=5, longest=16)))[: module.BLOCK + 100]
    vectors = encoder.encode(texts)
    store = VectorStore(tmp_path, encoder.version, encoder.dimension)
    store.append(np.arange(len(texts)), np.arange(len(texts)), vectors)
    queries = vectors[:300]
    lists, flat = Index(store, tmp_path / "lists", lists_from=1), Index(store, tmp_path / "flat")
    assert lists._lists.ntotal == module.BLOCK and flat._lists is None and lists.recall >= module.RECALL
    exact = flat.search(queries, 10)[1]
    assert (lists.search(queries, 10)[1][:, :, None] == exact[:, None, :]).any(1).mean() >= 0.95


@pytest.mark.parametrize("lists_from", [10_000, 1000])
def test_what_is_removed_is_never_found(tmp_path, lists_from):
    store = filled(tmp_path, 3000)
    index = Index(store, tmp_path, lists_from)
    queries, gone = store.rows(0, 60), store.ids[:60].copy()  # in the lists; each would be its query's nearest
    before = index.search(queries, 5)[1]
    late = store.ids[-1]  # in the block that is searched exactly
    assert index.remove([*gone, late, 10**9]) == 61 and index.remove(gone) == 0
    for opened in (index, Index(VectorStore(tmp_path, "v1", 32), tmp_path, lists_from)):
        found = opened.search(queries, 5)[1]
        assert len(opened) == 2939 and not np.isin(found, [*gone, late]).any() and (found >= 0).all()
        assert all(
            row[0] == next(one for one in old if one not in gone) for row, old in zip(found, before, strict=True)
        )
        everything = opened.search(store.rows(2999, 3000), 9999)[1][0]
        assert len(everything) == 2939 and late not in everything
    extend(store, 2500, seed=1)
    index.update()
    assert len(index) == 5439 and not np.isin(index.search(queries, 5)[1], gone).any()


def test_much_that_is_removed_is_written_anew(tmp_path, monkeypatch, caplog):
    store = filled(tmp_path, 3000)
    index = Index(store, tmp_path, lists_from=1000)
    queries = store.rows(2000, 2020)
    index.remove(store.ids[: int(module.COMPACT_FROM * 3000)].copy())
    index.compact()
    assert len(store) == 3000, "not yet more than the share"
    with monkeypatch.context() as patch:

        def full() -> None:
            raise OSError(28, "No space left on device")

        patch.setattr(store, "compact", full)
        index.remove([store.ids[1999]])
        index.compact()
        assert "could not be written anew" in caplog.text and len(store) == 3000 and len(index) == 2699
    index.remove([store.ids[1998]])
    assert len(store) == 3000, "only when asked to"
    index.compact()
    assert len(store) == store.alive == len(index) == 2698
    opened = Index(VectorStore(tmp_path, "v1", 32), tmp_path, lists_from=1000)
    assert np.array_equal(index.search(queries, 5)[1], opened.search(queries, 5)[1])
    assert (index.search(queries, 5)[1] == truth(store, queries, 5)).mean() > 0.9
    assert "built again" not in caplog.text
