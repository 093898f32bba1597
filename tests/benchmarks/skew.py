"""Skewed pools: the rare classes' F1 that margin has with 400 labels, and what seeking rare classes has with 200.

F1 is the mean over the classes that are rare in the pool (`metrics.minority`), on the set's own test documents, whose
shares stay as they are; both sides start from the same seed labels, drawn uniformly. Of the spam so much is left out of
the pool that 1 % of the rest is spam.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from discover.embed.config import EncoderConfig
from discover.embed.encoder import Encoder
from discover.evaluate.metrics import minority
from discover.learn.classifier import TextClassifier
from discover.learn.config import LearnConfig
from discover.learn.learner import Learner
from discover.pool.labelled import read_dataset
from discover.query.strategy import load_strategy
from discover.simulate import Arena, SimulationConfig, play
from tests.benchmarks._data import file_of, thinned

SETS = {"sms_spam": 24, "sms_spam, spam 1 %": 10, "clinc150_imbalanced": 3}  # seeds; with 150 classes they take long
STRATEGY = os.environ.get("BENCH_STRATEGY", "rare_class")
HALF, WHOLE, TESTED = 200, 400, 2000


def measure() -> list[dict[str, Any]]:
    """A row a set."""
    encoder, rows = Encoder(EncoderConfig()), []
    for title, seeds in SETS.items():
        name, rare = title.partition(",")[0], "," in title
        with tempfile.TemporaryDirectory() as made:
            folder = Path(made)
            train = thinned(name, {"spam": 0.01}, folder) if rare else file_of(name, "train")
            arena = Arena(read_dataset(train, file_of(name, "test")), folder, encoder.version, encoder.dimension)
            arena.embed(encoder, TESTED)
            (ours, found), (margin, by_margin) = (
                np.mean([_campaign(encoder, arena, word, budget, seed) for seed in range(seeds)], axis=0).tolist()
                for word, budget in ((STRATEGY, HALF), ("margin", WHOLE))
            )
        print(f"{title}: {found:.0f} rare ones are among the {HALF} of {STRATEGY}, {by_margin:.0f} in margin's {WHOLE}")
        row = {"name": f"{STRATEGY}, {HALF} labels, {title}", "value": round(ours, 4), "unit": "F1"}
        row |= {"peer": f"margin, {WHOLE} labels", "peer_value": round(margin, 4), "ratio": round(ours / margin, 3)}
        rows.append(row | {"goal": 1.0, "holds": ours >= margin})
    return rows


def _campaign(encoder: Encoder, arena: Arena, word: str, budget: int, seed: int) -> tuple[float, int]:
    """F1 of the rare classes in the end, and how many of their documents were asked about."""
    names = dict.fromkeys(arena.dataset.classes, "")
    classifier = TextClassifier(encoder, arena.texts, names, LearnConfig(method="head"), seed, vectors=arena.vectors)
    rules = SimulationConfig(budget=budget, test_limit=TESTED)
    rounds = list(play(arena, Learner(classifier), load_strategy(word), rules, seed))
    answers = arena.dataset.y[np.concatenate([one.asked for one in rounds])]
    return rounds[-1].minority_f1, int(np.isin(answers, minority(arena.dataset.y[: arena.dataset.n])).sum())
