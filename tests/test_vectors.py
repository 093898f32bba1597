import json
import multiprocessing
import os
import signal

import numpy as np
import pytest

from discover.embed.embedding import embed_new
from discover.embed.vectors import VectorStore, key_of
from discover.errors import DiscoverError
from tests.conftest import room_for

POINTS = ["append:vectors", "append:ids", "append:keys", "append:written", "append:published"]


def rows(n: int, seed: int = 0, start: int = 1):
    rng = np.random.default_rng(seed)
    return np.arange(start, start + n), rng.integers(0, 2**63, n, dtype=np.uint64), rng.normal(size=(n, 8))


def test_what_goes_in_comes_out(tmp_path):
    store = VectorStore(tmp_path, "v1", 8)
    assert len(store) == 0 and store.vectors([]).shape == (0, 8) and store.ids.dtype == np.int64
    ids, keys, vectors = rows(50)
    order = np.random.default_rng(1).permutation(50)
    store.append(ids[order], keys[order], vectors[order])
    again = VectorStore(tmp_path, "v1", 8)
    for opened in (store, again):
        assert np.array_equal(opened.ids, ids[order]) and np.array_equal(opened.keys, keys[order])
        found = opened.vectors([7, 3, 7])
        assert found.dtype == np.float32
        assert np.array_equal(found, vectors[[6, 2, 6]].astype(np.float16).astype(np.float32))
    with pytest.raises(KeyError, match="row id 99"):
        again.vectors([1, 99])
    with pytest.raises(KeyError, match="row id 5"):
        VectorStore(tmp_path, "empty", 8).vectors([5])


def test_a_store_that_is_forgotten_knows_nothing_of_the_order_before(tmp_path):
    store, order = VectorStore(tmp_path, "v1", 8), np.random.default_rng(1).permutation(20)
    ids, keys, vectors = rows(20)
    store.append(ids[order], keys[order], vectors[order])
    store.vectors(ids)
    store.check(-1, {})
    assert len(store) == 0
    store.append(ids[order][:10] + 100, keys[:10], vectors[:10])
    assert store.positions(ids[order][:10] + 100).tolist() == list(range(10))


def test_a_document_is_stored_once(tmp_path):
    store = VectorStore(tmp_path, "v1", 8)
    store.append(*rows(5))
    for twice in (rows(2), (np.array([9, 9]), *rows(2)[1:])):
        with pytest.raises(ValueError, match="once"):
            store.append(*twice)
    with pytest.raises(ValueError, match="vectors of 8"):
        store.append([50], [1], np.zeros((1, 7)))
    assert len(store) == 5


def test_documents_are_found_in_whatever_order_they_were_added(tmp_path):
    store, added = VectorStore(tmp_path, "v1", 8), np.empty(0, np.int64)
    for ids in ([10, 12, 14], [20, 22], [41, 31], [16, 1], [50]):  # rising, and from the third on not
        store.append(ids, ids, np.zeros((len(ids), 8)))
        added = np.append(added, ids)
        for opened in (store, VectorStore(tmp_path, "v1", 8)):
            assert opened.positions(added[::-1]).tolist() == list(range(len(added)))[::-1]
            assert opened.positions([0, 11, 15, 99]).tolist() == [-1] * 4


def test_a_full_disk_is_one_clear_line_and_tears_nothing(tmp_path):
    store = VectorStore(tmp_path, "v1", 8)
    store.append(*rows(5))
    more = rows(500, seed=1, start=100)
    with room_for(4096), pytest.raises(DiscoverError, match=r"500 vectors must be stored in .*: make room"):
        store.append(*more)
    for opened in (store, VectorStore(tmp_path, "v1", 8)):
        assert len(opened) == 5 and np.array_equal(opened.ids, rows(5)[0])
    store.append(*more)
    assert np.array_equal(
        VectorStore(tmp_path, "v1", 8).vectors(more[0]), more[2].astype(np.float16).astype(np.float32)
    )


def test_versions_never_meet(tmp_path):
    VectorStore(tmp_path, "v1", 8).append(*rows(5))
    assert len(VectorStore(tmp_path, "v2", 8)) == 0


