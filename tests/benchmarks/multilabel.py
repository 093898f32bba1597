"""Several labels a document: the whole loop, `discover import` to `discover run`, on pairs of clinc150 utterances.

A document is two utterances of different intents, joined, and has both as labels: 150 labels with nothing but names,
two a document, about 6 answers for each at the end. Pairs to learn from are made of the set's training utterances,
pairs to test on of its test ones. Both arms start from the same seed labels; the rows are means over seeds of the last
round.
"""

import gzip
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks._data import file_of

NAME, OUT_OF_SCOPE = "clinc150_oos", "oos"
POOL, TESTED, SEEDS = 3000, 1000, 3
STRATEGY = os.environ.get("BENCH_STRATEGY", "margin")
METHOD = os.environ.get("BENCH_METHOD", "head")  # fine-tuning 150 labels takes hours on 2 cores
CONTROL = "random"


def measure() -> list[dict[str, Any]]:
    """A row of micro-F1 and one of macro-F1: the strategy's beside that of random picks."""
    found: dict[tuple[str, str], list[float]] = {}
    for seed in range(SEEDS):
        with tempfile.TemporaryDirectory() as folder:
            for row in _campaign(Path(folder), seed):
                for score in ("micro_f1", "macro_f1"):
                    found.setdefault((row["arm"], score), []).append(row[score])
    return [_row(found, score) for score in ("micro_f1", "macro_f1")]


def joined(split: str, count: int, seed: int) -> list[dict[str, Any]]:
    """Rows of so many pairs, each of two utterances of different intents, drawn with replacement."""
    with gzip.open(file_of(NAME, split), "rt", encoding="utf-8") as lines:
        rows = [row for row in map(json.loads, lines) if row["label"] != OUT_OF_SCOPE]
    rng, pairs = np.random.default_rng(seed), []
    while len(pairs) < count:
        one, other = (rows[at] for at in rng.integers(len(rows), size=2))
        if one["label"] != other["label"]:
            text, labels = f"{one['text']}. {other['text']}", [one["label"], other["label"]]
            pairs.append({"text": text, "label": labels, "split": split})
    return pairs


def _campaign(folder: Path, seed: int) -> list[dict[str, Any]]:
    """The lines of metrics of the last round, one an arm."""
    rows = [*joined("train", POOL, seed), *joined("test", TESTED, seed)]
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    classes = sorted({label for row in rows for label in row["label"]})
    config = {
        "seed": seed,
        "label": {"task": "multilabel", "classes": classes, "oracle": "file_labels", "budget": 500, "seed": 100},
        "query": {"strategy": STRATEGY, "batch": 100},
        "learn": {"method": METHOD},
        "encoder": {"max_tokens": 64},
        "loop": {"arms": [STRATEGY, CONTROL]},
    }
    (folder / "pairs.yaml").write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
    run, settings = folder / "run", folder / "pairs.yaml"
    for words in (["import", settings, folder / "pairs.jsonl"], ["run", settings]):
        subprocess.run([Path(sys.executable).with_name("discover"), *words, "--run", run], check=True)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return lines[-2:]


def _row(found: dict[tuple[str, str], list[float]], score: str) -> dict[str, Any]:
    ours, control = (float(np.mean(found[arm, score])) for arm in (STRATEGY, CONTROL))
    row = {"name": f"{score}, {STRATEGY}, pairs of clinc150", "value": round(ours, 4), "unit": "F1"}
    row |= {"peer": CONTROL, "peer_value": round(control, 4), "ratio": round(ours / control, 3)}
    return row | {"goal": 1, "holds": ours > control}
