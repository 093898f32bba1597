"""The pages of the queue without a browser: what each form does, what is refused, and what never happens."""

import asyncio
import html
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
import uvicorn
from sqlalchemy import func, select
from starlette.testclient import TestClient
from starlette.types import Message

from discover import tables
from discover.db import Database
from discover.label.config import LabelConfig
from discover.label.queue import Queue
from discover.label.web.app import create_app
from discover.label.web.desk import KEYS, SHOWN_CHARACTERS, Desk
from discover.label.web.guard import BODY_BYTES, Guard
from discover.pool.labels import Multilabel
from tests.conftest import room_for
from tests.labeling import CLASSES, add_documents, filled

CONFIG = LabelConfig(classes={"calm": "no wind", "storm": "too much of it", "fog": ""}, budget=20)
SCRIPT = {"Accept": "application/json"}


def client_of(queue: Queue, **options) -> TestClient:
    config = options.pop("config", CONFIG)
    app = create_app(queue, "margin", config, options.pop("progress", dict), options.pop("suggest", None), **options)
    return TestClient(app, base_url="http://localhost", follow_redirects=True)


def named(client: TestClient, name: str = "Ada") -> TestClient:
    client.post("/name", data={"name": name})
    return client


def fields(page: str) -> dict[str, str]:
    """The hidden fields of the page's answer form."""
    form = re.search(r'<form id="answer".*?</form>', page, re.DOTALL)
    assert form
    return {name: html.unescape(value) for name, value in re.findall(r'name="(\w+)" value="([^"]*)">', form[0])}


def answers(database: Database) -> list[tuple[str, str, str | None]]:
    columns = (tables.answer.c.annotator, tables.answer.c.action, tables.answer.c.label)
    with database.read() as connection:
        return [tuple(row) for row in connection.execute(select(*columns).order_by(tables.answer.c.id))]


def check_refused(client: TestClient, label: str | list[str], message: str) -> None:
    """An answer, as a form or from the script, and a correction."""
    sent = {**fields(client.get("/").text), "label": label}
    reply = client.post("/answer", data=sent)
    assert reply.status_code == 400 and message in html.unescape(reply.text)
    assert message in client.post("/answer", data=sent, headers=SCRIPT).json()["error"]
    assert client.post("/correct", data={"slot": sent["slot"], "label": label}).status_code == 400


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
    assert "<option selected>calm</option>" in page
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


def test_nothing_to_ask_is_friendly(database: Database) -> None:
    queue = Queue(database, 30)
    assert "The next batch is being chosen." in named(client_of(queue)).get("/").text
    assert "Thank you!" in named(client_of(queue, progress=lambda: {"finished": True})).get("/").text
    page = named(client_of(queue, progress=lambda: {"accuracy": 0.714, "low": 0.62, "high": 0.79})).get("/").text
    assert "estimated accuracy 71% (62% to 79%)" in page
    assert "estimated accuracy 71%<" in named(client_of(queue, progress=lambda: {"accuracy": 0.714})).get("/").text


def test_the_guess_is_shown_after_the_answer_to_audit_questions_alike(database: Database) -> None:
    queue = Queue(database, 30)
    ids = add_documents(database, 2)
    with database.write() as connection:
        audit = {"document_id": ids[1], "kind": "audit", "part": "report", "position": 1}
        queue.put(connection, "margin", 1, [{"document_id": ids[0], "kind": "policy", "position": 0}, audit])
    asked: list[int] = []

    def suggest(document):
        asked.append(document)
        return "fog", 0.617

    client = named(client_of(queue, suggest=suggest))
    page = client.get("/").text
    assert "guess" not in page and asked == []
    page = client.post("/answer", data={**fields(page), "label": "storm"}).text
    assert "The model’s guess: “fog” (62%)." in page and asked == [ids[0]]
    page = client.post("/answer", data={**fields(page), "label": "calm"}).text
    assert "You said “calm”. The model’s guess: “fog” (62%)." in page and asked == ids
    assert "guess" not in named(client_of(queue, suggest=lambda _: None)).get("/").text


def test_why_is_shown_with_the_guess_and_only_as_text(database: Database) -> None:
    queue, ids = filled(database, 3)
    evil = "<script>alert(1)</script>"
    near = [{"label": "fog", "pieces": [["a ", 0, False], [evil, 0, True]]}]
    marks = [[evil, 4, True], [" so ", 0, False], ["no", -1, False]]
    why = [{"label": evil, "pieces": marks, "neighbours": near}, {"label": "other", "pieces": [], "neighbours": []}]
    asked: list[int] = []

    def explain(document):
        asked.append(document)
        return why

    client = named(client_of(queue, explain=explain))
    page = client.get("/").text
    assert asked == [] and '<details id="why" hidden>' in page
    sent = {**fields(page), "label": "storm"}
    page = client.post("/answer", data=sent).text
    assert asked == [ids[0]] and '<details id="why" >' in page and "<script>alert" not in page
    marked = html.escape(evil)
    assert f'<mark class="for4 held">{marked}</mark> so <mark class="against1">no</mark>' in page
    assert f'<li dir="auto"><b>fog</b> a <mark class="held">{marked}</mark></li>' in page
    assert "<bdi>other</bdi>" in page
    assert client.get("/questions").json()["last"]["why"] == why
    page = client.post("/skip", data=fields(page)).text
    assert '<details id="why" hidden>' in page and asked == [ids[0]] * 2, "what was skipped is not explained"
    assert '<details id="why" hidden>' in named(client_of(queue, explain=lambda _: []), "Bob").get("/").text


