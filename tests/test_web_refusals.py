"""The pages of the queue without a browser: which forms and which visitors are refused, and what never happens."""

import asyncio
import html
import re
from collections.abc import Callable
from urllib.parse import urlencode

import pytest
from starlette.testclient import TestClient
from starlette.types import Message

from discover.db import Database
from discover.label.config import LabelConfig
from discover.label.queue import Queue
from discover.label.web.app import create_app
from discover.label.web.guard import BODY_BYTES, Guard
from discover.pool.labels import Multilabel
from tests.labeling import CLASSES, filled
from tests.pages import CONFIG, SCRIPT, answers, client_of, fields, named


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
    lost = client.post("/answer", data={})
    assert lost.status_code == 401 and "Who is labeling?" in lost.text and "was not saved" in lost.text
    assert "was not saved" not in client.get("/").text
    assert client.get("/answer").status_code == 405 and client.get("/answer").headers["allow"] == "POST"
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
    name = Guard(app, "right horse").name
    assert client.get("/", headers={"Cookie": f"{name}=right horse"}).status_code == 401
    assert client.get("/", headers={"Cookie": f"{name}=\xe9; =;".encode("latin-1")}).status_code == 401
    reply = client.get("/?token=right%20horse", follow_redirects=False)
    assert reply.status_code == 303 and reply.headers["location"] == "/"
    cookie = reply.headers["set-cookie"].lower()
    assert "httponly" in cookie and "right" not in cookie
    assert client.get("/").status_code == 200
    ours = cookie.partition(";")[0]
    for others in ('prefs={"theme": "dark"}', "a b", "list=[1]", "name=\xe9", 'q="'):  # a host's other pages set such
        assert TestClient(app).get("/", headers={"Cookie": f"{others}; {ours}".encode("latin-1")}).status_code == 200
    other = TestClient(create_app(Queue(database, 30), "margin", CONFIG, dict, token="other"), cookies=client.cookies)
    other.get("/?token=other")
    assert other.get("/").status_code == 200
    client.cookies = other.cookies  # the same browser, another port of the same host
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
