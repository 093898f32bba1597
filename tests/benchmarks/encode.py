"""Documents a second against sentence-transformers' `encode` with its defaults: same texts, model and machine."""

import gzip
import json
import statistics
import time
from collections.abc import Callable

import numpy as np

from discover.embed.config import EncoderConfig
from discover.embed.device import has_bfloat16
from discover.embed.encoder import Encoder
from tests.benchmarks._data import file_of

SETS = {"ag_news_desc": 1000, "trec6": 2000}
REPEATS = 5
GOAL = 4.0
COSINE = 0.999


def measure() -> list[dict]:
    """A row for the speed on each data set, and one for the lowest cosine to float32."""
    from sentence_transformers import SentenceTransformer

    ours, exact = Encoder(EncoderConfig()), Encoder(EncoderConfig(dtype="float32"))
    peer = SentenceTransformer(str(ours.folder), device=str(ours.device))
    goal = GOAL if has_bfloat16(ours.device) else 1.0
    rows, lowest = [], 1.0
    for name, count in SETS.items():
        texts = _texts(name, count)
        lowest = min(lowest, float((ours.encode(texts) * exact.encode(texts)).sum(1).min()))
        _rate(peer.encode, texts[:200])
        pairs = [(_rate(ours.encode, texts), _rate(peer.encode, texts)) for _ in range(REPEATS)]
        value, peer_value = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(mine / theirs for mine, theirs in pairs)
        rows.append(_row(f"encode {name}", value, "documents/s", goal, peer_value, ratio))
    return [*rows, _row("encode lowest cosine to float32", lowest, "cosine", COSINE)]


def _rate(encode: Callable[[list[str]], np.ndarray], texts: list[str]) -> float:
    begun = time.perf_counter()
    encode(texts)
    return len(texts) / (time.perf_counter() - begun)


def _texts(name: str, count: int) -> list[str]:
    with gzip.open(file_of(name, "train"), "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    order = np.random.default_rng(0).permutation(len(texts))[:count]
    return [texts[at] for at in order]


def _row(
    name: str, value: float, unit: str, goal: float, peer_value: float | None = None, ratio: float | None = None
) -> dict:
    measured = value if ratio is None else ratio
    return {
        "name": name,
        "value": value,
        "unit": unit,
        "peer": "sentence-transformers" if peer_value else None,
        "peer_value": peer_value,
        "ratio": ratio,
        "goal": goal,
        "holds": measured >= goal,
    }


if __name__ == "__main__":
    for row in measure():
        print(json.dumps(row))