def test_texts_are_only_ever_text(database: Database) -> None:
    queue = Queue(database, 30)
    evil = "<script>alert(1)</script>{{ 7 * 7 }}<img src=x onerror=alert(1)>"
    ids = add_documents(database, 1, text=evil, title=evil, label=evil)
    with database.write() as connection:
        queue.put(connection, "margin", 1, [{"document_id": ids[0], "kind": "policy", "position": 0}])
    config = LabelConfig(classes={'"><script>x': "<b>", "b&c": ""}, question="<i>?")
    client = named(client_of(queue, config=config), "<b onclick=x>")
    page = client.get("/").text
    client.post("/answer", data={**fields(page), "label": '"><script>x'})
    for shown in (page, client.get("/").text, client.get("/answers").text):
        assert "{{ 7" in shown or "7 * 7" not in shown
        assert not re.search(r"<script>|<img|<i>\?|<b onclick|<b>(?!&lt;|b&amp;c)<", shown)
    assert [row.label for row in queue.labels("margin")] == ['"><script>x']


def test_long_texts_are_cut_but_all_there(database: Database) -> None:
    queue = Queue(database, 30)
    text = " ".join(f"word{i}" for i in range(2000))
    ids = add_documents(database, 1, text=text)
    with database.write() as connection:
        queue.put(connection, "margin", 1, [{"document_id": ids[0], "kind": "policy", "position": 0}])
    client = named(client_of(queue))
    (question,) = client.get("/questions").json()["questions"]
    assert question["text"] + question["rest"] == text and len(question["text"]) <= SHOWN_CHARACTERS
    assert f"Show all {len(text):,} characters" in client.get("/").text


def test_77_classes_have_as_many_keys_as_there_are(database: Database) -> None:
    config = LabelConfig(classes=[f"class {i}" for i in range(77)])
    keys = [label["key"] for label in Desk(Queue(database, 30), "margin", config, dict).labels()]
    assert keys[:10] == [*"123456789a"] and keys[len(KEYS) :] == [""] * (77 - len(KEYS))
    assert len(set(KEYS)) == len(KEYS) and not set("su") & set(KEYS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": "hail"}, "is none of the labels"),
        ({"slot": "99"}, "no question 99"),
        ({"slot": "2"}, "not given to question 2"),
        ({"slot": "9" * 30}, "slot"),
        ({"slot": "x"}, "slot"),
        ({"token": "0" * 32}, "not given to question"),
        ({"key": "short"}, "key"),
        ({"key": None}, "key"),
        ({"label": None}, "label"),
    ],
)
def test_bad_forms_get_one_sentence_and_change_nothing(database: Database, change: dict, message: str) -> None:
    queue, _ = filled(database, 3)
    client = named(client_of(queue))
    sent = {**fields(client.get("/").text), "label": "fog", **change}
    sent = {name: value for name, value in sent.items() if value is not None}
    reply = client.post("/answer", data=sent)
    assert reply.status_code == 400 and message in html.unescape(reply.text) and "That did not work" in reply.text
    assert message in client.post("/answer", data=sent, headers=SCRIPT).json()["error"]
    assert answers(database) == []


def test_the_nameless_and_the_lost_are_told(database: Database) -> None:
    client = client_of(Queue(database, 30))
    assert client.get("/questions", headers=SCRIPT).status_code == 401
    assert "Who is labeling?" in client.post("/answer", data={}).text
    reply = client.get("/nowhere")
    assert reply.status_code == 404 and "/nowhere: not found" in reply.text
    assert client.get("/docs").status_code == client.get("/openapi.json").status_code == 404


def test_every_reply_is_strict(database: Database) -> None:
    client = named(client_of(Queue(database, 30)))
    for path in ("/", "/answers", "/questions", "/static/queue.js", "/static/style.css", "/nowhere"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy
        assert headers["cache-control"] == "no-store" and headers["x-content-type-options"] == "nosniff"
    page = client.get("/").text + client.get("/answers").text
    assert not re.search(r'(?:src|href|action)="(?!/)', page), "nothing comes from elsewhere"
    assert not re.search(r"<style|style=|\son\w+=|<script(?! src=)", page), "nothing is inline"
    cookie = client.post("/name", data={"name": "Ada"}, follow_redirects=False).headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=lax" in cookie


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Origin": "http://localhost:81"},
    ],
)
def test_forms_from_elsewhere_are_refused(database: Database, headers: dict) -> None:
    queue, _ = filled(database, 1)
    client = named(client_of(queue))
    sent = {**fields(client.get("/").text), "label": "fog"}
    assert client.post("/answer", data=sent, headers=headers).status_code == 403
    assert answers(database) == []
    for own in ({"Origin": "http://localhost"}, {"Sec-Fetch-Site": "same-origin"}):
        assert client.post("/answer", data=sent, headers=own).status_code == 200


