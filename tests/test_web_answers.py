"""The pages of the queue without a browser: what becomes of an answer, by one person or by many at once."""

import html
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from sqlalchemy import func, select
from starlette.testclient import TestClient

from discover import tables
from discover.db import Database
from discover.label.config import LabelConfig
from discover.label.queue import Queue
from discover.label.web.app import create_app
from discover.pool.labels import Multiclass, Multilabel
from tests.conftest import room_for
from tests.labeling import CLASSES, add_documents, filled
from tests.pages import CONFIG, SCRIPT, answers, check_refused, client_of, fields, named


def test_a_visitor_says_a_name_and_is_asked(database: Database) -> None:
    queue, _ = filled(database, 3)
    client = client_of(queue)
    assert "Who is labeling?" in client.get("/").text
    assert queue.claim("margin", "early", 3), "nothing is leased to the nameless"
    queue.release("early")
    page = client.post("/name", data={"name": "  Ada \u202e Lovelace "}).text
    assert "<bdi>Ada Lovelace</bdi>" in page and "text 0" in page and "http://site/0.html" in page
    assert "too much of it" in page and 'data-key="2"' in page
    assert client.post("/name", data={"name": " \u200b "}).status_code == 400
    assert "Who is labeling?" in client.post("/stop").text
    assert len(queue.claim("margin", "other", 3)) == 3, "stopping gives the questions back"


def test_answer_skip_undo_correct_without_a_script(database: Database) -> None:
    queue, ids = filled(database, 3)
    client = named(client_of(queue))
    page = client.post("/answer", data={**fields(client.get("/").text), "label": "storm"}).text
    assert "You said “storm”." in page and "1 of 20 labels" in page and "text 1" in page
    page = client.post("/skip", data=fields(page)).text
    assert "You skipped" in page and "round 1: 1 of 3 answered, 1 skipped" in page
    skipped = re.search(r'<form id="undo".*?name="slot" value="(\d+)"', page, re.DOTALL)
    page = client.post("/undo", data={"slot": skipped[1]}).text
    assert "text 1" in page and "You said “storm”." in page
    assert "text 1" in client.post("/undo", data={"slot": skipped[1]}).text, "a second click undoes no second answer"
    slot = fields(client.get("/").text)["slot"]
    assert "no answer" not in client.get("/answers").text
    assert client.post("/correct", data={"slot": slot, "label": "fog"}).status_code == 400
    page = client.post("/correct", data={"slot": "1", "label": "calm"}).text
    assert '<option value="calm" selected>calm</option>' in page
    assert {row.document_id: row.label for row in queue.labels("margin")} == {ids[0]: "calm"}
    assert [event[1:] for event in answers(database)] == [
        ("answer", "storm"),
        ("skip", None),
        ("undo", None),
        ("answer", "calm"),
    ]


