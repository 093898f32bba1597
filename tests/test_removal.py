"""Documents leave for good: pool, queue, what is shown of them; and a run goes on without them."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from sqlalchemy import Connection, select

from discover import loop, tables
from discover.campaign import Campaign, open_run
from discover.cli import main
from discover.commands.remove import remove
from discover.db import Database
from discover.embed import index as index_module
from discover.errors import DiscoverError
from discover.label import slots
from discover.learn import registry
from discover.pool import removal
from discover.pool.config import PoolConfig
from discover.pool.document import Document
from discover.pool.pool import Pool
from tests.kills import play_rounds, write_inputs
from tests.labeling import CLASSES, filled

WORDS = (
    "A battery may catch fire when it is charged for a long time near a curtain so take it out and return it".split()
)
SECRET = " ".join(WORDS)


def removed(database: Database, *words: str) -> dict[int, str]:
    with database.write() as connection:
        return removal.remove(connection, named(connection, *words))


def named(connection: Connection, *words: str) -> list[int]:
    return removal.named(connection, words, PoolConfig().near_duplicate)


def test_what_a_document_said_goes_and_does_not_come_back(either_database: Database) -> None:
    pool = Pool(either_database, PoolConfig())
    page = Document(SECRET, "http://a/1", title="Secret", label="fire", given_id="customer 7")
    twin = Document(SECRET + " again", "http://b/2", label="fire")
    other = Document("Something else entirely, on rain and on wind, and on nothing that was said before", "http://c/3")
    pool.add([page, other])
    pool.intake()
    pool.add([twin])
    assert pool.intake() == {"duplicate": 1}
    with pytest.raises(DiscoverError, match=r"1 of 2 names are neither, like 'http://nowhere/': nothing is removed"):
        removed(either_database, "http://a/1", "http://nowhere/")
    with pytest.raises(DiscoverError, match=r"1 of 2 names are neither, like 'caf\\udce9'"):  # bytes of no text
        removed(either_database, "http://a/1", "caf\udce9")
    assert pool.removed() == set()
    gone = removed(either_database, page.public_id)
    assert set(gone.values()) == {page.public_id, twin.public_id}, "what was left out as its near-duplicate goes too"
    assert removed(either_database, "http://a/1", "http://b/2") == {} and pool.removed() == set(gone)
    with either_database.read() as connection:
        left = repr([connection.execute(select(table)).all() for table in tables.metadata.sorted_tables])
    assert "battery" not in left and "Secret" not in left and "customer" not in left and "'fire'" not in left
    assert pool.add([page, Document(SECRET, "http://d/4", label="x")]) == {"seen": 2}
    assert not pool.intake() and [one.text for one in pool.documents(split=None)] == [other.text]
    assert pool.counts()["removed"] == 2
    assert not removed(either_database, "http://d/4")


@pytest.mark.parametrize("word", range(3))
def test_whichever_near_duplicate_is_named_all_go(either_database: Database, word: int) -> None:
    pool = Pool(either_database, PoolConfig())
    for number, tail in enumerate(["", " now", " today"]):  # the first is kept
        pool.add([Document(f"{SECRET * 3}{tail}", f"http://a/{number}")])
        pool.intake()
    assert pool.counts()["duplicate"] == 2
    pool.add([Document(f"{SECRET * 3} this morning", "http://a/3"), Document("Nothing of that kind, and no battery")])
    names = [f"http://a/{word}", "http://a/3", Document(f"{SECRET * 3} now").public_id]
    for name in names:
        with either_database.read() as connection:
            assert len(named(connection, name)) == 4, "one of them no intake has seen"
    with either_database.read() as connection:
        assert len(named(connection, "http://a/3", "http://a/3 ")) == 4, "one address, written in two ways"
    assert len(removed(either_database, names[0])) == 4 and not list(pool.documents(split=None))
    assert pool.intake() == {"pool": 1}


def test_a_text_that_is_gone_cannot_be_read_from_the_file(database: Database) -> None:
    pool = Pool(database, PoolConfig())
    pool.add([Document(f"{SECRET} {number} {'zebra' * 2000}", f"http://a/{number}") for number in range(40)])
    removed(database, *(f"http://a/{number}" for number in range(40)))
    database.close()
    assert b"zebra" not in database.path.read_bytes()


def test_what_a_reader_keeps_from_going_is_told(database: Database) -> None:
    pool = Pool(database, PoolConfig())
    pool.add([Document(f"{SECRET} zebra", "http://a/1")])
    assert database.fold()
    with database.read() as connection:
        connection.execute(select(tables.document)).all()
        removed(database, "http://a/1")
        assert not database.fold(0.1)
        assert b"zebra" in database.path.read_bytes()
    assert database.fold() and b"zebra" not in database.path.read_bytes()


def test_an_intake_that_is_under_way_leaves_it_removed(database: Database) -> None:
    pool = Pool(database, PoolConfig())
    pool.add([Document(SECRET, "http://a/1")])

    def unanswerable(documents: list[Document]) -> list[bool]:
        removed(database, "http://a/1")  # while the oracle thinks, nobody waits for it
        return [True for _ in documents]

    pool.intake(unanswerable)
    assert pool.counts()["removed"] == 1 and pool.counts()["aside"] == 0


def test_questions_about_it_are_withdrawn(either_database: Database) -> None:
    queue, ids = filled(either_database, 5)
    first, second, third, *_ = queue.claim("margin", "ada", 5)
    queue.answer(first.slot, first.token, "ada", "calm")
    queue.skip(third.slot, third.token, "ada")
    with either_database.write() as connection:
        removal.remove(connection, [one.document.id for one in (first, second, third)])
        assert slots.withdraw(connection) == {"answered": 1, "open": 1, "skipped": 1}
        assert not slots.withdraw(connection)
        late = [{"document_id": first.document.id, "kind": "policy", "position": 0}]
        queue.put(connection, "random", 2, late)  # it was chosen before, and is asked after
    assert queue.waiting("random") == 0 and queue.waiting("margin") == 2 and queue.labels("margin") == []
    with either_database.read() as connection:
        events = connection.execute(select(tables.answer.c.action, tables.answer.c.label)).all()
    assert events == [("answer", None), ("skip", None)], "what was said of it is gone"
    assert queue.spent("margin") == 1, "what was paid is paid"
    assert {one.document.id for one in queue.claim("margin", "ada", 5)} == set(ids) - {
        one.document.id for one in (first, second, third)
    }
    outcome = queue.answer(second.slot, second.token, "ada", "storm")
    assert not outcome.counts and not outcome.overruled and queue.labels("margin") == []
    assert not queue.skip(second.slot, second.token, "bob").counts
    assert queue.undo("ada", "margin") is None and queue.history("ada", "margin") == []
    with pytest.raises(DiscoverError, match="was withdrawn"):
        queue.correct(first.slot, "ada", CLASSES[0])


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory, small_encoder: Path) -> Path:
    """A run of two rounds of one arm."""
    folder = tmp_path_factory.mktemp("played")
    config = write_inputs(folder, documents=120, encoder=small_encoder)
    settings = json.loads(config.read_text())
    settings["loop"] = {}
    settings["query"]["strategy"] = "committee"  # it asks for the vectors of what was learned
    config.write_text(json.dumps(settings))
    play_rounds(config, folder / "run", 2).close()
    return folder / "run"


def test_a_run_goes_on_without_it(
    played: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(played, run)
    campaign = open_run(run)
    answered = campaign.queue.labels("committee")
    learned = next(row.document_id for row in answered if row.kind == "policy")
    unasked = next(row for row in campaign.pool.ids()[0].tolist() if row not in campaign.queue.asked("committee"))
    tested = campaign.pool.ids(split="test")[0].tolist()[0]
    gone = [learned, unasked, tested]
    names = [one.public_id for one in campaign.documents(split=None) if one.id in gone]
    spent, last = campaign.queue.spent("committee"), campaign.last_intake()
    judged = campaign.output("committee", 1, "evaluate")
    assert main(["remove", "--run", str(run), *names]) == 0
    said = capsys.readouterr().out
    assert "3 documents removed, 0 open questions withdrawn, 1 answers no longer learned" in said
    assert campaign.off_limits("committee") >= set(gone)
    monkeypatch.setattr(index_module, "COMPACT_FROM", 0.0)
    loop.run_rounds(campaign, 0)
    taught = load_file(run / "models" / campaign.latest_model("committee") / "model.safetensors")["taught.ids"]
    assert learned not in taught and len(taught) > 5, "a run that plays no round forgets it too"
    again = campaign.output("committee", 1, "evaluate")
    assert again["checksum"] == campaign.checksum("committee-0001") != judged["checksum"]
    assert len(again["truth"]) == len(judged["truth"]) - 1, "and what is shown is of the model that there now is"
    assert [row["round"] for row in campaign.metrics()] == [0, 1]
    loop.run_rounds(campaign, 1)
    loop.run_rounds(campaign, 1)
    assert len(campaign.retriever.store) == last["stored"] - 3
    assert campaign.queue.spent("committee") > spent
    index = campaign.retriever.index
    assert len(index) == last["stored"] - 3 == campaign.last_intake()["stored"]
    everything = index.search(index.store.rows(0, 1), 10**6)[1]
    assert not np.isin(everything, gone).any()
    with campaign.database.read() as connection:
        picked = connection.execute(
            select(tables.pick.c.document_id).join(tables.query).where(tables.query.c.round > 1)
        ).scalars()
        assert not set(picked) & set(gone)
    taught = load_file(run / "models" / campaign.latest_model("committee") / "model.safetensors")["taught.ids"]
    assert learned not in taught and len(taught) > 10
    rows = campaign.metrics()
    assert rows[-1]["pool"] == rows[1]["pool"] - 2
    campaign.close()
    assert main(["report", "--run", str(run)]) == 0 and main(["status", "--run", str(run)]) == 0
    assert "3 removed" in capsys.readouterr().out


def test_what_is_measured_again_are_the_test_documents_of_its_round(played: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(played, run)
    campaign = open_run(run)
    tested = campaign.output("committee", 1, "evaluate")["truth"]
    learned = next(row.document_id for row in campaign.queue.labels("committee") if row.kind == "policy")
    remove(campaign, [next(campaign.pool.documents([learned])).public_id])
    late = [
        Document(f"{SECRET} {number}", f"http://late/{number}", "", label=campaign.classes[0], split="test")
        for number in range(3)
    ]
    campaign.pool.add(late)
    loop.run_rounds(campaign, 0)
    assert campaign.output("committee", 1, "evaluate")["truth"] == tested
    loop.run_rounds(campaign, 1)
    assert len(campaign.output("committee", 2, "evaluate")["truth"]) == len(tested) + 3
    campaign.close()


def test_a_kill_while_it_is_forgotten_is_made_good(
    played: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(played, run)
    campaign = open_run(run)
    learned = next(row.document_id for row in campaign.queue.labels("committee") if row.kind == "policy")
    remove(campaign, [next(campaign.pool.documents([learned])).public_id])
    publish = registry.publish

    def killed(*given: Any) -> str:
        publish(*given)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(registry, "publish", killed)
        loop.run_rounds(campaign, 0)
    loop.run_rounds(campaign, 0)
    card = registry.check(run / "models" / "committee-0001")
    judged = campaign.output("committee", 1, "evaluate")
    assert card["sha256"] == campaign.checksum("committee-0001") == judged["checksum"]
    campaign.close()


def test_a_text_that_is_gone_cannot_be_read_from_a_file_that_is_open_elsewhere(played: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(played, run)
    campaign = open_run(run)
    document = next(campaign.documents())
    other = Database(campaign.database.path)  # as a loop or a queue would have, else SQLite folds its log by itself
    remove(campaign, [document.public_id])
    written = b"".join(path.read_bytes() for path in run.glob("discover.db*"))
    assert document.public_id.encode() in written and document.text[:40].encode() not in written
    other.close()
    campaign.close()


def test_explanations_of_others_do_not_cite_it(played: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(played, run)
    campaign: Campaign = open_run(run)
    cited, kept, question = [row.document_id for row in campaign.queue.labels("committee")[:3]]
    documents = {one.id: one for one in campaign.pool.documents([cited, kept, question])}
    nears = [{"id": documents[one].public_id, "text": documents[one].text} for one in (cited, kept)]
    explained = {str(question): {"neighbours": nears}, str(cited): {"neighbours": []}}
    with campaign.database.write() as connection:
        row = {"arm": "committee", "round": 1, "step": "explain", "output": {"explanations": explained}, "seconds": 0.0}
        connection.execute(tables.step.insert().values(**row))
    remove(campaign, [documents[cited].public_id])
    assert campaign.output("committee", 1, "explain") == {"explanations": {str(question): {"neighbours": nears[1:]}}}
    campaign.close()
