"""Labels for a file: what a model says of it is another test's matter."""

import gc
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from discover.commands import predict
from discover.learn.prediction import Prediction
from discover.pool.document import Document
from discover.pool.labels import Multiclass


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
        sure = np.full((len(texts), 2), 0.5)
        return Prediction(np.zeros(len(texts), np.int64), sure[:, 0], sure)

    classes = ("calm", "storm")
    models = iter([SimpleNamespace(predicted=predicted)])  # one for the whole file
    campaign = SimpleNamespace(
        predictor=lambda: next(models),
        labels=Multiclass(classes),
        classes=classes,
        config=SimpleNamespace(label=SimpleNamespace(task="multiclass")),
    )
    predict.predict(campaign, source, to)
    assert max(during) - before < 30
    assert [json.loads(line)["given_id"] for line in to.read_text().splitlines()] == [str(n) for n in range(95)]
    assert "95 predictions are in" in (said := capsys.readouterr().out)
    assert "skipped 2: line 31: no text and others" in said
