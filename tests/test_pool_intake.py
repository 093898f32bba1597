"""The pool's intake: what is cleaned, noted, refused or set aside, and who may write meanwhile."""

import subprocess
import sys
from collections import Counter

import pytest
from sqlalchemy import func, insert, select

from discover.db import Database
from discover.pool import intake, minhash
from discover.pool.config import PoolConfig
from discover.pool.document import Document, clean
from discover.pool.pool import Pool
from discover.tables import band, document, meta, rejection
from tests.pools import TEXT, pool

__all__ = ["pool"]


@pytest.mark.parametrize(
    "raw",
    [
        "e\u200b\u0301 a\x00b\r\n\r\n\r\n\r\n  c  \ud800",
        "\ufeffx\u202e\n\n\n\ny\u00a0 z",
        " \u200d\u200b\u200c \u200d",
        "",
    ],
)
def test_cleaning_twice_changes_nothing(raw: str):
    assert clean(clean(raw)) == clean(raw)
    clean(raw).encode()


def test_joiners_stay_where_they_are_part_of_a_word():
    astronaut, persian = "👩\u200d🚀", "می\u200cخواهم"
    assert clean(f"{astronaut} \u200d {persian}\u200c\n\u200d\u200d") == f"{astronaut} {persian}"


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


def test_a_known_text_that_gets_a_label_is_counted(pool: Pool):
    assert pool.add([Document(TEXT)]) == {"new": 1}
    assert pool.add([Document(TEXT, label="yes"), Document(TEXT)]) == {"seen": 2, "labelled now": 1}
    assert pool.add([Document(TEXT, label="yes")]) == {"seen": 1}


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


def test_what_was_set_aside_is_found_anew_with_all_that_it_has(pool: Pool):
    texts = [f"{TEXT}, {TEXT} {end}" for end in "abc"]
    pool.add([Document(texts[0], f"https://{n}.example", given_id=n, title="T", split="test") for n in "xy"])
    pool.add([Document(texts[1]), Document("quite another text that stays where it is")])
    pool.intake(lambda found: [TEXT in one.text for one in found])
    (last,), _ = pool.ids()
    pool.look_again()
    pool.look_again()
    pool.add([Document(texts[2])])
    assert pool.intake() == {"pool": 1, "duplicate": 2}, "the near-duplicates of what is in the pool again"
    (again,) = pool.documents(split="test")
    assert again.id > last and (again.text, again.title, again.given_id) == (texts[0], "T", "x")
    assert again.sources == ["https://x.example", "https://y.example"] and pool.counts()["aside"] == 0


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


def test_what_is_found_while_an_oracle_thinks_is_judged_the_next_time(pool: Pool):
    pool.add([Document(TEXT)])

    def unanswerable(found: list[Document]) -> list[bool]:
        if found[0].text == TEXT:
            pool.add([Document("quite another text that arrives in between")])
        return ["another" in one.text for one in found]

    assert pool.intake(unanswerable) == {"pool": 1}
    assert pool.intake(unanswerable) == {"aside": 1}, "it has waited for the next time"


def test_nobody_waits_while_near_duplicates_are_looked_for(pool: Pool, monkeypatch: pytest.MonkeyPatch):
    pool.add([Document(f"{TEXT}, {TEXT} {end}") for end in "ab"])

    def compared(one: frozenset[str], other: frozenset[str]) -> float:
        assert pool.add([Document("quite another text that arrives in between")]).keys() <= {"new", "seen"}
        return minhash.jaccard(one, other)

    monkeypatch.setattr(intake, "jaccard", compared)
    assert pool.intake() == {"pool": 1, "duplicate": 1} and pool.intake() == {"pool": 1}


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
