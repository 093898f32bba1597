"""Labels for a file: what a model says of it is another test's matter."""

import gc
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from discover.commands import predict
from discover.errors import DiscoverError
from discover.learn.prediction import Prediction
from discover.pool.document import Document
from discover.pool.labels import Multiclass

CLASSES = ("calm", "storm")


def with_model(**parts: Any) -> Any:
    """A campaign with a model that has these methods, for one file."""
    models = iter([SimpleNamespace(**parts)])
    return SimpleNamespace(
        predictor=lambda: next(models),
        labels=Multiclass(CLASSES),
        classes=CLASSES,
        config=SimpleNamespace(label=SimpleNamespace(task="multiclass")),
    )


def unsure(texts: list[str]) -> Prediction:
    sure = np.full((len(texts), 2), 0.5)
    return Prediction(np.zeros(len(texts), np.int64), sure[:, 0], sure)


def test_a_file_need_not_fit_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, to = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    lines = [json.dumps({"text": f"text {number}", "id": str(number)}) for number in range(95)]
    source.write_text("\n".join([*lines[:30], "{}", *lines[30:], "[]"]))
    monkeypatch.setattr(predict, "CHUNK", 10)

    def in_memory() -> int:
        return sum(type(one) is Document for one in gc.get_objects())  # isinstance would wake lazy modules

    before, during = in_memory(), []

    def predicted(texts: list[str]) -> Prediction:
        during.append(in_memory())
        return unsure(texts)

    predict.predict(with_model(predicted=predicted), source, to)
    assert max(during) - before < 30
    assert [json.loads(line)["given_id"] for line in to.read_text().splitlines()] == [str(n) for n in range(95)]
    assert "95 predictions are in" in (said := capsys.readouterr().out)
    assert "skipped 2: line 31: no text and others" in said


def test_of_a_file_to_label_the_split_says_nothing(tmp_path: Path) -> None:
    source, to = tmp_path / "in.csv", tmp_path / "out.jsonl"
    source.write_text("text,split\nthe first,validation\nthe second,dev\n")
    predict.predict(with_model(predicted=unsure), source, to)
    assert [json.loads(line)["text"] for line in to.read_text().splitlines()] == ["the first", "the second"]


def test_a_file_without_texts_is_told_its_first_fault(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    for content, said in (("[]\n{}\n", "skipped 2: line 1: not JSON: an object .* and others"), ("", ": no rows")):
        source.write_text(content)
        with pytest.raises(DiscoverError, match=f"must hold documents with a `text`, but has none to predict.*{said}$"):
            predict.predict(with_model(), source, tmp_path / "out.jsonl")


def test_progress_is_told_while_a_chunk_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, told = tmp_path / "in.jsonl", []
    source.write_text("".join(json.dumps({"text": f"text {number}"}) + "\n" for number in range(5)))
    monkeypatch.setattr("discover.progress.INTERVAL", 0)

    def explain(texts: list[str]) -> list[dict[str, Any]]:
        told.append(capsys.readouterr().err)
        return [{"label": "calm", "words": [], "neighbours": []}]

    campaign = with_model(predicted=unsure, explain=explain)
    predict.predict(campaign, source, tmp_path / "out.jsonl", explain=True)
    assert [line.partition(",")[0] for line in told] == ["", *(f"predicting: {done} of 5" for done in range(1, 5))]
