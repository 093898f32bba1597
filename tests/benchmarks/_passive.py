"""One training on labels that were not chosen, and its predictions: what several benchmarks share."""

import time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from discover.embed.encoder import Encoder
from discover.learn.classifier import TextClassifier
from discover.learn.config import LearnConfig
from discover.learn.samples import column
from tests.benchmarks._data import labelled

TESTED = 1000


class Job(NamedTuple):
    """What is learned, and what is tested.

    Attributes:
        texts: the m that are learned.
        y: (m,) their class indices.
        tested: the texts of the k test documents.
        truth: (k,) their class indices.
        rest: what nobody has labelled, in a random order.
        names: of the classes.
    """

    texts: list[str]
    y: NDArray[np.int64]
    tested: list[str]
    truth: NDArray[np.int64]
    rest: list[str]
    names: list[str]


def draw(name: str, count: int, seed: int, most: int | None = TESTED) -> Job:
    """Labels at random, of banking77 as many of each class; test documents of the set's own, in a random order.

    Args:
        name: of the set.
        count: labels.
        seed: of both draws.
        most: test documents that there may be; None: all.
    """
    texts, y, names = labelled(name, "train")
    tested, truth, _ = labelled(name, "test", names)
    rng = np.random.default_rng(seed)
    order, chosen = rng.permutation(len(texts)), rng.permutation(len(tested))[:most]
    if name == "banking77":
        each = count // len(names)
        order = np.concatenate([[at for at in order if y[at] == one][:each] for one in range(len(names))])
    learned = order[:count]
    rest = rng.permutation(np.setdiff1d(np.arange(len(texts)), learned))
    return Job(
        [texts[at] for at in learned],
        y[learned],
        [tested[at] for at in chosen],
        truth[chosen],
        [texts[at] for at in rest],
        names,
    )


def learn(encoder: Encoder, job: Job, config: LearnConfig, seed: int) -> tuple[NDArray[np.float64], float]:
    """Probabilities of the test documents, (k, c), and the seconds that learning took."""
    every = job.texts + job.tested + job.rest[: config.unlabelled]
    learned, tested = len(job.texts), len(job.tested)
    classifier = TextClassifier(
        encoder, lambda ids: [every[i] for i in ids], dict.fromkeys(job.names, ""), config, seed
    )
    classifier.unlabelled = np.arange(learned + tested, len(every))
    started = time.perf_counter()
    classifier.fit(column(range(learned)), job.y)
    seconds = time.perf_counter() - started
    return classifier.predict_proba(column(range(learned, learned + tested))), seconds
