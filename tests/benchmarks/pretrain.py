"""What pretraining is worth: Chinese from scratch at 1,000 labels, English continued at 128.

Chinese: the learner's default method on an encoder made from the training texts, and on the same encoder with random
weights and the same tokenizer. English: the packaged encoder trained further on the set's questions, and as it is,
under `full` and under the frozen head. Test documents are the sets' own, 1,000 at most; means over draws of the labels.
"""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from discover.embed.config import EncoderConfig
from discover.embed.encoder import Encoder
from discover.evaluate.metrics import accuracy
from discover.learn.config import LearnConfig
from discover.learn.pretrain.config import SCRATCH, PretrainConfig
from discover.learn.pretrain.network import small_transformer
from discover.learn.pretrain.pretraining import pretrain
from discover.learn.pretrain.publishing import publish_encoder
from discover.pool.document import Document
from discover.run import RunFolder
from tests.benchmarks._data import labelled
from tests.benchmarks._passive import draw, learn

SEEDS = 3
CHINESE, ENGLISH = "tnews_noleak", "trec6"
CHINESE_LABELS, ENGLISH_LABELS = 1000, 128
POINTS = 0.08  # that pretraining must gain on the Chinese set
SETTINGS = {CHINESE: PretrainConfig(start=SCRATCH, passes=1), ENGLISH: PretrainConfig(passes=3)}
TOKENS = {CHINESE: 64, ENGLISH: 128}


def measure() -> list[dict[str, Any]]:
    """A row for the Chinese set, and one a method for the English one, whichever way it falls."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        made, untrained = _made(CHINESE, Path(folder)), Path(folder) / "untrained"
        _untrained(made, untrained)
        found = [_mean(CHINESE, one, CHINESE_LABELS, "full") for one in (made, untrained)]
        rows.append(_row(f"{CHINESE}, {CHINESE_LABELS} labels, full", found, "the same, untrained", POINTS))
        made = _made(ENGLISH, Path(folder))
        for method in ("full", "head"):
            found = [_mean(ENGLISH, one, ENGLISH_LABELS, method) for one in (made, EncoderConfig().model)]
            rows.append(_row(f"{ENGLISH}, {ENGLISH_LABELS} labels, {method}", found, "not continued", None))
    return rows


def _made(name: str, folder: Path) -> Path:
    texts = sorted(labelled(name, "train")[0], key=lambda text: Document(text).public_id)
    run = RunFolder(folder / name)
    run.root.mkdir()
    return pretrain(lambda: texts, EncoderConfig(max_tokens=TOKENS[name]), SETTINGS[name], 0, run)


def _untrained(made: Path, folder: Path) -> None:
    """The same tokenizer and architecture with random weights."""
    encoder = Encoder(EncoderConfig(model=str(made)))
    blank = small_transformer(SETTINGS[CHINESE], None, encoder.tokenizer, encoder.limit, 0)
    publish_encoder(folder, blank, encoder.tokenizer, "mean", {})


def _mean(name: str, model: Path | str, count: int, method: str) -> float:
    """Accuracy, a mean over draws of the labels."""
    encoder = Encoder(EncoderConfig(model=str(model), max_tokens=TOKENS[name]))
    config, found = LearnConfig(method=method, folds=0), []
    for seed in range(SEEDS):
        job = draw(name, count, seed)
        found.append(accuracy(learn(encoder, job, config, seed)[0].argmax(1), job.truth))
    return float(np.mean(found))


def _row(name: str, found: Sequence[float], peer: str, goal: float | None) -> dict[str, Any]:
    gain = found[0] - found[1]
    return {
        "name": name,
        "value": round(found[0], 4),
        "unit": "accuracy",
        "peer": peer,
        "peer_value": round(found[1], 4),
        "ratio": round(gain, 4),
        "goal": goal,
        "holds": goal is None or gain >= goal,
    }


if __name__ == "__main__":
    for row in measure():
        print(json.dumps(row))
