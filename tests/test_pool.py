"""The pool: each text once, in an order that no crawl can change."""

import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import event, func, insert, select, update

from discover.db import Database
from discover.errors import DiscoverError
from discover.label.queue import Queue
from discover.pool import intake, minhash
from discover.pool.config import PoolConfig
from discover.pool.document import Document, clean
from discover.pool.labels import Multiclass
from discover.pool.minhash import jaccard, shingles
from discover.pool.pool import Pool
from discover.tables import band, document, meta, rejection, slot

TEXT = "a text that is clearly long enough to keep"


@pytest.fixture
def pool(either_database: Database) -> Pool:
    return Pool(either_database, PoolConfig())


@pytest.fixture
def fast_pool(database: Database) -> Pool:
    return Pool(database, PoolConfig())


def sentence(rng: random.Random, n: int) -> list[str]:
    return [f"w{rng.randrange(50_000)}" for _ in range(n)]


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


@pytest.mark.parametrize(
    "raw", ["e\u200b\u0301 a\x00b\r\n\r\n\r\n\r\n  c  \ud800", "\ufeffx\u202e\n\n\n\ny\u00a0 z", ""]
)
def test_cleaning_twice_changes_nothing(raw: str):
    assert clean(clean(raw)) == clean(raw)
    clean(raw).encode()


def test_what_is_added_comes_out_cleaned_with_all_its_addresses(pool: Pool):
    counts = pool.add(
        [
            Document(TEXT, "https://b.example", title="T", language="en", date="2024-02-03", label="yes"),
            Document(f"  {TEXT}\x00\r\n", "https://a.example"),
            Document(TEXT, "https://b.example"),
            Document("short", "https://c.example"),
            Document(" \u200b ", "https://d.example"),
            Document("x" * 1_000_001, "https://e.example"),
            Document("x" * 20_000_000, "https://f.example"),
            Document(None, "https://g.example"),  # type: ignore[arg-type]
        ]
    )
    assert counts == {"new": 1, "seen": 2, "short": 1, "empty": 1, "long": 2, "no text": 1}
    assert pool.intake() == {"pool": 1}
    [found] = pool.documents()
    assert (found.text, found.title, found.language, found.date, found.label) == (TEXT, "T", "en", "2024-02-03", "yes")
    assert found.sources == ["https://a.example", "https://b.example"]
    assert pool.counts() == {
        "pool": 1,
        "test": 0,
        "found": 0,
        "duplicate": 0,
        "aside": 0,
        "rejected": {"empty": 1, "long": 2, "no text": 1, "short": 1},
    }


@pytest.mark.parametrize("calls", [1, 3])
def test_of_several_given_ids_at_one_address_the_first_stays(calls: int, pool: Pool):
    rows = [Document("a text that is long enough", "https://example.org/", given_id=given) for given in "bca"]
    for start in range(calls):
        pool.add(rows[start::calls])
    pool.intake()
    assert [found.given_id for found in pool.documents()] == ["b"]


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
        pool.hold_out(60, seed)
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
    pool.add([Document(TEXT, split="test", label="yes")])
    [found] = pool.documents(split=None)
    assert (found.split, found.label) == ("train", "yes")


def test_two_labels_for_one_text_leave_none(pool: Pool):
    assert pool.add([Document(TEXT, label="yes"), Document(TEXT, label="no")])["conflicting labels"] == 1
    assert pool.add([Document(TEXT, label="yes")]) == {"seen": 1}
    other = TEXT + " too"
    assert pool.add([Document(other, label=" yes ")]) == {"new": 1}
    assert pool.add([Document(other, label="yes"), Document(other), Document(other, label="")]) == {"seen": 3}
    assert pool.add([Document(other, label="no")]) == {"seen": 1, "conflicting labels": 1}
    with pool.database.read() as connection:
        rows = connection.execute(select(document.c.label, document.c.reason)).all()
    assert rows == [(None, "conflicting labels")] * 2


def test_what_has_no_single_answer_is_set_aside_and_shadows_nothing(pool: Pool):
    texts = sorted(
        (" ".join([*(f"word{n}" for n in range(30)), f"end{n}"]) for n in range(3)), key=lambda t: Document(t).public_id
    )
    pool.add([Document(text, f"https://{n}.example") for n, text in enumerate(texts)])
    pool.add([Document(texts[0], "https://other.example")])
    assert pool.intake(lambda found: [len(one.sources) > 1 for one in found]) == {"aside": 1, "pool": 1, "duplicate": 1}
    assert [found.text for found in pool.documents()] == [texts[1]]
    with pool.database.read() as connection:
        assert connection.execute(select(document.c.reason).where(document.c.state == "aside")).scalar() == (
            "no single answer"
        )
        kept = connection.execute(select(band.c.document_id).distinct()).scalars().all()
    assert kept == [found.id for found in pool.documents()]


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
        fast_pool.hold_out(40, 0)
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


