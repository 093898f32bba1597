"""Ten increments against training from scratch on the same answers: accuracy, and the time of the last training."""

import json
import os
import time
from typing import Any

import numpy as np

from discover.embed.config import EncoderConfig
from discover.embed.encoder import Encoder
from discover.learn.classifier import TextClassifier
from discover.learn.config import LearnConfig
from discover.learn.learner import Learner
from discover.learn.samples import column
from tests.benchmarks._data import labelled

SETS = tuple(os.environ.get("BENCH_SETS", "trec6 banking77 ag_news_desc").split())
SEEDS, INCREMENTS, BATCH, TESTED = 3, 10, 50, 2000
POINTS, SHARE = 0.005, 1 / 3


def measure() -> list[dict[str, Any]]:
    """Two rows a set: the mean loss of accuracy over seeds, and the median share of the time."""
    encoder = Encoder(EncoderConfig(max_tokens=96))
    rows = []
    for name in SETS:
        played = [_play(encoder, name, seed) for seed in range(SEEDS)]
        right, scratch_right, seconds, scratch_seconds = (np.array(column) for column in zip(*played, strict=True))
        loss, share = float((scratch_right - right).mean()), float(np.median(seconds / scratch_seconds))
        rows += [
            {"name": f"increments {name}, accuracy", "value": round(float(right.mean()), 4), "unit": "share"}
            | {"peer": "from scratch", "peer_value": round(float(scratch_right.mean()), 4), "ratio": round(loss, 4)}
            | {"goal": POINTS, "holds": loss <= POINTS},
            {"name": f"increments {name}, time", "value": round(float(np.median(seconds)), 2), "unit": "s"}
            | {"peer": "from scratch", "peer_value": round(float(np.median(scratch_seconds)), 2)}
            | {"ratio": round(share, 3), "goal": SHARE, "holds": share <= SHARE},
        ]
    return rows


def _play(encoder: Encoder, name: str, seed: int) -> tuple[float, float, float, float]:
    """Accuracy after ten increments, and from scratch; seconds of the last increment, and from scratch."""
    texts, y, classes = labelled(name, "train")
    tested, truth, _ = labelled(name, "test")
    rng = np.random.default_rng(seed)
    order, chosen = rng.permutation(len(texts)), rng.permutation(len(tested))[:TESTED]
    every, test = texts + tested, column(len(texts) + chosen)
    config = LearnConfig(folds=0)

    def untaught() -> Learner[TextClassifier]:
        names = dict.fromkeys(classes, "")
        made = TextClassifier(encoder, lambda ids: [every[i] for i in ids], names, config, seed)
        made.unlabelled = order[BATCH * (INCREMENTS + 1) :][: made.looks_at]
        return Learner(made)

    grown, seconds = untaught(), 0.0
    for start in range(0, BATCH * (INCREMENTS + 1), BATCH):
        batch = order[start : start + BATCH]
        started = time.perf_counter()
        grown.teach(batch, y[batch])
        seconds = time.perf_counter() - started
    scratch, answered = untaught(), order[: BATCH * (INCREMENTS + 1)]
    started = time.perf_counter()
    scratch.teach(answered, y[answered])
    scratch_seconds = time.perf_counter() - started
    right, scratch_right = ((one.classifier.predict(test) == truth[chosen]).mean() for one in (grown, scratch))
    return float(right), float(scratch_right), seconds, scratch_seconds


if __name__ == "__main__":
    for row in measure():
        print(json.dumps(row))
