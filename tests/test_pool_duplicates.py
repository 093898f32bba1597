"""Duplicates: the pool holds each text once, in an order that no crawl can change."""

import random
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from discover.db import Database
from discover.pool import intake, minhash
from discover.pool.config import PoolConfig
from discover.pool.document import Document
from discover.pool.minhash import jaccard, shingles
from discover.pool.pool import Pool
from discover.tables import band, document, meta
from tests.pools import TEXT, fast_pool, hold_out, pool, sentence

__all__ = ["fast_pool", "pool"]


def crowd(seed: int, families: int = 40) -> list[Document]:
    """Documents with exact copies, near-duplicates at all distances, labels, conflicts and both splits."""
    rng = random.Random(seed)
    documents = []
    for family in range(families):
        words = sentence(rng, rng.randint(8, 60))
        for member in range(rng.randint(1, 8)):
            text = list(words)
            for _ in range(rng.choice([0, 0, 1, 1, 2, 5])):
                text[rng.randrange(len(text))] = f"x{rng.randrange(50_000)}"
            documents.append(
                Document(
                    " ".join(text),
                    address=f"https://example.org/{family}/{member}",
                    title=rng.choice(["", "A", "B"]),
                    date=rng.choice(["", "2024-01-01", "2023-01-01"]),
                    label=rng.choice([None, None, "yes", "no"]),
                    split=rng.choice(["train", "train", "train", "test"]),
                )
            )
    return documents


def contents(pool: Pool) -> list[tuple]:
    """Everything that the pool holds, without row ids and times."""
    with pool.database.read() as connection:
        public = {row.id: row.public_id for row in connection.execute(select(document.c.id, document.c.public_id))}
        columns = [document.c[name] for name in ("public_id", "title", "date", "label", "split", "state", "reason")]
        rows = connection.execute(select(*columns, document.c.duplicate_of).order_by(document.c.public_id)).all()
    return [(*row[:-1], public.get(row[-1])) for row in rows]


def test_adding_again_changes_nothing(pool: Pool):
    documents = crowd(0)
    first = pool.add(documents)
    pool.intake()
    before = contents(pool)
    again = pool.add(documents)
    assert again == {"seen": len(documents)} and first["new"] + first["seen"] == len(documents)
    assert pool.intake() == {}
    assert contents(pool) == before


@pytest.mark.parametrize("seed", range(6))
def test_the_order_of_arrival_does_not_matter(seed: int, tmp_path: Path):
    results = []
    for shuffle in range(3):
        documents = crowd(seed)
        random.Random(shuffle).shuffle(documents)
        database = Database(f"sqlite:///{tmp_path / str(shuffle)}.db")
        pool = Pool(database, PoolConfig())
        step = (len(documents), 7, 1)[shuffle]
        for start in range(0, len(documents), step):
            pool.add(documents[start : start + step])
        pool.intake()
        hold_out(pool, 60, seed)
        results.append(contents(pool))
        database.close()
    assert results[0] == results[1] == results[2]
    assert {row[5] for row in results[0]} == {"pool", "duplicate"}
    assert "conflicting labels" in {row[6] for row in results[0]}


def test_near_duplicates_are_those_of_an_exhaustive_comparison(fast_pool: Pool):
    """All pairs, exactly: no pair that stays is similar, and what goes is similar to what stays with a smaller id."""
    documents = [Document(found.text) for found in crowd(7, families=300)]
    fast_pool.add(documents)
    fast_pool.intake()
    sets = {found.public_id: shingles(found.text) for found in documents}
    stays, missed = [], 0
    for public_id, *_, state, _, twin in contents(fast_pool):
        similar = [other for other in stays if jaccard(sets[public_id], sets[other]) >= 0.8]
        if state == "pool":
            missed += bool(similar)
            stays.append(public_id)
        else:
            assert twin in similar
    assert len(stays) > 300
    assert missed <= 0.01 * len(sets)


def test_the_smallest_public_id_of_an_intake_stays_and_the_pool_always_stays(pool: Pool):
    texts = sorted(
        (" ".join([*(f"word{n}" for n in range(30)), f"end{n}"]) for n in range(6)), key=lambda t: Document(t).public_id
    )
    pool.add([Document(text) for text in texts[2:4]])
    assert pool.intake() == {"pool": 1, "duplicate": 1}
    pool.add([Document(text) for text in texts])
    assert pool.intake() == {"duplicate": 4}
    assert [found.text for found in pool.documents()] == [texts[2]]


