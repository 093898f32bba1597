"""The simulated annotators, and how they work through the queue."""

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, select

from discover import tables
from discover.config import Config, load_config
from discover.db import Database
from discover.errors import DiscoverError
from discover.label.config import LabelConfig
from discover.label.oracles.file_labels import file_labels
from discover.label.oracles.page_table import page_table
from discover.label.queue import Queue
from discover.label.simulate import answer_open, oracle_of
from discover.loop import run_rounds
from discover.pool.document import Document
from discover.pool.labels import Multiclass
from discover.start import start_run
from discover.steps import collect
from tests.kills import play_rounds, write_inputs

TABLE = {"json": "Internet Data", "os": "Operating System", "os.path": "Files"}


@pytest.mark.parametrize(
    ("sources", "label"),
    [
        (["http://127.0.0.1:8000/json.html"], "Internet Data"),
        (["http://127.0.0.1:8000/json.decoder.html#JSONDecoder"], "Internet Data"),
        (["http://127.0.0.1:8000/deep/os.path.html?x=1"], "Files"),
        (["http://127.0.0.1:8000/os.fork"], "Operating System"),
        (["http://a/json.html", "http://b/json.tool.html"], "Internet Data"),
        (["http://a/json.html", "http://a/os.html"], None),
        (["http://a/json.html", "http://a/turtle.html"], None),
        (["http://a/turtle.html"], None),
        (["http://a/"], None),
        (["http://[a/json.html"], None),
        ([], None),
    ],
)
def test_page_table_reads_all_sources(sources: list[str], label: str | None) -> None:
    assert page_table(table=TABLE).answer([Document(text="t", sources=sources)]) == [label]


def test_a_page_may_be_called_by_a_number() -> None:
    table = {12: "files", "about": "guides"}  # as YAML reads it
    assert page_table(table=table).answer([Document(text="t", address="http://h/12.html")]) == ["files"]


def test_pages_may_have_several_labels() -> None:
    table = {"a": ["bill", "login"], "b": ["login", "bill"], "c": ["bill"]}
    oracle = oracle_of(
        LabelConfig(task="multilabel", classes=["bill", "login"], oracle="page_table", options={"table": table})
    )
    documents = [Document(text="t", sources=[f"http://h/{page}" for page in pages]) for pages in ("a", "ab", "ac", "d")]
    assert oracle.answer(documents) == [["bill", "login"], ["bill", "login"], None, None]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (None, "table must be `page name: label`, a line each, in label.options, got None"),
        ([["json", "Internet"]], "table must be `page name: label`"),
        ({"json": {"a": "b"}}, "must give each page a label, or a list of labels, got {'a': 'b'} for 'json'"),
        ({"json": True}, "got True for 'json': write a name in quotes"),
        ({"json": ["a", None]}, "got None for 'json': write a name in quotes"),
    ],
)
def test_a_table_of_another_shape_is_refused(table: Any, message: str) -> None:
    with pytest.raises(DiscoverError, match=f"the oracle 'page_table': .*{re.escape(message)}"):
        oracle_of(LabelConfig(classes=["a", "b"], oracle="page_table", options={"table": table}))


def test_page_table_falls_back_to_the_one_address() -> None:
    assert page_table(table=TABLE).answer([Document(text="t", address="http://a/os.html")]) == ["Operating System"]


def labelled(n: int) -> list[Document]:
    return [Document(text=f"text {i}", label="abc"[i % 3]) for i in range(n)]


def test_file_labels_repeat_the_file() -> None:
    assert file_labels().answer([*labelled(3), Document(text="none")]) == ["a", "b", "c", None]


def test_noise_has_its_rate_and_ignores_order() -> None:
    documents = labelled(2000)
    noisy = file_labels(noise=0.3, seed=1, classes=["a", "b", "c"])
    said = noisy.answer(documents)
    wrong = sum(label != document.label for label, document in zip(said, documents, strict=True))
    assert 530 <= wrong <= 670  # 600 expected, 3.4 standard deviations either way
    assert noisy.answer(documents[::-1]) == said[::-1]
    assert noisy.answer([documents[7]]) == [said[7]]
    assert file_labels(noise=0.3, seed=2, classes=["a", "b", "c"]).answer(documents) != said
    missed = Counter((d.label, label) for label, d in zip(said, documents, strict=True) if label != d.label)
    assert len(missed) == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise": 1.5}, "noise"),
        ({"noise": 0.1}, "noise"),
        ({"seed": -1}, "seed must be 0 or more, got -1"),
        ({"noise": 0.1, "classes": ["a"]}, "noise"),
        ({"noise": 0.1, "classes": ["1", 1]}, r"list two or more in label.options, found \['1'\]"),
        ({"noise": 0.1, "classes": 5}, "'file_labels': classes must be a list of labels, .* got 5"),
        ({"noise": 0.1, "classes": "abc"}, "list of labels"),
    ],
)
def test_file_labels_refuse_noise_without_meaning(options: dict, message: str) -> None:
    with pytest.raises(DiscoverError, match=message):
        oracle_of(LabelConfig(classes=["a", "b"], oracle="file_labels", options=options))


MINE = """
class unmade:
    def __init__(self):
        raise KeyError("table")

class failing:
    def answer(self, documents):
        return [documents[0].no_such_thing]

class leaving:
    def answer(self, documents):
        raise SystemExit
"""


