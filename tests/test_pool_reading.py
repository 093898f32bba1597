"""The pool as it is read: documents in order, a test set held out, and no more work for a round as the pool grows."""

import random
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import event, insert

from discover.db import Database
from discover.errors import DiscoverError
from discover.label.queue import Queue
from discover.pool.config import PoolConfig
from discover.pool.document import Document
from discover.pool.labels import Multiclass
from discover.pool.pool import Pool
from discover.tables import slot
from tests.pools import TEXT, fast_pool, hold_out, pool, sentence

__all__ = ["fast_pool", "pool"]


def test_what_a_round_asks_of_the_database_does_not_grow_with_the_pool(fast_pool: Pool):
    rng = random.Random(0)
    instructions = 0

    def count() -> int:
        nonlocal instructions
        instructions += 10
        return 0

    @event.listens_for(fast_pool.database.engine, "checkout")
    def watch(connection, record, proxy) -> None:
        connection.set_progress_handler(count, 10)

    def cost(documents: int) -> dict[str, int]:
        """Instructions of SQLite's virtual machine for what a round does, after the pool has grown."""
        nonlocal instructions
        fast_pool.add([Document(" ".join(sentence(rng, 20))) for _ in range(documents)])
        fast_pool.intake()
        hold_out(fast_pool, 40, 0)
        known = int(fast_pool.ids()[0].max())
        new = [Document(" ".join(sentence(rng, 20))) for _ in range(50)]
        twins = [Document(f"{found.text} and") for found, _ in zip(fast_pool.documents(), range(10), strict=False)]
        fast_pool.add(new + twins)

        def seed_imported() -> None:
            with fast_pool.database.write() as connection:
                Queue(fast_pool.database, 30, Multiclass(("a", "b"))).seed_imported("margin", connection)

        steps = {
            "intake": fast_pool.intake,
            "newest": lambda: fast_pool.ids(split=None, after=known),
            "test set": lambda: fast_pool.ids(split="test"),
            "still unasked": lambda: fast_pool.count("pool", 60, split="train"),
            "imported labels": seed_imported,
            "still found": lambda: fast_pool.count("found", 1),
        }
        costs = {}
        for name, step in steps.items():
            instructions = 0
            step()
            costs[name] = instructions
        return costs

    small, large = cost(200), cost(4000)
    for name in small:
        assert large[name] <= 1.5 * small[name] + 100, f"{name}: {small[name]} instructions, then {large[name]}"


def test_holding_out_is_seeded_repeatable_and_spares_what_was_asked(pool: Pool):
    pool.add([Document(f"{TEXT}, number {n} w{n} x{n} y{n} z{n}") for n in range(40)])
    pool.intake()
    ids, public_ids = pool.ids()
    with pool.database.write() as connection:
        asked = [
            {"arm": "a", "round": 0, "position": n, "document_id": int(ids[n]), "kind": "policy"} for n in range(5)
        ]
        connection.execute(insert(slot), asked)
    first = hold_out(pool, 10, seed=1)
    assert len(first) == 10 and not set(first) & set(public_ids[:5])
    assert hold_out(pool, 10, seed=2) == hold_out(pool, 4, seed=2) == first
    assert len(hold_out(pool, 12, seed=1)) == 12
    assert set(first) < set(pool.ids("test")[1])
    with pytest.raises(DiscoverError, match=r"34 test documents are wanted, and 2 others to ask about, .* has 35 for"):
        pool.draw_test(34, seed=1, stay=2)
    assert len(pool.draw_test(33, seed=1, stay=2)) == 21
    assert len(pool.ids("test")[1]) == 12
    assert len(pool.ids("train")[1]) == 28 and len(pool.ids(None)[1]) == 40


def test_another_seed_holds_out_other_documents(tmp_path: Path):
    drawn = []
    for seed in (1, 1, 2):
        database = Database(f"sqlite:///{tmp_path / str(len(drawn))}.db")
        pool = Pool(database, PoolConfig())
        pool.add([Document(f"{TEXT}, number {n} w{n} x{n} y{n} z{n}") for n in range(100)])
        pool.intake()
        drawn.append(set(hold_out(pool, 20, seed)))
        database.close()
    assert drawn[0] == drawn[1] != drawn[2]


def test_reading_keeps_the_order_asked_for(pool: Pool):
    pool.add([Document(f"{TEXT}, number {n} w{n} x{n} y{n} z{n}", f"a{n}") for n in range(1200)])
    pool.intake()
    ids, public_ids = pool.ids()
    assert ids.dtype == np.int64 and public_ids == sorted(public_ids) and len(ids) == 1200
    assert [found.public_id for found in pool.documents()] == public_ids
    mixed = np.concatenate([ids[::-7], ids[:3], ids[:3]])
    assert [found.id for found in pool.documents(mixed)] == mixed.tolist()
    assert pool.texts(mixed) == [found.text for found in pool.documents(mixed)]
    newest, _ = pool.ids(after=int(np.median(ids)))
    assert set(newest) == {row_id for row_id in ids if row_id > int(np.median(ids))}
    empty, names = pool.ids(after=10**9)
    assert len(empty) == 0 and names == [] and empty.dtype == np.int64
    assert pool.texts([]) == [] and list(pool.documents([])) == []
    with pytest.raises(KeyError):
        pool.texts([10**9])


def test_a_reader_may_write_between_two_documents(pool: Pool):
    pool.add([Document(f"{TEXT}, number {n} w{n} x{n} y{n} z{n}") for n in range(10)])
    pool.intake()
    for found in pool.documents():
        pool.add([Document(f"{found.text} seen again")])
    assert pool.counts()["found"] == 10
