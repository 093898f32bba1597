"""Whether a search for settings helps: the learner's own against those found, on the set's test documents.

With 100 labels of each set, `discover.learn.search` tries ten settings for the top layers in two folds of these. What
it finds best is held against the learner's own on up to 1,000 test documents, which the search never sees, whether it
calls it better or not: accuracy, with the 95 % interval of the paired difference. A row holds where the verdict does:
what is called better is not clearly worse on the test documents, and what is not called better is not clearly better.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover.embed.config import EncoderConfig
from discover.embed.encoder import Encoder
from discover.evaluate.compare import paired
from discover.learn.activations import ActivationCache
from discover.learn.classifier import TextClassifier
from discover.learn.config import LearnConfig
from discover.learn.likelihood import Categorical
from discover.learn.samples import column
from discover.learn.search import Objective, search
from tests.benchmarks._passive import Job, draw, learn

SETS = ("trec6", "sst2")
LABELS, TRIALS, FOLDS = 100, 10, 2
OWN = LearnConfig(method="top", folds=0, unlabelled=200)  # an hour's work with the whole encoder


def measure() -> list[dict[str, Any]]:
    """A row a set."""
    encoder = Encoder(EncoderConfig())
    return [_row(name, encoder, draw(name, LABELS, 0)) for name in SETS]


def _row(name: str, encoder: Encoder, job: Job) -> dict[str, Any]:
    objective = Objective(OWN, job.y, len(job.names), Categorical(), _learner(encoder, job), FOLDS, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        found = search(objective, Path(folder), name, TRIALS)
    before, after = (
        learn(encoder, job, settings, 0)[0].argmax(1) == job.truth
        for settings in (OWN, OWN.model_copy(update=found.changed))
    )
    difference = paired(after, before)
    print(f"{name}: {found}\n{name}: on the test documents {difference}", flush=True)
    right = difference.high >= 0 if found.better else difference.low <= 0
    row = {"name": f"search {name}, {'better' if found.better else 'not better'} it says", "unit": "accuracy"}
    row |= {"value": round(float(after.mean()), 4), "peer": "settings of before", "goal": None, "holds": bool(right)}
    return row | {"peer_value": round(float(before.mean()), 4), "ratio": round(float(after.mean() / before.mean()), 3)}


def _learner(encoder: Encoder, job: Job) -> Any:
    every = [*job.texts, *job.rest[: OWN.unlabelled]]
    cache, names = ActivationCache(OWN.cache_megabytes), dict.fromkeys(job.names, "")

    def logits(settings: LearnConfig, learned: NDArray[np.int64], held: NDArray[np.int64]) -> NDArray[np.float64]:
        classifier = TextClassifier(encoder, lambda ids: [every[i] for i in ids], names, settings, 0, cache)
        classifier.unlabelled = np.arange(LABELS, len(every))
        classifier.fit(column(learned), job.y[learned])
        return classifier.logits(column(held))

    return logits
