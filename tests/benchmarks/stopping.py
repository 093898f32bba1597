"""Simulated campaigns with an audit sample: do its intervals cover the truth, and what does each stopping rule cost?

Each round draws audit documents from the test set, which is never asked about, and half of them, as in the loop, are
for the figure that is reported; the truth is the accuracy on all of the test set. A rule sees what the loop would show
it; its row says after how many labels it stops, and how much more accurate the model was at the end of the budget.
"""

import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from discover import plugins
from discover.embed.config import EncoderConfig
from discover.embed.encoder import Encoder
from discover.evaluate import audit
from discover.learn.classifier import TextClassifier
from discover.learn.config import LearnConfig
from discover.learn.learner import Learner
from discover.pool.labelled import read_dataset
from discover.query.strategy import load_strategy
from discover.query.view import PastRound, Progress
from discover.simulate import Arena, SimulationConfig, play
from tests.benchmarks._data import file_of

SETS, SEEDS, AUDITED = ("trec6", "sst2", "tweeteval_emotion"), 10, 10  # small ones: encoding a pool costs the most
RULES = SimulationConfig(batch=50, budget=525, test_limit=2000)  # the batch of `query.batch`
COVERED, LOSS = 0.90, 0.02


def measure() -> list[dict[str, Any]]:
    """A row of coverage for each set, and one for each rule over all of them."""
    encoder, rows = Encoder(EncoderConfig()), []
    stops: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for name in SETS:
        covered: list[bool] = []
        with tempfile.TemporaryDirectory() as folder:
            dataset = read_dataset(file_of(name, "train"), file_of(name, "test"))
            arena = Arena(dataset, Path(folder), encoder.version, encoder.dimension)
            arena.embed(encoder, RULES.test_limit)
            for seed in range(SEEDS):
                _campaign(encoder, arena, seed, covered, stops)
        share = float(np.mean(covered))
        rows.append(_row(f"95% intervals that cover, {name}", share, "share", None, COVERED, share >= COVERED))
    for rule, found in stops.items():
        labels, loss = (float(np.mean(column)) for column in zip(*found, strict=True))
        rows.append(_row(f"stop by {rule}", labels, "labels", round(loss, 4), LOSS, loss <= LOSS))
    return rows


def _campaign(
    encoder: Encoder, arena: Arena, seed: int, covered: list[bool], stops: dict[str, list[tuple[int, float]]]
) -> None:
    names = dict.fromkeys(arena.dataset.classes, "")
    classifier = TextClassifier(encoder, arena.texts, names, LearnConfig(method="head"), seed, vectors=arena.vectors)
    learner, tested = Learner(classifier), arena.dataset.test[: RULES.test_limit]
    audits = np.random.default_rng(seed).permutation(len(tested))
    parts = np.array([audit.part(arena.dataset.public_ids[tested[at]], seed) == audit.REPORT for at in audits])
    past: list[PastRound] = []
    stopped: dict[str, tuple[int, float]] = {}
    for one in play(arena, learner, load_strategy("auto"), RULES, seed):
        right = learner.predict_proba(tested).argmax(axis=1) == arena.dataset.y[tested]
        seen, reported = right[audits[: AUDITED * (len(past) + 1)]], parts[: AUDITED * (len(past) + 1)]
        found, decided = audit.estimate(seen[reported]), audit.estimate(seen[~reported])
        covered.append(found.low <= one.accuracy <= found.high)
        known = {name: getattr(classifier, name) for name in ("cross_validated", "changed", "unsure")}
        deciding = audits[: len(seen)][~reported]
        both = (frozenset(deciding[right[deciding] == one].tolist()) for one in (True, False))
        past.append(PastRound(len(past), decided.value, decided.low, decided.high, *both, **known))
        for rule in plugins.names("discover.query.stopping"):
            if rule not in stopped and plugins.load("discover.query.stopping", rule)(_progress(one.labels, past)):
                stopped[rule] = (one.labels, one.accuracy)
    for rule in plugins.names("discover.query.stopping"):
        labels, accuracy = stopped.get(rule, (one.labels, one.accuracy))
        stops[rule].append((labels, one.accuracy - accuracy))


def _progress(labels: int, past: list[PastRound]) -> Progress:
    return Progress(labels, RULES.budget, tuple(past))


def _row(name: str, value: float, unit: str, ratio: float | None, goal: float, holds: bool) -> dict[str, Any]:
    peer = "whole budget" if unit == "labels" else None
    found = {"name": name, "value": round(value, 4), "unit": unit, "peer": peer}
    return found | {"peer_value": RULES.budget if peer else None, "ratio": ratio, "goal": goal, "holds": holds}