def test_two_clicks_at_once_undo_one_answer(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    queue, ids = filled(database, 3)
    client = named(client_of(queue))
    for label in ("storm", "fog"):
        client.post("/answer", data={**fields(client.get("/").text), "label": label})
    undo, met = Queue.undo, threading.Barrier(2)

    def together(*given: Any) -> int | None:
        met.wait(5)  # both have come before either undoes anything
        return undo(*given)

    monkeypatch.setattr(Queue, "undo", together)
    clicks = [threading.Thread(target=client.post, args=("/undo",), kwargs={"data": {"slot": 2}}) for _ in range(2)]
    for click in clicks:
        click.start()
    for click in clicks:
        click.join()
    assert [(row.document_id, row.label) for row in queue.labels("margin")] == [(ids[0], "storm")]


def test_the_script_gets_the_next_question_with_each_answer(database: Database) -> None:
    queue, _ = filled(database, 4)
    client = named(client_of(queue))
    first, second = client.get("/questions").json()["questions"]
    sent = {"slot": first["slot"], "token": first["token"], "key": first["key"], "label": "fog"}
    for _ in range(2):  # sent twice, as after a lost reply
        state = client.post("/answer", data=sent, headers=SCRIPT).json()
        assert [q["slot"] for q in state["questions"]] == [second["slot"], second["slot"] + 1]
        assert (state["progress"]["value"], state["last"]["sentence"]) == (1.0, "You said “fog”.")
    assert answers(database) == [("Ada", "answer", "fog")]
    assert not {"kind", "label"} & set(second), "a question tells neither its kind nor an imported label"


def test_an_answer_that_is_overruled_is_told_so(database: Database) -> None:
    queue, _ = filled(database, 2)
    slow, quick = named(client_of(queue), "Slow"), named(client_of(queue), "Quick")
    late = fields(slow.get("/").text) | {"label": "fog"}
    queue.release("Slow")
    quick.post("/answer", data=fields(quick.get("/").text) | {"label": "calm"})
    page = slow.post("/answer", data=late).text
    assert "yours is kept, theirs counts" in page and 'id="notice" role="status" hidden' not in page
    assert "theirs counts" in slow.post("/answer", data=late, headers=SCRIPT).json()["notice"], "sent again, told again"
    assert "theirs counts" not in slow.get("/").text and quick.get("/questions").json()["notice"] == ""
    assert "theirs counts" not in slow.post("/skip", data=late | {"key": "f" * 32}).text, "a skip loses nothing"
    assert [row.label for row in queue.labels("margin")] == ["calm"]


def test_what_only_comes_twice_is_not_told_to_be_overruled(database: Database) -> None:
    queue, _ = filled(database, 1)
    client = named(client_of(queue))
    sent = fields(client.get("/").text) | {"label": "fog"}
    client.post("/answer", data=sent)
    client.post("/undo", data={"slot": sent["slot"]})
    assert client.post("/answer", data=sent, headers=SCRIPT).json()["notice"] == "", "an outbox that sends once more"


def test_two_annotators_never_see_the_same_question(database: Database) -> None:
    queue, _ = filled(database, 6)
    seen = [
        question["slot"]
        for name in ("Ada", "Bob", "Cy")
        for question in named(client_of(queue), name).get("/questions").json()["questions"]
    ]
    assert sorted(seen) == [1, 2, 3, 4, 5, 6]
    page = named(client_of(queue), "Dee").get("/").text
    assert "The remaining questions are with other annotators." in page and 'http-equiv="refresh"' in page


@contextmanager
def serving(app) -> Iterator[str]:
    """A real uvicorn in a thread; yields its address."""
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", ws="none", lifespan="off")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def test_it_runs_under_uvicorn_and_two_dozen_people_label_at_once(database: Database) -> None:
    queue, _ = filled(database, 48)
    app = create_app(queue, "margin", CONFIG, dict)
    acknowledged: list[tuple[int, str]] = []

    def label(address: str, name: str) -> None:
        with httpx.Client(base_url=address, headers=SCRIPT, follow_redirects=True, timeout=60) as client:
            client.post("/name", data={"name": name})
            while questions := client.get("/questions").json()["questions"]:
                question = questions[0]
                sent = {name: question[name] for name in ("slot", "token", "key")}
                client.post("/answer", data={**sent, "label": CLASSES[question["slot"] % 3]}).raise_for_status()
                acknowledged.append((question["slot"], CLASSES[question["slot"] % 3]))

    with serving(app) as address:
        people = [threading.Thread(target=label, args=(address, f"person {i}")) for i in range(24)]
        for person in people:
            person.start()
        for person in people:
            person.join()
        monitored = httpx.head(address, headers={"Host": "127.0.0.1"})
        assert monitored.is_success and not monitored.content
    with database.read() as connection:
        stored = select(tables.slot.c.id, tables.slot.c.label).where(tables.slot.c.state == "answered")
        assert sorted(tuple(row) for row in connection.execute(stored)) == sorted(acknowledged)
        assert connection.execute(select(func.count()).select_from(tables.answer)).scalar() == 48


SEVERAL = LabelConfig(task="multilabel", classes={"calm": "no wind", "storm": "too much of it", "fog": ""}, budget=20)
ALL = Multilabel(tuple(SEVERAL.classes))


def asked_for_several(database: Database, n: int = 3, **options) -> tuple[Queue, TestClient]:
    queue = Queue(database, 30, ALL)
    ids = add_documents(database, n)
    with database.write() as connection:
        rows = [{"document_id": ids[i], "kind": "policy", "position": i} for i in range(n)]
        queue.put(connection, "margin", 1, rows)
    return queue, named(client_of(queue, config=SEVERAL, **options))


def test_a_database_that_fails_is_no_refusal_so_that_the_answer_is_sent_again(database: Database) -> None:
    queue, ids = filled(database, 2)
    client = named(client_of(queue))
    sent = {**fields(client.get("/").text), "label": "fog"}
    with room_for(0):
        reply = client.post("/answer", data=sent, headers=SCRIPT)
        assert reply.status_code == 503 and "cannot be used" in reply.json()["error"]
        assert "cannot be used" in client.post("/answer", data=sent).text
    assert client.post("/answer", data=sent, headers=SCRIPT).status_code == 200
    assert [(row.document_id, row.label) for row in queue.labels("margin")] == [(ids[0], "fog")]


def test_several_labels_are_ticked_and_saved_without_a_script(database: Database) -> None:
    queue, client = asked_for_several(database, suggest=lambda _: ('["calm", "fog"]', 0.617))
    page = client.get("/").text
    assert page.count('<input type="checkbox" name="label"') == 3 and 'data-key="3"' in page
    assert 'id="none" name="label" value="none of these"' in page and 'aria-keyshortcuts="0"' in page
    page = client.post("/answer", data={**fields(page), "label": ["storm", "fog"]}).text
    assert "You said “fog”, “storm”. The model’s guess: “calm”, “fog” (62%)." in html.unescape(page)
    page = client.post("/answer", data={**fields(page), "label": "none of these"}).text
    assert "You said “none of these”." in page
    page = client.post("/skip", data=fields(page)).text
    assert {row.label for row in queue.labels("margin")} == {'["fog", "storm"]', '["none of these"]'}
    page = client.get("/answers").text
    assert len(re.findall("<option[^>]* selected>", page)) == 3, (
        "two of the first answer, none of these of the second, the skip none"
    )
    client.post("/correct", data={"slot": "2", "label": ["calm", "storm"]})
    assert {row.label for row in queue.labels("margin")} == {'["fog", "storm"]', '["calm", "storm"]'}


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ([], "tick what fits, or say “none of these”"),
        (["calm", "hail"], "“hail” is none of the labels"),
        (["calm", "none of these"], "goes with no other label"),
    ],
)
def test_an_answer_of_several_labels_that_says_nothing_or_too_much(database: Database, label, message: str) -> None:
    _, client = asked_for_several(database)
    check_refused(client, label, message)
    assert answers(database) == []