def append_and_die(folder, point):
    os.environ["DISCOVER_CRASH_AT"] = point
    VectorStore(folder, "v1", 8).append(*rows(30, seed=2, start=100))


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_while_appending_tears_nothing(tmp_path, point):
    before = rows(20)
    VectorStore(tmp_path, "v1", 8).append(*before)
    child = multiprocessing.get_context("spawn").Process(target=append_and_die, args=(tmp_path, point))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    store = VectorStore(tmp_path, "v1", 8)
    after = rows(30, seed=2, start=100)
    assert len(store) == (50 if point == "append:published" else 20)
    assert np.array_equal(store.vectors(before[0]), before[2].astype(np.float16).astype(np.float32))
    if len(store) == 20:
        store.append(*(column[:1] for column in after))
        assert (store.folder / "vectors.bin").stat().st_size == 21 * 8 * 2, "the torn tail is cut off"
        store.append(*(column[1:] for column in after))
    assert np.array_equal(store.vectors(after[0]), after[2].astype(np.float16).astype(np.float32))
    assert np.array_equal(store.keys, np.concatenate([before[1], after[1]]))


@pytest.mark.parametrize("damage", ["flip", "cut", "manifest", "lost"])
def test_damage_empties_the_store(tmp_path, damage, caplog):
    store = VectorStore(tmp_path, "v1", 8)
    store.append(*rows(20))
    file, manifest = store.folder / "vectors.bin", store.folder / "manifest.json"
    content = bytearray(file.read_bytes())
    content[33] ^= 1
    if damage == "lost":
        manifest.unlink()
    elif damage == "manifest":
        manifest.write_text("{")
    else:
        file.write_bytes(content if damage == "flip" else content[:-5])
    again = VectorStore(tmp_path, "v1", 8)
    assert len(again) == 0 and (damage == "lost" or "damaged" in caplog.text)
    again.append(*rows(20))
    assert len(VectorStore(tmp_path, "v1", 8)) == 20


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_reading_beside_a_writer_changes_nothing(tmp_path, monkeypatch):
    assert len(VectorStore(tmp_path, "v1", 8)) == 0 and not list(tmp_path.iterdir())
    writer = VectorStore(tmp_path, "v1", 8)
    writer.append(*rows(20))
    published = VectorStore._published
    extended = []

    def overtaken(self):
        found = published(self)
        if not extended:  # between the manifest, as the reader has it, and the files
            extended.append(writer.append(*rows(30, seed=2, start=100)))
        return found

    with monkeypatch.context() as patch:
        patch.setattr(VectorStore, "_published", overtaken)
        reader = VectorStore(tmp_path, "v1", 8)
    assert (len(reader), len(writer)) == (20, 50)
    assert np.array_equal(writer.ids, np.concatenate([rows(20)[0], rows(30, start=100)[0]]))
    before = contents(writer.folder)
    (writer.folder / "vectors.9.bin").write_bytes(b"of a compaction under way")
    assert len(VectorStore(tmp_path, "v1", 8)) == 50
    assert contents(writer.folder) == before | {"vectors.9.bin": b"of a compaction under way"}


def test_a_compaction_takes_nothing_from_a_reader(tmp_path, monkeypatch):
    writer = VectorStore(tmp_path, "v1", 8)
    writer.append(*rows(20))
    reader = VectorStore(tmp_path, "v1", 8)
    writer.remove([3])
    published = VectorStore._published
    compacted = []

    def overtaken(self):
        found = published(self)
        if not compacted:
            compacted.append(writer.compact())
        return found

    monkeypatch.setattr(VectorStore, "_published", overtaken)
    assert len(VectorStore(tmp_path, "v1", 8)) == 19, "the manifest is read again"
    expected = rows(20)[2].astype(np.float16).astype(np.float32)
    assert np.array_equal(reader.vectors(rows(20)[0]), expected) and len(writer) == 19


class CountingEncoder:
    def __init__(self):
        self.seen = []

    def encode(self, texts):
        self.seen += texts
        return np.array([[float(text)] * 8 for text in texts], dtype=np.float32)


