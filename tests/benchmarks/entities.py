"""Named entities: how much of random's budget in words margin needs to get to its F1, on wnut17.

The whole loop, `discover import` to `discover run`, with a simulated annotator: both arms start from the same seed
labels and spend the same number of words. F1 is of entities, by seqeval, on the set's test sentences; settings were
chosen on its dev split (`BENCH_SPLIT=dev` measures there). Curves are means over seeds, linear between rounds, and
margin is there from where its curve stays at or above random's last point.
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
from numpy.typing import NDArray

from discover.evaluate.compare import labels_to_reach
from tests.benchmarks._data import file_of
from tests.benchmarks._row import row

NAME, CONTROL, GOAL = "wnut17", "random", 0.75
CLASSES = ("person", "location", "corporation", "group", "product", "creative-work")
SEEDS = int(os.environ.get("BENCH_SEEDS", "2"))
SPLIT = os.environ.get("BENCH_SPLIT", "test")
STRATEGY = os.environ.get("BENCH_STRATEGY", "margin")
CONFIG = {
    "label": {"task": "spans", "classes": CLASSES, "oracle": "file_labels", "budget": 4500, "seed": 40, "audit": 0},
    "query": {"strategy": STRATEGY, "batch": 40, "cost": "tokens", "candidates": {"count": 1000}},
    "learn": {"method": "top", "layers": 3},  # all of it takes twice as long
    "encoder": {"max_tokens": 96},
    "loop": {"arms": [STRATEGY, CONTROL]},
}


def measure() -> list[dict[str, Any]]:
    """Random's last F1, margin's, and the share of the words after which margin is at random's."""
    seeds = [_campaign(seed) for seed in range(SEEDS)]
    curves = {arm: _mean([_curve(lines, arm) for lines in seeds]) for arm in (STRATEGY, CONTROL)}
    (words, ours), (spent, theirs) = curves[STRATEGY], curves[CONTROL]
    target = float(theirs[-1])
    needed = labels_to_reach(words, ours, target, lasting=True)
    share = round(needed / float(spent[-1]), 3) if needed is not None else None
    what = f"{NAME} {SPLIT}, {SEEDS} seeds, {CONFIG['label']['budget']} words"
    last = {"peer": CONTROL, "peer_value": round(target, 4), "ratio": round(float(ours[-1]) / max(target, 1e-9), 3)}
    return [
        row(f"entity F1, {STRATEGY}, {what}", round(float(ours[-1]), 4), "F1", 1, ours[-1] > target, **last),
        row(
            f"share of the words at which {STRATEGY} has {CONTROL}'s F1, {what}",
            1.0 if share is None else share,
            "share" if share is not None else "share (it never stays there)",
            GOAL,
            share is not None and share <= GOAL,
            peer=CONTROL,
            peer_value=1.0,
            ratio=share,
        ),
    ]


def _campaign(seed: int) -> list[dict[str, Any]]:
    """The lines of metrics of both arms."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [*_rows("train", "train"), *_rows(SPLIT, "test")]
        (folder / "in.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
        (folder / "entities.yaml").write_text(json.dumps(CONFIG | {"seed": seed}), encoding="utf-8")  # JSON is YAML
        run, settings = folder / "run", folder / "entities.yaml"
        for words in (["import", settings, folder / "in.jsonl"], ["run", settings]):
            subprocess.run([Path(sys.executable).with_name("discover"), *words, "--run", run], check=True)
        return [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def _rows(split: str, use: str) -> list[dict[str, Any]]:
    with gzip.open(file_of(NAME, split), "rt", encoding="utf-8") as lines:
        return [json.loads(line) | {"split": use} for line in lines]


def _curve(lines: list[dict[str, Any]], arm: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Words and F1 of each round that asked for any."""
    spent = {line["words"]: line["entity_f1"] for line in lines if line["arm"] == arm}
    return np.array(sorted(spent), np.float64), np.array([spent[words] for words in sorted(spent)])


def _mean(curves: list[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> tuple[NDArray[np.float64], ...]:
    """The mean curve over the words that all have spent."""
    low, high = max(words[0] for words, _ in curves), min(words[-1] for words, _ in curves)
    grid = np.unique(np.concatenate([words for words, _ in curves]).clip(low, high))
    return grid, np.mean([np.interp(grid, words, scores) for words, scores in curves], axis=0)
