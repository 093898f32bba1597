"""The ways to learn, on the same random labels: accuracy, macro-F1 and seconds of each beside the default's.

Two sets: one that is much like what the settings were found on, one whose commonest class is three quarters of it.
"""

import json
from typing import Any

import numpy as np

from discover.embed.config import EncoderConfig
from discover.embed.encoder import Encoder
from discover.evaluate.metrics import accuracy, macro_f1
from discover.learn.config import LearnConfig
from tests.benchmarks._passive import draw, learn

SETS, COUNT, SEEDS = ("trec6", "atis"), 300, 3
DEFAULT = "full"
WAYS: dict[str, dict[str, Any]] = {
    DEFAULT: {},
    "full, balanced by sampling": {"balance": "sampling"},
    "lora": {"method": "lora"},
    "top": {"method": "top"},
    "head": {"method": "head"},
}
POINTS = 0.01  # by which the default may stay behind another way


def measure() -> list[dict[str, Any]]:
    """Three rows a set and way, of means over seeds; the default holds where no other way is clearly better."""
    encoder = Encoder(EncoderConfig())
    rows = []
    for name in SETS:
        found = {way: np.mean([_play(encoder, name, way, seed) for seed in range(SEEDS)], axis=0) for way in WAYS}
        for way, figures in found.items():
            for unit, value, peer in zip(("accuracy", "macro-F1", "s"), figures, found[DEFAULT], strict=True):
                gain = unit != "s" and way != DEFAULT
                rows.append(
                    {"name": f"{name}, {COUNT} labels, {way}", "value": round(float(value), 4), "unit": unit}
                    | {"peer": DEFAULT, "peer_value": round(float(peer), 4)}
                    | {"ratio": round(float(value - peer) if gain else float(value / peer), 4)}
                    | {"goal": POINTS if gain else None, "holds": not gain or bool(value - peer <= POINTS)}
                )
    return rows


def _play(encoder: Encoder, name: str, way: str, seed: int) -> tuple[float, float, float]:
    job = draw(name, COUNT, seed)
    found, seconds = learn(encoder, job, LearnConfig(folds=0, **WAYS[way]), seed)
    return accuracy(found.argmax(1), job.truth), macro_f1(found.argmax(1), job.truth), seconds


if __name__ == "__main__":
    for row in measure():
        print(json.dumps(row))
