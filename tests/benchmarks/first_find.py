"""One document in a hundred is wanted and every answer has been no: after how many more does `auto` ask about one?

Of one class of a set so much is left out of the pool, for each seed something else, that it is 1 %, and the question is
whether a document is of that class. The 25 seed labels, drawn uniformly, are all no: seeds that begin with a find are
left aside. Once with a description of what is wanted, written by one who had read none of the documents, and once with
none, where the classes are only called no and yes; 400 labels are the most. Asking at random takes (n + 1) / (k + 1)
labels in the mean, k of the n documents that are left being wanted.
"""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover.embed.config import EncoderConfig
from discover.embed.encoder import Encoder
from discover.learn.classifier import TextClassifier
from discover.learn.config import LearnConfig
from discover.learn.learner import Learner
from discover.pool.labelled import read_dataset
from discover.query.strategy import load_strategy
from discover.simulate import Arena, SimulationConfig, play
from tests.benchmarks._data import thinned
from tests.benchmarks._row import row

WANTED = {
    "sms_spam": ("spam", "an unwanted advertisement or an attempted fraud"),
    "trec6": ("NUM", "asks for a number, an amount or a date"),
    "banking77": ("card_arrival", "a card that was ordered has not arrived"),
    "mpqa": ("positive", "says something positive"),
    "financial_phrasebank_50": ("negative", "bad news about a company"),
}
SHARE, SEEDS = 0.01, 6
RULES = SimulationConfig(initial=25, batch=25, budget=425, test_limit=1)
NO = {"text": "-", "label": "no"}  # what a campaign tests itself on, which says nothing here


class Remembering:
    """The encoder, but a text is encoded once."""

    def __init__(self, encoder: Encoder):
        self._encoder = encoder
        self._known: dict[str, NDArray[np.float32]] = {}

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors, (n, d)."""
        fresh = [text for text in dict.fromkeys(texts) if text not in self._known]
        self._known |= dict(zip(fresh, self._encoder.encode(fresh), strict=True))
        return np.stack([self._known[text] for text in texts])


def measure() -> list[dict[str, Any]]:
    """A row a set and description."""
    encoder, rows = Encoder(EncoderConfig()), []
    for name, (label, description) in WANTED.items():
        remembering = Remembering(encoder)
        found: dict[str, list[int]] = {description: [], "": []}
        expected = []
        for seed in range(SEEDS):
            with tempfile.TemporaryDirectory() as made:
                files = _asked_about(name, label, Path(made), seed)
                arena = Arena(read_dataset(*files), Path(made), encoder.version, encoder.dimension)
                arena.embed(remembering, RULES.test_limit)
                no, yes = np.bincount(arena.dataset.y[: arena.dataset.n])
                expected.append((no + yes - RULES.initial + 1) / (yes + 1))
                for words, labels in found.items():
                    labels += _labels(encoder, arena, words, seed)
        chance = float(np.mean(expected))
        for words, labels in found.items():
            mean, said = float(np.mean(labels)), "described" if words else "not described"
            print(f"{name}, {said}: {labels} labels to the first")
            title = f"labels to the first rare one, {said}, {name}, mean"
            beside = {"peer": "random, expected", "peer_value": round(chance, 1), "ratio": round(chance / mean, 2)}
            rows.append(row(title, round(mean, 1), "labels", 1.0, mean <= chance, **beside))
    return rows


def _asked_about(name: str, label: str, folder: Path, seed: int) -> tuple[Path, Path]:
    """A set's training file as answers yes and no, one in a hundred yes, and a file to test on."""
    asked, tested = folder / "asked.jsonl", folder / "tested.jsonl"
    thin = thinned(name, {label: SHARE}, folder, seed).read_text(encoding="utf-8")
    rows = [json.loads(line) for line in thin.splitlines()]
    answers = [{"text": one["text"], "label": "yes" if one["label"] == label else "no"} for one in rows]
    for path, lines in ((asked, answers), (tested, [NO])):
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return asked, tested


def _labels(encoder: Encoder, arena: Arena, description: str, seed: int) -> list[int]:
    """Labels beyond the seed labels, up to and with the first yes; none where there is one among those."""
    classes = {"no": "", "yes": description}
    classifier = TextClassifier(encoder, arena.texts, classes, LearnConfig(method="head"), seed, vectors=arena.vectors)
    asked = np.empty(0, np.int64)
    for one in play(arena, Learner(classifier), load_strategy("auto"), RULES, seed):
        asked = np.append(asked, one.asked)
        finds = np.flatnonzero(arena.dataset.y[asked] == arena.dataset.classes.index("yes"))
        if len(finds):
            return [] if finds[0] < RULES.initial else [int(finds[0]) + 1 - RULES.initial]
    return [len(asked) - RULES.initial]