def test_embed_new_adds_what_is_missing_in_the_order_of_public_ids(tmp_path):
    store, encoder = VectorStore(tmp_path, "v1", 8), CountingEncoder()
    ids = np.arange(1, 3001)
    public_ids = [f"{(row * 2654435761) % 2**32:08x}".ljust(32, "0") for row in ids]
    asked = []

    def texts(wanted):
        asked.append(len(wanted))
        return [str(row % 100) for row in wanted]

    assert embed_new(encoder, store, ids[:100], public_ids[:100], texts) == 100
    assert embed_new(encoder, store, ids, public_ids, texts) == 2900
    assert embed_new(encoder, store, ids, public_ids, texts) == 0
    assert max(asked) <= 2048 and len(encoder.seen) == 3000
    keys = [key_of(public_ids[row - 1]) for row in store.ids]
    assert keys == store.keys.tolist() and keys[100:] == sorted(keys[100:]) and keys[:100] == sorted(keys[:100])
    assert np.array_equal(store.vectors(ids)[:, 0], ids % 100)


def test_what_is_removed_is_noted_until_its_row_is_gone(tmp_path):
    store = VectorStore(tmp_path, "v1", 8)
    ids, keys, vectors = rows(30)
    store.append(ids, keys, vectors)
    assert store.remove([3, 99, 20]) == 2 and store.remove([20, 3]) == 0
    for opened in (store, VectorStore(tmp_path, "v1", 8)):
        assert opened.removed.tolist() == [3, 20] and opened.alive == 28 and len(opened) == 30
    store.compact()
    stays = ~np.isin(ids, [3, 20])
    for opened in (store, VectorStore(tmp_path, "v1", 8)):
        assert opened.ids.tolist() == ids[stays].tolist() and np.array_equal(opened.keys, keys[stays])
        assert opened.alive == len(opened) == 28 and not len(opened.removed) and opened.positions([3])[0] == -1
        assert np.array_equal(opened.vectors(ids[stays]), vectors[stays].astype(np.float16).astype(np.float32))
    assert sum(file.stat().st_size for file in store.folder.glob("*.bin")) == 28 * (8 * 2 + 8 + 8)
    store.append(*rows(2, start=100))
    store.remove([1])
    store.compact()
    assert VectorStore(tmp_path, "v1", 8).ids.tolist() == [2, *ids[stays][2:], 100, 101]


def remove_and_die(folder, point):
    os.environ["DISCOVER_CRASH_AT"] = point
    store = VectorStore(folder, "v1", 8)
    store.remove([2, 4])
    store.compact()


@pytest.mark.parametrize("point", ["append:removed", "compact:written", "compact:published"])
def test_a_kill_while_removing_loses_nothing(tmp_path, point):
    VectorStore(tmp_path, "v1", 8).append(*rows(20))
    child = multiprocessing.get_context("spawn").Process(target=remove_and_die, args=(tmp_path, point))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    store = VectorStore(tmp_path, "v1", 8)
    removed = {"append:removed": 0, "compact:written": 2, "compact:published": 0}[point]
    assert (len(store), len(store.removed)) == ({"compact:published": 18}.get(point, 20), removed)
    store.remove([2, 4])
    store.append(*rows(1, start=100))
    assert len(list(store.folder.glob("*.bin"))) == 4
    assert store.alive == 19 and np.array_equal(
        store.vectors([1, 20]), rows(20)[2][[0, 19]].astype(np.float16).astype(np.float32)
    )


def test_a_store_of_before_removal_is_read(tmp_path):
    store = VectorStore(tmp_path, "v1", 8)
    store.append(*rows(5))
    manifest = json.loads((store.folder / "manifest.json").read_text())
    del manifest["removed"], manifest["generation"], manifest["checksums"]["removed"]
    (store.folder / "manifest.json").write_text(json.dumps(manifest))
    (store.folder / "removed.bin").unlink()
    again = VectorStore(tmp_path, "v1", 8)
    assert len(again) == 5 and again.remove([1]) == 1 and VectorStore(tmp_path, "v1", 8).alive == 4