def test_without_a_token_only_loopback_names_are_answered(database: Database) -> None:
    client = client_of(Queue(database, 30))
    for host in ("localhost", "127.0.0.1:8000", "[::1]:8000"):
        assert client.get("/", headers={"Host": host}).status_code == 200
    for host in ("rebound.example", "192.168.1.5:8000", "", "[", "127.0.0.1.evil.example"):
        assert client.get("/", headers={"Host": host}).status_code == 403


def test_with_a_token_nobody_else_gets_in(database: Database) -> None:
    app = create_app(Queue(database, 30), "margin", CONFIG, dict, token="right horse")
    client = TestClient(app, base_url="http://annotate.example")
    for path in ("/", "/?token=wrong", "/?token=", "/static/queue.js", "/questions"):
        assert client.get(path).status_code == 401
    assert client.get("/", headers={"Cookie": "discover_token=right horse"}).status_code == 401
    assert client.get("/", headers={"Cookie": b"discover_token=\xe9; =;"}).status_code == 401
    reply = client.get("/?token=right%20horse", follow_redirects=False)
    assert reply.status_code == 303 and reply.headers["location"] == "/"
    cookie = reply.headers["set-cookie"].lower()
    assert "httponly" in cookie and "right" not in cookie
    assert client.get("/").status_code == 200


def test_bodies_are_capped_with_and_without_a_declared_length(database: Database) -> None:
    client = client_of(Queue(database, 30))
    big = b"name=" + b"x" * BODY_BYTES
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert client.post("/name", content=big, headers=form).status_code == 413
    assert (
        client.post("/name", content=(big[i : i + 999] for i in range(0, len(big), 999)), headers=form).status_code
        == 413
    )
    assert client.post("/name", content=iter([b"name=", b"Ada"]), headers=form).status_code == 200


def sent_raw(app, path: str, receive: Callable[[], Message], **headers: str) -> list[Message]:
    """What a form gets whose body comes in the messages that `receive` gives."""
    sent: list[Message] = []
    named = {"host": "localhost", "content-type": "application/x-www-form-urlencoded", **headers}
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "headers": [(name.encode(), value.encode()) for name, value in named.items()],
        "query_string": b"",
    }

    async def received() -> Message:
        return receive()

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(app(scope, received, send))
    return sent


def test_a_body_without_end_is_cut_off(database: Database) -> None:
    guard = Guard(create_app(Queue(database, 30), "margin", CONFIG, dict), token=None)
    sent = sent_raw(guard, "/name", lambda: {"type": "http.request", "body": b"x" * 4096, "more_body": True})
    assert sent[0]["status"] == 413


def test_of_a_form_that_breaks_off_nothing_counts(database: Database) -> None:
    several = Queue(database, 30, Multilabel(tuple(CLASSES)))
    filled(database, 1)
    config = LabelConfig(task="multilabel", classes=CLASSES)
    app = create_app(several, "margin", config, dict)
    form = fields(named(TestClient(app, base_url="http://localhost")).get("/").text)
    body = urlencode({**form, "label": ["calm", "fog"]}, doseq=True).encode()
    messages = iter(
        [
            {"type": "http.request", "body": body.removesuffix(b"&label=fog"), "more_body": True},
            {"type": "http.disconnect"},
        ]
    )
    assert sent_raw(app, "/answer", lambda: next(messages), cookie="discover_annotator=Ada") == []
    assert answers(database) == []


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
    with database.read() as connection:
        stored = select(tables.slot.c.id, tables.slot.c.label).where(tables.slot.c.state == "answered")
        assert sorted(tuple(row) for row in connection.execute(stored)) == sorted(acknowledged)
        assert connection.execute(select(func.count()).select_from(tables.answer)).scalar() == 48


def test_the_state_is_plain_json(database: Database) -> None:
    queue, _ = filled(database, 1)
    state = Desk(queue, "margin", CONFIG, dict).state("Ada")
    assert json.loads(json.dumps(state)) == state


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
    assert page.count("<option selected>") == 3, "two of the first answer, none of these of the second, the skip none"
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


def test_one_label_is_one_label(database: Database) -> None:
    queue, _ = filled(database, 1)
    client = named(client_of(queue))
    for label in (["storm", "fog"], ["none of these"]):
        assert client.post("/answer", data={**fields(client.get("/").text), "label": label}).status_code == 400
    assert answers(database) == []
