"""Answers as files write them, as the database keeps them, and as arrays; and what no file may say."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from discover.db import Database
from discover.errors import DiscoverError
from discover.label.config import LabelConfig
from discover.label.queue import Queue
from discover.pool.answers import agree, strata
from discover.pool.config import PoolConfig
from discover.pool.files import export_rows, import_files, read_documents
from discover.pool.labels import NONE, Multiclass, Multilabel, Spans
from discover.pool.pool import Pool

LABELS = Multilabel(("wind", "rain", "fog"))


@pytest.mark.parametrize(
    ("said", "names"),
    [
        (["rain", "wind"], ["rain", "wind"]),
        (["wind", "rain", "wind"], ["rain", "wind"]),
        ('["wind", "rain"]', ["rain", "wind"]),
        (("fog",), ["fog"]),
        ("fog", ["fog"]),
        ([NONE], []),
        (NONE, []),
        (f'["{NONE}"]', []),
    ],
)
def test_what_is_said_is_kept_once_and_read_again(said, names: list[str]) -> None:
    kept = LABELS.read(said, "")
    assert LABELS.names(kept) == names and LABELS.value(kept) == (names or [NONE])
    assert LABELS.read(kept, "") == LABELS.read(LABELS.value(kept), "") == kept and LABELS.knows(kept)
    (row,) = LABELS.array([kept])
    assert [LABELS.classes[at] for at in np.flatnonzero(row)] == sorted(names, key=LABELS.classes.index)
    assert LABELS.kept(row[None]) == [kept]


@pytest.mark.parametrize("said", [None, "", math.nan])
def test_nothing_said_is_no_answer(said) -> None:
    assert all(labels.read(said, "a text") is None for labels in (LABELS, Multiclass(), Spans(("place",))))


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ([], "empty label list"),
        ("[]", "empty label list"),
        (["rain", "hail"], "label not in the list: 'hail'"),
        ("rain;fog", r"label not in the list: 'rain;fog' \(several are a list"),
        (["rain", ""], "holds an empty name"),
        (["rain", None], "holds an empty name"),
        (["rain", 1.5], "label list holds no text: float"),
        ({"rain": 1}, "label list holds no text: dict"),
        (["rain", NONE], "contradicts itself"),
        ('["rain"', "not a JSON list"),
    ],
)
def test_what_cannot_be_is_refused_in_a_few_words(said, complaint: str) -> None:
    with pytest.raises(DiscoverError, match=complaint):
        LABELS.read(said, "")


def test_a_whole_number_among_missing_ones_is_one() -> None:
    assert Multiclass(("1", "2")).read(1.0, "") == "1"
    with pytest.raises(DiscoverError, match="label is not text: float"):
        Multiclass(("1", "2")).read(1.5, "")


def test_a_list_is_no_class() -> None:
    with pytest.raises(DiscoverError, match=r"label is not text: list; .* label.task: multilabel"):
        Multiclass().read(["a"], "")


ROWS = [
    {"text": "gusts from the west", "label": ["wind"]},
    {"text": "gusts and showers", "label": ["wind", "rain"]},
    {"text": "a calm and clear day", "label": [NONE]},
    {"text": "nobody has said what this is", "label": None},
]


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_lists_go_through_files_of_every_kind(database: Database, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"in.{kind}"
    export_rows(ROWS, path)
    pool = Pool(database, PoolConfig(min_characters=1))
    assert import_files(pool, [path], LABELS)["new"] == 4
    pool.intake()
    found = {document.text: document.label for document in pool.documents()}
    assert found == {row["text"]: LABELS.read(row["label"], row["text"]) for row in ROWS}
    queue = Queue(database, 30, LABELS)
    with database.write() as connection:
        assert queue.seed_imported("margin", connection) == 3
    assert sorted(row.label for row in queue.labels("margin")) == sorted(filter(None, found.values()))


def test_a_column_of_lists_that_begins_with_nothing_is_written(tmp_path: Path) -> None:
    rows = [{"text": f"text {i}", "label": None if i < 1000 else ["rain"]} for i in range(1002)]
    rows[0]["label"] = []
    export_rows(rows, tmp_path / "out.parquet")
    seen: list[str] = []
    documents = list(read_documents(tmp_path / "out.parquet", lambda line, why: seen.append(f"{line}: {why}"), LABELS))
    assert [document.label for document in documents[-2:]] == ['["rain"]'] * 2 and len(documents) == 1001
    assert seen[0].startswith("1: empty label list")


def test_bad_lines_are_told_with_file_line_and_field_and_the_others_stay(database: Database, tmp_path: Path) -> None:
    path, said = tmp_path / "in.jsonl", []
    bad = [{"text": "an accident", "label": []}, {"text": "a stranger", "label": ["rain", "hail"]}]
    path.write_text("".join(json.dumps(row) + "\n" for row in [ROWS[0], *bad, ROWS[1]]), encoding="utf-8")
    counts = import_files(Pool(database, PoolConfig(min_characters=1)), [path], LABELS, said.append)
    assert counts == {"new": 2, "empty label list": 1, "label not in the list": 1}
    assert [line.partition(": ")[0] for line in said] == [f"{path.as_posix()}:2", f"{path.as_posix()}:3"]
    assert "empty label list" in said[0] and "'hail'" in said[1]


def test_two_lists_of_the_same_labels_do_not_contradict_each_other(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "gusts", "label": ["wind", "rain"]}\n{"text": "gusts", "label": ["rain", "wind"]}\n')
    pool = Pool(database, PoolConfig(min_characters=1))
    assert "conflicting labels" not in import_files(pool, [path], LABELS)


@pytest.mark.parametrize("name", [NONE, "[draft]"])
def test_a_class_that_lists_could_not_hold_is_refused(name: str) -> None:
    assert LabelConfig(classes=["a", name]).task == "multiclass"
    with pytest.raises(ValueError, match="rename it"):
        LabelConfig(task="multilabel", classes=["a", name])


def test_the_rarest_label_stands_for_a_document() -> None:
    y = np.array([[1, 0, 0], [1, 1, 0], [1, 1, 1], [0, 0, 0], [1, 0, 0]])
    assert strata(y).tolist() == [0, 1, 2, 3, 0]
    assert strata(np.array([2, 0, 1])).tolist() == [2, 0, 1]


def test_answers_agree_where_all_labels_do() -> None:
    y = np.array([[1, 0], [1, 1]])
    assert agree(y, np.array([[1, 0], [1, 0]])).tolist() == [True, False]
    assert agree(np.array([1, 2]), np.array([1, 0])).tolist() == [True, False]
    assert agree(y[:0], y[:0]).tolist() == []
