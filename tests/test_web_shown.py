"""The pages of the queue without a browser: what they show of a question, a guess and its reasons."""

import html
import json
import re

from discover.db import Database
from discover.label.config import LabelConfig
from discover.label.queue import Queue
from discover.label.web.desk import KEYS, SHOWN_CHARACTERS, Desk
from tests.labeling import add_documents, filled
from tests.pages import CONFIG, client_of, fields, named


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


def test_the_state_is_plain_json(database: Database) -> None:
    queue, _ = filled(database, 1)
    state = Desk(queue, "margin", CONFIG, dict).state("Ada")
    assert json.loads(json.dumps(state)) == state
