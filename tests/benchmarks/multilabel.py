"""Several labels a document: the whole loop, `discover import` to `discover run`, on joined clinc150 utterances.

Pairs: two utterances of different intents, with both as labels; 150 labels with nothing but names, about 6 answers for
each at the end. Few: 20 of the intents are labels, of which a document holds none to three, beside utterances that have
no label. Documents to ask about are made of the set's training utterances, those to test on of its test ones. Both arms
start from the same seed labels; the rows are means over seeds of the last round.
"""

import gzip
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from discover.pool.labels import NONE
from tests.benchmarks._data import file_of

NAME, OUT_OF_SCOPE, CONTROL = "clinc150_oos", "oos", "random"
POOL, TESTED, SEEDS = 3000, 1000, 2
STRATEGY = os.environ.get("BENCH_STRATEGY", "margin")
METHOD = os.environ.get("BENCH_METHOD", "head")  # fine-tuning takes hours on 2 cores


class Task(NamedTuple):
    """What documents are made of, and what may be spent on them.

    Attributes:
        labels: how many of the intents are labels.
        share: of the documents with so many labels, from none on.
        length: utterances of a document, at least.
        seed, batch, budget: as in `label` and `query`.
    """

    labels: int
    share: tuple[float, ...]
    length: int
    seed: int
    batch: int
    budget: int


TASKS = {
    "pairs, 150 labels": Task(150, (0, 0, 1), 2, 100, 100, 500),
    "none to three of 20 labels": Task(20, (0.45, 0.35, 0.15, 0.05), 2, 50, 50, 350),
}


def measure() -> list[dict[str, Any]]:
    """A row of micro-F1 and one of macro-F1 for each task: the strategy's beside that of random picks."""
    rows = []
    for title, task in TASKS.items():
        last: list[dict[str, Any]] = []
        for seed in range(SEEDS):
            with tempfile.TemporaryDirectory() as folder:
                last += _campaign(Path(folder), task, seed)
        rows += [_row(title, score, last) for score in ("micro_f1", "macro_f1")]
    return rows


def joined(task: Task, split: str, count: int, seed: int) -> list[dict[str, Any]]:
    """So many documents of a split, their utterances drawn with replacement."""
    with gzip.open(file_of(NAME, split), "rt", encoding="utf-8") as lines:
        found = [row for row in map(json.loads, lines) if row["label"] != OUT_OF_SCOPE]
    names = sorted({row["label"] for row in found})
    chosen = {names[at] for at in np.random.default_rng(0).permutation(len(names))[: task.labels]}
    own = [row for row in found if row["label"] in chosen]
    others = [row for row in found if row["label"] not in chosen]
    rng, rows = np.random.default_rng(seed), []
    while len(rows) < count:
        wanted = int(rng.choice(len(task.share), p=task.share))
        parts = [own[at] for at in rng.integers(len(own), size=wanted)]
        labels = sorted({part["label"] for part in parts})
        if len(labels) == wanted:
            parts += [others[at] for at in rng.integers(len(others) or 1, size=max(0, task.length - wanted))]
            text = ". ".join(parts[at]["text"] for at in rng.permutation(len(parts)))
            rows.append({"text": text, "label": labels or [NONE], "split": split})
    return rows


def _campaign(folder: Path, task: Task, seed: int) -> list[dict[str, Any]]:
    """The lines of metrics of the last round, one an arm."""
    rows = [*joined(task, "train", POOL, seed), *joined(task, "test", TESTED, seed)]
    (folder / "joined.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    classes = sorted({label for row in rows for label in row["label"]} - {NONE})
    label = {"task": "multilabel", "classes": classes, "oracle": "file_labels"}
    config = {
        "seed": seed,
        "label": {**label, "budget": task.budget, "seed": task.seed},
        "query": {"strategy": STRATEGY, "batch": task.batch},
        "learn": {"method": METHOD},
        "encoder": {"max_tokens": 64},
        "loop": {"arms": [STRATEGY, CONTROL]},
    }
    (folder / "joined.yaml").write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
    run, settings = folder / "run", folder / "joined.yaml"
    for words in (["import", settings, folder / "joined.jsonl"], ["run", settings]):
        subprocess.run([Path(sys.executable).with_name("discover"), *words, "--run", run], check=True)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return lines[-2:]


def _row(title: str, score: str, last: list[dict[str, Any]]) -> dict[str, Any]:
    ours, control = (float(np.mean([row[score] for row in last if row["arm"] == arm])) for arm in (STRATEGY, CONTROL))
    row = {"name": f"{score}, {STRATEGY}, {title}", "value": round(ours, 4), "unit": "F1"}
    row |= {"peer": CONTROL, "peer_value": round(control, 4), "ratio": round(ours / control, 3)}
    return row | {"goal": 1, "holds": ours > control}