def test_answers_beyond_the_latest_hundred_are_found_and_corrected(database: Database) -> None:
    queue, ids = filled(database, 103)
    for question in queue.claim("margin", "Ada", 103):
        queue.answer(question.slot, question.token, "Ada", "calm")
    client = named(client_of(queue))
    newest = client.get("/answers").text
    assert "1 to 100, newest first" in newest and 'href="/answers?skip=100"' in newest and "Newer" not in newest
    older = client.get("/answers?skip=100").text
    assert [f'id="slot-{slot}"' in older for slot in (1, 2, 3, 4)] == [True, True, True, False]
    assert "101 to 103, newest first" in older and 'href="/answers?skip=0"' in older and "Older" not in older
    assert client.post("/correct", data={"slot": "1", "label": "storm"}).status_code == 200
    assert {row.label for row in queue.labels("margin") if row.document_id == ids[0]} == {"storm"}
    assert 'id="slot-1"' in client.get("/answers").text  # what was corrected is the newest
    reply = named(client_of(queue), "Bob").post("/correct", data={"slot": "2", "label": "storm"})
    assert reply.status_code == 400 and "question 2 is not among your answers" in reply.text


def test_one_label_is_one_label(database: Database) -> None:
    queue, _ = filled(database, 1)
    client = named(client_of(queue))
    for label in (["storm", "fog"], ["none of these"]):
        assert client.post("/answer", data={**fields(client.get("/").text), "label": label}).status_code == 400
    assert answers(database) == []


def test_a_name_of_two_lines_can_be_given(database: Database) -> None:
    queue, _ = filled(database, 2)
    queue.accepted = Multiclass(("very\ncalm", "storm"))
    client = named(client_of(queue, config=LabelConfig(classes=list(queue.accepted.classes))))
    sent = {**fields(client.get("/").text), "label": "very\r\ncalm"}  # as a form is sent, which a script need not do
    assert client.post("/answer", data=sent).status_code == 200
    assert '<option value="very\ncalm" selected>' in client.get("/answers").text
    client.post("/correct", data={"slot": sent["slot"], "label": "storm"})
    client.post("/correct", data={"slot": sent["slot"], "label": "very\r\ncalm"})
    assert [label for *_, label in answers(database)] == ["very\ncalm", "storm", "very\ncalm"]
