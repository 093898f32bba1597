"""Entities that are marked: the pages without a browser, what they refuse, and what leaves a run and comes back."""

import html
import json
from pathlib import Path

import pytest
from sqlalchemy import insert, select
from starlette.testclient import TestClient

import discover
from discover import tables
from discover.cli import main
from discover.db import Database
from discover.errors import DiscoverError
from discover.label import slots
from discover.label.config import LabelConfig
from discover.label.queue import Queue
from discover.label.simulate import answer_open
from discover.label.web.desk import SHOWN_CHARACTERS
from discover.pool import removal
from discover.pool.document import Document
from discover.pool.files import export_rows
from discover.pool.labels import Spans
from tests.labelled_files import lines
from tests.pages import answers, check_refused, client_of, fields, named

CONFIG = LabelConfig(task="spans", classes={"person": "a human", "place": "where it is"}, budget=20)
LABELS = Spans(tuple(CONFIG.classes))
TEXTS = [
    "😀 Zoë <b>met</b> Ada in Kraków.",
    "Nobody was anywhere.",
    f"{'A long way from ' * 400}Oslo, and no further.",
]
ZOE, ADA, KRAKOW = (
    {"start": TEXTS[0].index(held), "end": TEXTS[0].index(held) + len(held), "label": label}
    for held, label in (("Zoë", "person"), ("Ada", "person"), ("Kraków", "place"))
)


def asked(database: Database, **options) -> tuple[Queue, TestClient]:
    queue = Queue(database, 30, LABELS)
    with database.write() as connection:
        rows = []
        for position, text in enumerate(TEXTS):
            row = {"public_id": Document(text).public_id, "text": text, "state": "pool", "found": 0.0}
            (row_id,) = connection.execute(insert(tables.document).values(**row)).inserted_primary_key
            rows.append({"document_id": row_id, "kind": "policy", "position": position})
        queue.put(connection, "margin", 1, rows)
    return queue, named(client_of(queue, config=CONFIG, **options))


def test_entities_are_saved_recalled_and_corrected(database: Database) -> None:
    queue, client = asked(database, suggest=lambda _: (json.dumps([ZOE]), 0.617))
    page = client.get("/").text
    assert "spans.js" in page and 'data-type="person"' in page and html.escape(TEXTS[0], quote=False) in page
    page = client.post("/answer", data={**fields(page), "label": json.dumps([KRAKOW, ZOE])}).text
    said = "You said “Zoë (person)”, “Kraków (place)”. The model’s guess: “Zoë (person)” (62%)."
    assert said in html.unescape(page)
    page = client.post("/answer", data={**fields(page), "label": "[]"}).text
    assert "You said “no entity”." in page and TEXTS[2] in page, "a long text is shown to its end"
    assert len(TEXTS[2]) > SHOWN_CHARACTERS
    client.post("/skip", data=fields(page))
    assert [row.label for row in queue.labels("margin")].count("[]") == 1
    page = client.get("/answers").text
    assert page.count("<mark") == 2 and "2 entities." in page and "No entity." in page and "Skipped." in page
    assert "<b>met</b>" not in page
    page = client.get("/answers/1").text
    assert json.loads(html.unescape(page.split('data-spans="')[1].split('"')[0])) == [ZOE, KRAKOW]
    assert "<b>met</b>" not in page and 'action="/correct"' in page
    page = client.post("/correct", data={"slot": "1", "label": json.dumps([ADA])}).text
    assert page.count("<mark") == 1 and "1 entity." in page
    assert sorted(row.label for row in queue.labels("margin")) == ["[]", json.dumps([ADA])]


def test_marks_in_a_text_that_was_removed_are_told_so(database: Database) -> None:
    _, client = asked(database)
    sent = {**fields(client.get("/").text), "label": json.dumps([ZOE])}
    with database.write() as connection:
        removal.remove(connection, removal.named(connection, [Document(TEXTS[0]).public_id], 0.8))
        slots.withdraw(connection)
    reply = client.post("/answer", data=sent)
    assert reply.status_code == 400 and "question 1 was withdrawn, since its document was removed" in reply.text
    assert answers(database) == []


def test_the_same_entities_in_another_order_are_the_same_answer(database: Database) -> None:
    _, client = asked(database)
    sent = fields(client.get("/").text)
    client.post("/answer", data={**sent, "label": json.dumps([ZOE, ADA])})
    client.post("/answer", data={**sent, "key": "f" * 32, "label": json.dumps([ADA, ZOE])})
    client.post("/correct", data={"slot": sent["slot"], "label": json.dumps([ADA, ZOE])})
    assert answers(database) == [("Ada", "answer", json.dumps([ZOE, ADA]))]


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ([], "a list of entities is expected, found none: mark them, or say “no entity”"),
        ("", "a list of entities is expected, found none"),
        (["[]", "[]"], "a list of entities is expected"),
        ("person", "label is not a JSON list"),
        ("[" * 15_000, "label is not a JSON list"),
        ('[{"start": 0}]', "span lacks start, end or label"),
        (json.dumps([ADA | {"end": 99}]), "span out of range"),
        (json.dumps([ADA, ADA | {"label": "place"}]), "spans overlap: 'Ada'"),
        (json.dumps([ADA | {"label": "hail"}]), "label not in the list: 'hail'"),
    ],
)
def test_what_is_no_answer_is_refused_and_nothing_is_saved(database: Database, label, message: str) -> None:
    _, client = asked(database)
    check_refused(client, label, message)
    assert answers(database) == []