def test_an_oracle_of_ones_own_that_fails_is_one_line(database: Database, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    queue = fill(database, 5)

    def mine(name: str) -> Any:
        return oracle_of(LabelConfig(classes=["a", "b"], oracle=f"{tmp_path / 'mine.py'}:{name}"))

    with pytest.raises(DiscoverError, match=r"the oracle '.*mine.py:unmade' failed: KeyError: 'table'"):
        mine("unmade")
    for name, kind in (("failing", "AttributeError"), ("leaving", "SystemExit")):
        with pytest.raises(DiscoverError, match=f"the oracle '{name}' failed: {kind}"):
            answer_open(queue, "margin", mine(name))


def fill(database: Database, n: int) -> Queue:
    queue = Queue(database, 30, Multiclass(("a", "b", "c")))
    with database.write() as connection:
        for document in [*labelled(n - 1), Document(text="no label")]:
            row = {"text": document.text, "label": document.label, "state": "pool", "found": 0.0}
            connection.execute(insert(tables.document).values(public_id=document.public_id, **row))
        ids = list(connection.scalars(select(tables.document.c.id).order_by(tables.document.c.public_id)))
        rows = [{"document_id": ids[i], "kind": "policy", "position": i} for i in range(n)]
        queue.put(connection, "margin", 1, rows)
        queue.put(connection, "random", 1, rows)
    return queue


def test_all_open_questions_of_the_arm_are_answered(database: Database) -> None:
    queue = fill(database, 130)
    assert answer_open(queue, "margin", file_labels()) == {"answered": 129, "skipped": 1}
    assert answer_open(queue, "margin", file_labels()) == {}
    assert (queue.waiting("margin"), queue.waiting("random"), queue.spent("margin")) == (0, 130, 129.0)
    with database.read() as connection:
        wrong = (
            select(func.count())
            .select_from(tables.slot)
            .join(tables.document)
            .where(tables.slot.c.label != tables.document.c.label)
        )
        assert connection.execute(wrong).scalar() == 0


def test_what_somebody_had_leased_is_answered_once_the_lease_is_over(tmp_path: Path, monkeypatch: Any) -> None:
    label = {"classes": ["a", "b", "c"], "oracle": "file_labels", "lease_minutes": 0.02}
    config = Config.model_validate({"name": "leased", "query": {"strategy": "margin"}, "label": label})
    campaign = start_run(config, tmp_path / "run")
    fill(campaign.database, 5)
    assert campaign.ask("ada") is not None
    polls = iter(range(100))
    monkeypatch.setattr(collect.time, "sleep", lambda _: (next(polls), threading.Event().wait(0.1)))
    assert collect.collect(campaign, "margin", 1).output["spent"] == 4
    assert next(polls) > 0  # it waited
    campaign.close()


def test_a_label_outside_the_list_is_refused(database: Database) -> None:
    queue = fill(database, 5)
    with pytest.raises(DiscoverError, match="none of the 3 labels"):
        answer_open(queue, "margin", page_table(table={"": "hail"}))


DIES = """
import os, signal, sys
from discover.db import Database
from discover.label.oracles.file_labels import file_labels
from discover.label.queue import Queue
from discover.label.simulate import answer_open

class Mortal(Queue):
    def answer(self, *arguments):
        self.left = getattr(self, "left", 7) - 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().answer(*arguments)

answer_open(Mortal(Database(sys.argv[1]), 30), "margin", file_labels())
"""


def test_a_killed_simulation_goes_on(database: Database, tmp_path: Path) -> None:
    queue = fill(database, 40)
    address = f"sqlite:///{tmp_path / 'discover.db'}"
    killed = subprocess.run([sys.executable, "-c", DIES, address], env=dict(os.environ))
    assert killed.returncode == -signal.SIGKILL
    assert queue.waiting("margin") > 30
    answer_open(queue, "margin", file_labels())
    with database.read() as connection:
        twice = select(tables.answer.c.slot_id).group_by(tables.answer.c.slot_id).having(func.count() > 1)
        assert connection.execute(twice).all() == []
    assert (queue.waiting("margin"), queue.spent("margin")) == (0, 39.0)


ALWAYS = """
class always:
    def answer(self, documents):
        return ["recipe" for _ in documents]
"""


def test_what_an_oracle_had_no_answer_for_another_is_asked(tmp_path: Path, small_encoder: Path) -> None:
    config = write_inputs(tmp_path, documents=40, encoder=small_encoder)
    with gzip.open(tmp_path / "documents.jsonl.gz", "at") as lines:
        lines.write("".join(json.dumps({"text": f"an unlabelled text, {n} of {n + 7}"}) + "\n" for n in range(20)))
    settings = json.loads(config.read_text()) | {"loop": {"arms": ["margin"]}}
    settings["label"]["budget"] = 60
    config.write_text(json.dumps(settings))
    campaign = play_rounds(config, tmp_path / "run", None)
    assert (campaign.metrics()[-1]["labels"], campaign.pool.counts()["aside"]) == (32, 20)
    campaign.close()
    (tmp_path / "own.py").write_text(ALWAYS)
    settings["label"]["oracle"] = f"{tmp_path / 'own.py'}:always"
    config.write_text(json.dumps(settings))
    campaign = start_run(load_config(config), tmp_path / "run")
    run_rounds(campaign)
    assert (campaign.metrics()[-1]["labels"], campaign.pool.counts()["aside"]) == (52, 0)
    ids, _ = campaign.pool.ids(split=None)
    assert sorted(campaign.retriever.store.ids.tolist()) == sorted(ids.tolist()), "each document is embedded once"
    campaign.close()