def test_holding_out_is_seeded_repeatable_and_spares_what_was_asked(pool: Pool):
    pool.add([Document(f"{TEXT}, number {n} w{n} x{n} y{n} z{n}") for n in range(40)])
    pool.intake()
    ids, public_ids = pool.ids()
    with pool.database.write() as connection:
        asked = [
            {"arm": "a", "round": 0, "position": n, "document_id": int(ids[n]), "kind": "policy"} for n in range(5)
        ]
        connection.execute(insert(slot), asked)
    assert pool.hold_out(10, seed=1) == 10
    first = pool.ids("test")[1]
    assert len(first) == 10 and not set(first) & set(public_ids[:5])
    assert pool.hold_out(10, seed=2) == pool.hold_out(4, seed=2) == 10
    assert pool.ids("test")[1] == first
    assert pool.hold_out(12, seed=1) == 12
    assert set(first) < set(pool.ids("test")[1])
    with pytest.raises(DiscoverError, match="40 test documents are wanted and the pool can give 35"):
        pool.hold_out(40, seed=1)
    assert len(pool.ids("test")[1]) == 12
    assert len(pool.ids("train")[1]) == 28 and len(pool.ids(None)[1]) == 40


def test_another_seed_holds_out_other_documents(tmp_path: Path):
    drawn = []
    for seed in (1, 1, 2):
        database = Database(f"sqlite:///{tmp_path / str(len(drawn))}.db")
        pool = Pool(database, PoolConfig())
        pool.add([Document(f"{TEXT}, number {n} w{n} x{n} y{n} z{n}") for n in range(100)])
        pool.intake()
        pool.hold_out(20, seed)
        drawn.append(set(pool.ids("test")[1]))
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


def test_others_may_write_while_texts_are_signed_and_while_an_oracle_thinks(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
):
    """Neither happens inside the write transaction, where this write would be an error."""
    written = []

    def write_meanwhile() -> None:
        with pool.database.write() as connection:
            connection.execute(insert(meta).values(key=f"meanwhile {len(written)}", value=0))
        written.append(1)

    def bands_of(texts: list[str]):
        if texts:
            write_meanwhile()
        return sign(texts)

    def unanswerable(found: list[Document]) -> list[bool]:
        write_meanwhile()
        return ["alone" in one.text for one in found]

    sign = minhash.bands
    monkeypatch.setattr(minhash, "bands", bands_of)
    assert pool.add([Document(TEXT), Document(f"{TEXT}, alone")]) == {"new": 2}
    assert pool.intake(unanswerable) == {"pool": 1, "aside": 1}
    assert len(written) == 2
    assert pool.add([Document(TEXT)]) == {"seen": 1}
    assert len(written) == 2, "a known text is not signed again"


def test_what_is_found_while_an_oracle_thinks_is_judged_too(pool: Pool):
    pool.add([Document(TEXT)])

    def unanswerable(found: list[Document]) -> list[bool]:
        if found[0].text == TEXT:
            pool.add([Document("quite another text that arrives in between")])
        return ["another" in one.text for one in found]

    assert pool.intake(unanswerable) == {"pool": 1, "aside": 1}


def test_add_in_is_part_of_the_callers_transaction(pool: Pool):
    with pytest.raises(KeyError), pool.database.write() as connection:
        pool.add_in(connection, pool.prepare([Document(TEXT, "https://a.example")]))
        pool.reject(connection, "https://b.example", "robots")
        raise KeyError
    assert pool.counts() == {"pool": 0, "test": 0, "found": 0, "duplicate": 0, "aside": 0, "rejected": {}}


def test_a_rejection_is_noted_once(pool: Pool):
    for _ in range(2):
        with pool.database.write() as connection:
            pool.reject(
                connection, "https://b.example/\x00", "a reason that is longer than the column is", "why " * 500
            )
            pool.reject(connection, "https://b.example/", "another")
    with pool.database.read() as connection:
        rows = connection.execute(select(rejection.c.address, rejection.c.reason)).all()
    assert rows == [("https://b.example/", "a reason that is longer than the"), ("https://b.example/", "another")]


def test_an_address_or_title_of_any_length_is_stored(pool: Pool):
    found = Document(
        TEXT, "https://example.org/" + "".join(chr(0x4E00 + n) for n in range(9000)), "t" * 5000, "xx" * 9, "d" * 99
    )
    pool.add([found])
    pool.intake()
    [kept] = pool.documents()
    assert kept.sources[0].startswith("https://example.org/一") and len(kept.sources[0].encode()) <= 2000


def test_processes_that_add_at_once_lose_and_double_nothing(either_database: Database):
    address = either_database.engine.url.render_as_string(hide_password=False)
    program = """
import random, sys
from discover.db import Database
from discover.pool.config import PoolConfig
from discover.pool.document import Document
from discover.pool.pool import Pool
pool = Pool(Database(sys.argv[1]), PoolConfig())
texts = [f"a text that is clearly long enough, number {n}" for n in range(40)]
random.Random(sys.argv[2]).shuffle(texts)
for text in texts:
    with pool.database.write() as connection:
        pool.add_in(connection, pool.prepare([Document(text, f"https://{sys.argv[2]}.example/{text[-2:].strip()}")]))
pool.database.close()
"""
    adders = [
        subprocess.Popen([sys.executable, "-c", program, address, str(n)], stderr=subprocess.PIPE, text=True)
        for n in range(3)
    ]
    assert [adder.communicate()[1] for adder in adders] == [""] * 3
    pool = Pool(either_database, PoolConfig(near_duplicate=1.0))
    with pool.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(band)).scalar() == 40 * minhash.BANDS
    assert pool.intake() == {"pool": 40}
    assert Counter(len(found.sources) for found in pool.documents()) == {3: 40}
