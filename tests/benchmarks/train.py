"""Fine-tuning speed and accuracy against the transformers `Trainer` with its defaults: same texts, model and machine.

Documents a second are passes over the answers of one increment from scratch. Ours includes tokenising, the first head
and, for the top layers, the activations below; the Trainer gets its texts tokenised. Accuracy is that on the test set
after the same number of passes.
"""

import json
import statistics
import tempfile
import time
import warnings
from typing import Any

import numpy as np
import torch

from discover.embed.config import EncoderConfig
from discover.embed.device import has_bfloat16
from discover.embed.encoder import Encoder
from discover.learn.classifier import TextClassifier
from discover.learn.config import LearnConfig
from discover.learn.samples import column
from tests.benchmarks._data import labelled

SETS = {"ag_news_desc": 320, "trec6": 640}
TESTED, REPEATS, EPOCHS = 500, 3, 3
GOALS = {"full": 2.5, "top": 6.0}


def measure() -> list[dict[str, Any]]:
    """For each set and method a row of the speed, and one of the accuracy."""
    encoder = Encoder(EncoderConfig())
    rows = []
    for name, count in SETS.items():
        texts, y, classes = labelled(name, "train")
        order = np.random.default_rng(0).permutation(len(texts))[:count]
        train = [texts[at] for at in order], y[order]
        tested, truth, _ = labelled(name, "test")
        chosen = np.random.default_rng(0).permutation(len(tested))[:TESTED]
        test = [tested[at] for at in chosen], truth[chosen]
        runs = [
            {"peer": _trainer(encoder, train, test, len(classes))}
            | {method: _ours(encoder, method, train, test, classes) for method in GOALS}
            for _ in range(REPEATS)
        ]
        for method, goal in GOALS.items():
            rows += _rows(name, method, goal if has_bfloat16(encoder.device) else 1.0, runs)
    return rows


def _rows(name: str, method: str, goal: float, runs: list[dict[str, tuple[float, float]]]) -> list[dict[str, Any]]:
    (speed, right), (peer_speed, peer_right) = (
        [statistics.median(run[who][which] for run in runs) for which in (0, 1)] for who in (method, "peer")
    )
    ratio = statistics.median(run[method][0] / run["peer"][0] for run in runs)
    peer = {"peer": "transformers Trainer"}
    return [
        {"name": f"train {method} {name}", "value": round(speed, 1), "unit": "documents/s", **peer}
        | {"peer_value": round(peer_speed, 1), "ratio": round(ratio, 2), "goal": goal, "holds": ratio >= goal},
        {"name": f"train {method} {name}, accuracy", "value": round(right, 4), "unit": "share", **peer}
        | {"peer_value": round(peer_right, 4), "ratio": None, "goal": 0.0, "holds": right >= peer_right},
    ]


def _ours(encoder: Encoder, method: str, train: Any, test: Any, classes: list[str]) -> tuple[float, float]:
    (texts, y), (tested, truth) = train, test
    every = texts + tested
    config = LearnConfig(method=method, epochs=EPOCHS, steps=0, propagate=False, folds=0)
    names = dict.fromkeys(classes, "")
    classifier = TextClassifier(encoder, lambda ids: [every[i] for i in ids], names, config, 0)
    started = time.perf_counter()
    classifier.fit(column(range(len(texts))), y)
    seconds = time.perf_counter() - started
    right = classifier.predict(column(range(len(texts), len(every)))) == truth
    return EPOCHS * len(texts) / seconds, float(right.mean())


def _trainer(encoder: Encoder, train: Any, test: Any, count: int) -> tuple[float, float]:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding, Trainer
    from transformers import TrainingArguments as Arguments

    tokenizer = AutoTokenizer.from_pretrained(encoder.folder)
    model = AutoModelForSequenceClassification.from_pretrained(encoder.folder, num_labels=count)
    (texts, y), (tested, truth) = train, test

    def rows(texts: list[str], y: np.ndarray) -> list[dict[str, Any]]:
        found = tokenizer(texts, truncation=True, max_length=encoder.limit)["input_ids"]
        return [{"input_ids": ids, "labels": int(one)} for ids, one in zip(found, y, strict=True)]

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        arguments = Arguments(folder, num_train_epochs=EPOCHS, report_to=[], save_strategy="no", disable_tqdm=True)
        trainer = Trainer(
            model, arguments, train_dataset=rows(texts, y), data_collator=DataCollatorWithPadding(tokenizer)
        )
        torch.manual_seed(0)
        started = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - started
        right = trainer.predict(rows(tested, truth)).predictions.argmax(1) == truth
    return EPOCHS * len(texts) / seconds, float(right.mean())


if __name__ == "__main__":
    for row in measure():
        print(json.dumps(row))