def test_questions_that_are_not_ones_own_are_refused(database: Database) -> None:
    _, client = asked(database)
    sent = fields(client.get("/").text) | {"label": "[]"}
    reply = client.post("/answer", data={**sent, "slot": "99"})
    assert reply.status_code == 400 and "there is no question 99" in reply.text
    for slot in ("1", "99"):
        reply = client.get(f"/answers/{slot}")
        assert reply.status_code == 400 and f"question {slot} is not among your answers" in reply.text
    for slot in ("x", "9" * 30):
        assert client.get(f"/answers/{slot}").status_code == 400
    assert answers(database) == []


def test_other_answers_have_no_page_of_their_own(database: Database) -> None:
    queue = Queue(database, 30)
    reply = named(client_of(queue)).get("/answers/1")
    assert reply.status_code == 200 and "Your answers" in reply.text


def test_a_sentence_names_a_few_of_many(database: Database) -> None:
    _, client = asked(database)
    signs = [{"start": i, "end": i + 1, "label": "place"} for i in range(20) if not TEXTS[0][i].isspace()]
    page = client.post("/answer", data={**fields(client.get("/").text), "label": json.dumps(signs)}).text
    assert f"(place)” and {len(signs) - 8} more." in html.unescape(page)


class Says:
    """An oracle."""

    def __init__(self, said: object):
        self.said = said

    def answer(self, documents: list[Document]) -> list[object]:
        return [self.said for _ in documents]


def test_a_simulated_annotator_marks_too(database: Database) -> None:
    queue, _ = asked(database)
    queue.release("Ada")
    with pytest.raises(DiscoverError, match=r"'Says' answers .*span out of range"):
        answer_open(queue, "margin", Says([{"start": 0, "end": 99999, "label": "place"}]))
    assert answer_open(queue, "margin", Says([{"start": 2, "end": 3, "label": "place"}])) == {"answered": 3}


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_what_people_mark_leaves_a_run_and_comes_back_as_it_was(tmp_path: Path, kind: str) -> None:
    label = {"task": "spans", "classes": CONFIG.classes}
    settings = {"name": "entities", "label": label, "pool": {"min_characters": 1}}
    config = tmp_path / "entities.yaml"
    config.write_text(json.dumps(settings), encoding="utf-8")
    rows = [{"text": TEXTS[0], "label": [ZOE]}, {"text": TEXTS[1], "label": None}, {"text": TEXTS[2], "label": None}]
    export_rows(rows, tmp_path / "in.jsonl")
    run = str(tmp_path / "run")
    assert main(["import", str(config), str(tmp_path / "in.jsonl"), "--run", run]) == 0
    campaign = discover.open(run)
    campaign.pool.intake()
    ids = {document.text: document.id for document in campaign.documents()}
    drawn = {"arm": "auto", "round": 1, "candidates": 3, "strategy": "auto", "temperature": 0.1, "seed": 0}
    with campaign.database.write() as connection:
        campaign.queue.seed_imported("auto", connection)
        asked = [{"document_id": ids[text], "kind": "policy", "position": at} for at, text in enumerate(TEXTS[1:])]
        campaign.queue.put(connection, "auto", 1, asked)
        connection.execute(insert(tables.query).values(id="q", **drawn))
        connection.execute(insert(tables.pick), [{**row, "query_id": "q", "log_propensity": -1.0} for row in asked])
    oslo = {"start": TEXTS[2].index("Oslo"), "end": TEXTS[2].index("Oslo") + 4, "label": "place"}
    campaign.answer(campaign.ask("ada"), [], "ada")
    question = campaign.ask("ada")
    with pytest.raises(DiscoverError, match="an answer needs a label"):
        campaign.answer(question, "", "ada")
    with pytest.raises(DiscoverError, match="an answer needs a label"):
        campaign.answer(question, None, "ada")
    with pytest.raises(DiscoverError, match="not a list of spans: dict"):
        campaign.answer(question, oslo, "ada")
    with pytest.raises(DiscoverError, match="span out of range"):
        campaign.answer(question, [oslo | {"end": 10**6}], "ada")
    campaign.answer(question, [oslo], "ada")
    campaign.close()
    out = tmp_path / f"labels.{kind}"
    assert main(["export", "labels", "--run", run, "--to", str(out)]) == 0
    assert main(["export", "decisions", "--run", run, "--to", str(tmp_path / "decisions.jsonl")]) == 0
    assert [row["label"] for row in lines(tmp_path / "decisions.jsonl")[1:]] == [[], [oslo]]
    assert main(["import", str(config), str(out), "--run", f"{run}-again"]) == 0
    with discover.open(f"{run}-again").database.read() as connection:
        found = dict(map(tuple, connection.execute(select(tables.document.c.text, tables.document.c.label))))
    assert found == {text: json.dumps(said) for text, said in zip(TEXTS, ([ZOE], [], [oslo]), strict=True)}
