"""The labeling queue: leases, answers, skips, undo, corrections, on SQLite and PostgreSQL, and many at once."""

import multiprocessing
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import event, select, update

from discover import tables
from discover.db import Database
from discover.errors import DiscoverError
from discover.label.questions import Labelled, Past, Tally
from discover.label.queue import Queue
from discover.pool.labels import Multiclass
from tests.labeling import CLASSES, add_documents, filled


@pytest.fixture(params=["sqlite", "postgres"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database, of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'queue.db'}"
    return str(request.getfixturevalue("postgres_address"))


@pytest.fixture
def opened(address: str):
    database = Database(address)
    yield database
    database.close()


def events(database: Database) -> list[tuple[int, str, str, str | None]]:
    columns = (tables.answer.c.slot_id, tables.answer.c.annotator, tables.answer.c.action, tables.answer.c.label)
    with database.read() as connection:
        return [tuple(row) for row in connection.execute(select(*columns).order_by(tables.answer.c.id))]


def test_questions_come_in_order_and_answers_are_kept(opened: Database) -> None:
    queue, ids = filled(opened, 3)
    with opened.write() as connection:
        queue.put(connection, "random", 1, [{"document_id": ids[2], "kind": "policy", "position": 0}])
    asked = queue.claim("margin", "ada", 3)
    assert [question.document.id for question in asked] == ids
    assert asked[0].document.sources == ["http://site/0.html"]
    assert not hasattr(asked[0], "kind")
    for question, label in zip(asked, CLASSES, strict=True):
        assert queue.answer(question.slot, question.token, "ada", label).counts
    expected = sorted(zip(ids, CLASSES, strict=True), key=lambda pair: public_id(opened, pair[0]))
    assert queue.labels("margin") == [Labelled(i, label, "policy", "", 1, "ada") for i, label in expected]
    assert queue.labels("random") == []
    assert (queue.spent("margin"), queue.waiting("margin"), queue.waiting("random")) == (3.0, 0, 1)
    assert queue.asked("random") == {ids[2]}
    assert queue.claim("margin", "ada") == []


def test_labels_that_were_imported_are_found_by_their_index(opened: Database) -> None:
    rows = [
        {"public_id": f"{n:032x}", "text": "text", "state": "pool", "found": 0.0, "label": None if n % 100 else "fog"}
        for n in range(2000)
    ]
    with opened.write() as connection:
        connection.execute(tables.document.insert(), rows)
        if not opened.sqlite:
            connection.exec_driver_sql("ANALYZE")  # as the server does by itself in time
    executed: list[tuple[str, Any]] = []
    event.listen(opened.engine, "before_cursor_execute", lambda *call: executed.append(call[2:4]))
    assert Queue(opened, 30, Multiclass(tuple(CLASSES))).behind("margin")
    statement, values = executed[-1]
    with opened.read() as connection:
        explain = "EXPLAIN QUERY PLAN" if opened.sqlite else "EXPLAIN"
        plan = str(connection.exec_driver_sql(f"{explain} {statement}", values).all())
    assert "document_labelled" in plan and "state" in plan and "split" in plan, plan


def public_id(database: Database, document_id: int) -> str:
    with database.read() as connection:
        wanted = select(tables.document.c.public_id).where(tables.document.c.id == document_id)
        return str(connection.execute(wanted).scalar())


def test_putting_twice_asks_once(opened: Database) -> None:
    queue, ids = filled(opened, 2)
    with opened.write() as connection:
        queue.put(connection, "margin", 2, [{"document_id": ids[0], "kind": "audit", "part": "decide", "position": 0}])
    assert queue.tallies("margin") == [Tally(1, 0, 0, 2)]


def test_two_people_never_hold_the_same_question_and_one_keeps_theirs(opened: Database) -> None:
    queue, _ = filled(opened, 3)
    (ada,) = queue.claim("margin", "ada")
    bob = queue.claim("margin", "bob", 3)
    assert len(bob) == 2 and ada.slot not in {question.slot for question in bob}
    assert queue.claim("margin", "ada", 3) == [ada]
    queue.release("bob")
    assert [question.slot for question in queue.claim("margin", "ada", 3)] == [ada.slot, *(q.slot for q in bob)]


@pytest.mark.timeout(60)
def test_a_claim_passes_by_what_another_is_claiming_right_now(postgres_address: str) -> None:
    database = Database(postgres_address)
    queue, _ = filled(database, 2)
    with database.engine.begin() as connection:
        connection.execute(select(tables.slot.c.id).where(tables.slot.c.id == 1).with_for_update())
        assert [question.slot for question in queue.claim("margin", "bob")] == [2]
    database.close()


def test_late_answer_counts_unless_someone_answered(opened: Database) -> None:
    queue, _ = filled(opened, 1, minutes=1e-6)
    (slow,) = queue.claim("margin", "slow")
    time.sleep(0.01)
    (quick,) = queue.claim("margin", "quick")
    assert quick.slot == slow.slot and quick.token != slow.token
    assert queue.answer(slow.slot, slow.token, "slow", "fog").counts
    assert not queue.answer(quick.slot, quick.token, "quick", "calm").counts
    assert [row.label for row in queue.labels("margin")] == ["fog"]
    assert [event[1:] for event in events(opened)] == [("slow", "answer", "fog"), ("quick", "answer", "calm")]
    assert queue.spent("margin") == 1.0


def test_skip_under_a_lost_lease_leaves_the_question_to_its_holder(opened: Database) -> None:
    queue, _ = filled(opened, 1, minutes=1e-6)
    (slow,) = queue.claim("margin", "slow")
    time.sleep(0.01)
    holder = Queue(opened, 30)
    (quick,) = holder.claim("margin", "quick")
    assert not queue.skip(slow.slot, slow.token, "slow").counts
    assert holder.answer(quick.slot, quick.token, "quick", "calm").counts


def test_skip_is_free_and_not_asked_again(opened: Database) -> None:
    queue, ids = filled(opened, 1)
    (question,) = queue.claim("margin", "ada")
    assert queue.skip(question.slot, question.token, "ada").counts
    assert queue.claim("margin", "bob") == []
    assert (queue.spent("margin"), queue.waiting("margin")) == (0.0, 0)
    assert queue.asked("margin") == set(ids)
    queue.skip(question.slot, question.token, "ada")
    assert len(events(opened)) == 1


def test_double_submit_changes_nothing(opened: Database) -> None:
    queue, _ = filled(opened, 2)
    first, second = queue.claim("margin", "ada", 2)
    for label in ("fog", "fog", "calm"):  # one form, sent three times: its first arrival counts
        assert queue.answer(first.slot, first.token, "ada", label, key="one").counts
    queue.answer(second.slot, second.token, "ada", "fog")
    queue.answer(second.slot, second.token, "ada", "fog")
    assert [event[3] for event in events(opened)] == ["fog", "fog"]
    assert queue.spent("margin") == 2.0
    with pytest.raises(DiscoverError, match="was used for question"):
        queue.answer(second.slot, second.token, "ada", "fog", key="one")


def test_own_second_answer_replaces_the_first(opened: Database) -> None:
    queue, _ = filled(opened, 1)
    (question,) = queue.claim("margin", "ada")
    queue.answer(question.slot, question.token, "ada", "fog", key="tab one")
    queue.answer(question.slot, question.token, "ada", "calm", key="tab two")
    assert [row.label for row in queue.labels("margin")] == ["calm"]
    assert queue.spent("margin") == 1.0


def test_undo_goes_back_step_by_step_and_leases_the_question(opened: Database) -> None:
    queue, _ = filled(opened, 4)
    first, second, third = queue.claim("margin", "ada", 3)
    queue.answer(first.slot, first.token, "ada", "fog")
    queue.skip(second.slot, second.token, "ada")
    assert queue.undo("bob", "margin") is None and queue.undo("ada", "random") is None
    assert queue.undo("ada", "margin") == second.slot
    (again,) = queue.claim("margin", "ada")
    assert again.slot == second.slot and again.token != second.token
    assert third.slot in {question.slot for question in queue.claim("margin", "bob", 9)}  # given back
    assert queue.undo("ada", "margin", second.slot) is None, "it is open again"
    assert queue.undo("ada", "margin", first.slot) == first.slot
    assert queue.undo("ada", "margin") is None
    assert (queue.spent("margin"), queue.labels("margin")) == (0.0, [])
    assert [event[2] for event in events(opened)] == ["answer", "skip", "undo", "undo"]


def test_correction_changes_the_label_and_keeps_the_event(opened: Database) -> None:
    queue, ids = filled(opened, 2)
    question, skipped = queue.claim("margin", "ada", 2)
    with pytest.raises(DiscoverError, match="no answer to correct"):
        queue.correct(question.slot, "ada", "calm")
    queue.answer(question.slot, question.token, "ada", "fog")
    queue.skip(skipped.slot, skipped.token, "ada")
    queue.correct(question.slot, "ada", "storm")
    queue.correct(question.slot, "ada", "storm")
    queue.correct(skipped.slot, "ada", "calm")
    assert {row.document_id: row.label for row in queue.labels("margin")} == {ids[0]: "storm", ids[1]: "calm"}
    assert queue.spent("margin") == 2.0
    assert [event[3] for event in events(opened)] == ["fog", None, "storm", "calm"]
    newest, older = queue.history("ada", "margin")
    assert newest == Past(skipped.slot, ids[1], "calm", "", skipped.document.text)
    assert (older.slot, older.label) == (question.slot, "storm")
    assert queue.history("bob", "margin") == []


def test_refusals_say_what_is_wrong(opened: Database) -> None:
    queue, _ = filled(opened, 2)
    one, two = queue.claim("margin", "ada", 2)
    with pytest.raises(DiscoverError, match="none of the 3 labels"):
        queue.answer(one.slot, one.token, "ada", "hail")
    with pytest.raises(DiscoverError, match="none of the 3 labels"):
        queue.correct(one.slot, "ada", "hail")
    with pytest.raises(DiscoverError, match="not given to question"):
        queue.answer(one.slot, two.token, "ada", "fog")
    with pytest.raises(DiscoverError, match="no question 99"):
        queue.skip(99, one.token, "ada")
    with pytest.raises(DiscoverError, match="1 to 64 characters"):
        queue.claim("margin", " ")
    assert events(opened) == [] and queue.waiting("margin") == 2


def test_words_are_paid_for_where_the_budget_counts_them(opened: Database) -> None:
    by_labels, _ = filled(opened, 3)
    queue = Queue(opened, 30, by_labels.accepted, by_words=True)
    lengths = {one.slot: len(one.document.text.split()) for one in queue.claim("margin", "ada", 3)}
    assert queue.owed("margin") == sum(lengths.values()) > by_labels.owed("margin") == 3
    first, second, third = queue.claim("margin", "ada", 3)
    queue.answer(first.slot, first.token, "ada", CLASSES[0])
    queue.skip(second.slot, second.token, "ada")
    assert (queue.spent("margin"), queue.owed("margin")) == (lengths[first.slot], lengths[third.slot])
    queue.correct(first.slot, "ada", CLASSES[1])
    queue.correct(second.slot, "ada", CLASSES[1])
    assert queue.spent("margin") == lengths[first.slot] + lengths[second.slot] and queue.unit == "words"


def test_imported_labels_cost_nothing_and_seed_each_arm_once(opened: Database) -> None:
    queue = Queue(opened, 30, Multiclass(tuple(CLASSES)))
    known = add_documents(opened, 3, label="fog")
    add_documents(opened, 2, label="hail")
    add_documents(opened, 2, label="calm", split="test")
    add_documents(opened, 2, label="calm", state="duplicate")
    add_documents(opened, 2)
    for expected in (3, 0):
        assert queue.behind("margin") == (expected > 0)
        with opened.write() as connection:
            assert queue.seed_imported("margin", connection) == expected
    assert {(row.document_id, row.label, row.kind, row.annotator) for row in queue.labels("margin")} == {
        (document_id, "fog", "import", "import") for document_id in known
    }
    assert (queue.spent("margin"), queue.waiting("margin"), queue.tallies("margin")) == (0.0, 0, [])
    with opened.read() as connection:
        ordered = (
            select(tables.document.c.public_id, tables.slot.c.id).join(tables.slot).order_by(tables.slot.c.position)
        )
        slots = connection.execute(ordered).all()
    assert [row.public_id for row in slots] == sorted(row.public_id for row in slots)
    queue.correct(slots[0].id, "ada", "storm")
    assert [row.label for row in queue.labels("margin")] == ["storm", "fog", "fog"]
    assert queue.spent("margin") == 0.0


def test_an_imported_label_that_another_contradicts_is_taken_back_unless_corrected(opened: Database) -> None:
    queue = Queue(opened, 30, Multiclass(tuple(CLASSES)))
    first, second, third = add_documents(opened, 3, label="fog")
    with opened.write() as connection:
        queue.seed_imported("margin", connection)
    with opened.read() as connection:
        slots = dict(map(tuple, connection.execute(select(tables.slot.c.document_id, tables.slot.c.id))))
    queue.correct(slots[second], "ada", "storm")
    with opened.write() as connection:
        connection.execute(update(tables.document).where(tables.document.c.id != third).values(label=None))
    assert queue.behind("margin")
    with opened.write() as connection:
        assert queue.seed_imported("margin", connection) == 0
    assert {row.document_id: row.label for row in queue.labels("margin")} == {second: "storm", third: "fog"}
    assert queue.asked("margin") == {first, second, third} and not queue.behind("margin")
    assert queue.spent("margin") == queue.waiting("margin") == 0


def test_an_imported_label_answers_what_was_skipped_unless_it_measures_or_was_taken_back(opened: Database) -> None:
    queue, (skipped, answered, waiting) = filled(opened, 3)
    (audited,), (taken,) = add_documents(opened, 1, title="audited"), add_documents(opened, 1, label="calm")
    with opened.write() as connection:
        rows = [{"document_id": audited, "kind": "audit", "part": "decide", "position": 0}]
        queue.put(connection, "margin", 2, rows)
        queue.seed_imported("margin", connection)
    asked = {question.document.id: question for question in queue.claim("margin", "ada", 4)}
    for row_id in (skipped, audited):
        queue.skip(asked[row_id].slot, asked[row_id].token, "ada")
    queue.answer(asked[answered].slot, asked[answered].token, "ada", "storm")
    with opened.write() as connection:
        connection.execute(update(tables.document).where(tables.document.c.id == taken).values(label=None))
        queue.seed_imported("margin", connection)
        connection.execute(update(tables.document).values(label="fog"))
    assert queue.behind("margin")
    for expected in (1, 0):
        with opened.write() as connection:
            assert queue.seed_imported("margin", connection) == expected
    standing = {row.document_id: (row.label, row.kind, row.annotator, row.round) for row in queue.labels("margin")}
    assert standing == {skipped: ("fog", "import", "import", 1), answered: ("storm", "policy", "ada", 1)}
    assert not queue.behind("margin") and (queue.spent("margin"), queue.waiting("margin")) == (1.0, 1)
    assert queue.asked("margin") == {skipped, answered, waiting, audited, taken}
    assert queue.undo("ada", "margin") == asked[answered].slot and queue.undo("ada", "margin") == asked[audited].slot
    assert queue.undo("ada", "margin") is None, "the skip no longer stands"


class Model:
    """The queue in plain Python, one dictionary a slot, to compare with."""

    def __init__(self, n: int):
        self.slots = [{"state": "open", "owner": "", "label": None, "by": "", "last": 0} for _ in range(n)]
        self.clock = 0

    def claim(self, who: str) -> int | None:
        free = [i for i, s in enumerate(self.slots) if s["state"] == "open" and s["owner"] in ("", who)]
        if not free:
            return None
        chosen = min(free, key=lambda i: (self.slots[i]["owner"] != who, i))
        self.slots[chosen]["owner"] = who
        return chosen

    def settle(self, i: int, who: str, label: str | None) -> None:
        self.clock += 1
        state = "skipped" if label is None else "answered"
        self.slots[i].update(state=state, owner="", label=label, by=who, last=self.clock)

    def undo(self, who: str) -> int | None:
        mine = [i for i, s in enumerate(self.slots) if s["by"] == who and s["state"] != "open"]
        if not mine:
            return None
        for slot in self.slots:
            if slot["owner"] == who and slot["state"] == "open":
                slot["owner"] = ""
        last = max(mine, key=lambda i: self.slots[i]["last"])
        self.slots[last].update(state="open", owner=who, label=None, by="")
        return last


@pytest.mark.parametrize("seed", range(3))
def test_random_walks_agree_with_a_plain_model(opened: Database, seed: int) -> None:
    rng = np.random.default_rng(seed)
    queue, ids = filled(opened, 12)
    model = Model(12)
    held: dict[str, tuple[int, str]] = {}
    for _ in range(40):
        who = str(rng.choice(["ada", "bob"]))
        action = rng.choice(["answer", "answer", "skip", "undo", "release", "correct"])
        if action in ("answer", "skip"):
            questions = queue.claim("margin", who)
            expected = model.claim(who)
            assert [ids.index(q.document.id) for q in questions] == ([] if expected is None else [expected])
            if not questions:
                continue
            held[who] = (questions[0].slot, questions[0].token)
            label = str(rng.choice(CLASSES)) if action == "answer" else None
            if label is None:
                assert queue.skip(*held[who], who).counts
            else:
                assert queue.answer(*held[who], who, label).counts
            model.settle(expected, who, label)
        elif action == "undo":
            undone, expected = queue.undo(who, "margin"), model.undo(who)
            assert (undone is None) == (expected is None)
        elif action == "release":
            queue.release(who)
            for slot in model.slots:
                slot["owner"] = "" if slot["owner"] == who else slot["owner"]
        else:
            answered = [past for past in queue.history(who, "margin") if past.label is not None]
            if answered and answered[-1].label != "calm":
                queue.correct(answered[-1].slot, who, "calm")
                model.settle(ids.index(answered[-1].document_id), who, "calm")
        stands = {ids.index(row.document_id): row.label for row in queue.labels("margin")}
        assert stands == {i: s["label"] for i, s in enumerate(model.slots) if s["state"] == "answered"}
        assert queue.spent("margin") == len(stands)
        assert queue.waiting("margin") == sum(s["state"] == "open" for s in model.slots)


def label_everything(address: str, who: str, acknowledged: "multiprocessing.Queue[tuple[int, str, str]]") -> None:
    """One annotator's process: claim, answer, sometimes twice, until nothing is left."""
    database = Database(address)
    queue = Queue(database, 30, Multiclass(tuple(CLASSES)))
    while questions := queue.claim("margin", who, 2):
        for question in questions:
            label = CLASSES[question.slot % 3]
            for _ in range(1 + question.slot % 2):  # every second answer is sent twice
                outcome = queue.answer(question.slot, question.token, who, label, key=f"{who}-{question.slot}")
            acknowledged.put((question.slot, who, label if outcome.counts else "lost"))
    acknowledged.put((-1, who, ""))
    database.close()


def test_many_processes_at_once_lose_nothing_and_double_nothing(address: str) -> None:
    n, people = 60, ["ada", "bob", "cy", "dee"]
    database = Database(address)
    queue, _ = filled(database, n)
    spawn = multiprocessing.get_context("spawn")
    acknowledged = spawn.Queue()
    workers = [spawn.Process(target=label_everything, args=(address, who, acknowledged)) for who in people]
    for worker in workers:
        worker.start()
    said, running = [], len(workers)
    while running:
        item = acknowledged.get(timeout=60)
        running -= item[0] == -1
        said += [item] if item[0] != -1 else []
    for worker in workers:
        worker.join()
    assert Counter(slot for slot, _, _ in said) == Counter(range(1, n + 1))  # none given to two people
    assert sorted((slot, who, "answer", label) for slot, who, label in said) == sorted(events(database))
    assert queue.spent("margin") == n and queue.waiting("margin") == 0
    assert Counter(row.label for row in queue.labels("margin")) == Counter(label for _, _, label in said)
    database.close()