def test_the_label_of_a_near_duplicate_is_not_lost(pool: Pool):
    base = [" ".join(f"w{i}x{n}" for n in range(30)) for i in range(5)]
    pool.add(
        [Document(f"{text} {end}", label=label) for text in base[:2] for end, label in (("a", None), ("b", "yes"))]
    )
    assert pool.intake() == {"pool": 2, "duplicate": 2}
    pool.add([Document(f"{text} a") for text in base[2:4]] + [Document(f"{base[4]} a", label="no", split="test")])
    pool.intake()
    pool.add([Document(f"{base[2]} b", label="yes"), Document(f"{base[3]} b"), Document(f"{base[4]} b", label="yes")])
    pool.add([Document(f"{base[2]} c", label="no"), Document(f"{base[2]} d")])
    assert pool.intake() == {"duplicate": 5}
    assert pool.add([Document(f"{base[3]} b", label="yes")])["labelled now"] == 1
    found = {one.text.split("x")[0]: one.label for one in pool.documents(split=None)}
    assert found == {"w0": "yes", "w1": "yes", "w2": None, "w3": "yes", "w4": "no"}, "of two labels none"


def test_a_train_document_never_repeats_a_test_document(pool: Pool):
    base = " ".join(f"word{n}" for n in range(30))
    rows = [Document(f"{base} end{n}", split="test" if n in (3, 4) else "train") for n in range(6)]
    other = "something else altogether that was imported twice"
    pool.add([*rows, Document(other), Document(other, split="test")])
    assert pool.intake() == {"pool": 3, "duplicate": 4}
    assert {found.text[-4:] for found in pool.documents(split="test")} == {"end3", "end4", other[-4:]}
    assert list(pool.documents()) == []
    pool.add([Document(f"{base} end7")])
    assert pool.intake() == {"duplicate": 1}


def test_what_is_in_the_pool_does_not_turn_into_a_test_document(pool: Pool):
    pool.add([Document(TEXT)])
    pool.intake()
    assert pool.add([Document(TEXT, split="test", label="yes")])["for testing, but in the pool already"] == 1
    [found] = pool.documents(split=None)
    assert (found.split, found.label) == ("train", "yes")


def test_a_crowd_that_shares_boilerplate_takes_linear_work_and_keeps_its_twins(
    fast_pool: Pool, monkeypatch: pytest.MonkeyPatch
):
    """Pairs are 0.5 to 0.78 similar: none goes but the planted twins, and few pairs are compared."""
    rng = random.Random(0)
    boilerplate = sentence(rng, 60)
    documents = [Document(" ".join(boilerplate + sentence(rng, rng.randint(10, 25)))) for _ in range(2000)]
    twins = [Document(f"{found.text} and") for found in documents[:100]]
    compared = 0

    def counted(a: frozenset[str], b: frozenset[str]) -> float:
        nonlocal compared
        compared += 1
        return jaccard(a, b)

    monkeypatch.setattr(intake, "jaccard", counted)
    fast_pool.add(documents + twins)
    taken = fast_pool.intake()
    assert taken["duplicate"] >= 98
    assert taken["pool"] + taken["duplicate"] == 2100
    assert compared <= intake.COMPARED * 2100
    with fast_pool.database.read() as connection:
        sizes = connection.execute(select(func.count()).select_from(band).group_by(band.c.hash)).scalars().all()
    assert sizes.count(intake.BUCKET) > 5 and max(sizes) == intake.BUCKET


def test_bands_of_another_scheme_are_made_anew(pool: Pool):
    documents = crowd(3)
    pool.add(documents[::2])
    pool.intake()
    with pool.database.write() as connection:
        connection.execute(update(band).values(scheme="old", hash=band.c.hash + 1))
        connection.execute(update(meta).where(meta.c.key == "minhash").values(value="old"))
    sizes = [len(shingles(found.text)) for found in pool.documents(split=None)]
    repeated = [Document(f"{found.text} and", split="train") for found in pool.documents(split=None)]
    pool.add(repeated)
    close = sum(size / (size + 1) >= 0.8 for size in sizes)
    assert pool.intake()["duplicate"] >= 0.98 * close
    with pool.database.read() as connection:
        assert set(connection.execute(select(band.c.scheme)).scalars()) == {minhash.SCHEME}
