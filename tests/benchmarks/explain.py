"""Explanations held against deletion: what the words are worth that an explanation calls the strongest.

A model is fine-tuned on 300 labels of each set. Of each of 100 test documents a fifth of the words is deleted, at least
one, and the document predicted again: the strongest words, as many at random (the mean of five draws), the weakest, and
those that occlusion finds, the naive way: each word is left out in turn, and what that costs is its weight. A drop is
how much less probable the class has become that was predicted before; a comparison holds where Student's 95 % interval
of the differences, paired by document, lies above 0. DeYoung et al., "ERASER", 2020 (comprehensiveness),
https://arxiv.org/abs/1911.03429.

Neighbours are held against those of the frozen encoder: how many of the three nearest answers are of the predicted
class. Seconds are CPU time of this process.
"""

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover.embed.config import EncoderConfig
from discover.embed.encoder import Encoder
from discover.evaluate.seeds import half_width
from discover.learn.classifier import TextClassifier
from discover.learn.config import LearnConfig
from discover.learn.explain import NEIGHBOURS, TOLERANCE, Explainer, Explanation, Word
from discover.learn.samples import column
from tests.benchmarks._passive import Job, draw

SETS = ("trec6", "ag_news_desc")
LABELS, TESTED, SHARE, DRAWS = 300, 100, 0.2, 5


def measure() -> list[dict[str, Any]]:
    """Rows for each set: three of deletion, one of the weights' sum, one of the neighbours, and one of the time."""
    encoder = Encoder(EncoderConfig())
    return [row for name in SETS for row in _rows(name, _Model(encoder, draw(name, LABELS, 0)))]


def _rows(name: str, model: "_Model") -> list[dict[str, Any]]:
    explainer = Explainer(model.classifier)
    explainer.explain(model.tested[:1])  # the vectors of the answers are made once
    started = time.process_time()
    found = explainer.explain(model.tested)
    milliseconds = 1000 * (time.process_time() - started) / TESTED
    ranked = [np.argsort([-word.weight for word in one.words], kind="stable") for one in found]
    strongest = model.drops(found, ranked)
    weakest = model.drops(found, [order[::-1] for order in ranked])
    rng = np.random.default_rng(0)
    at_random = [model.drops(found, [rng.permutation(order) for order in ranked]) for _ in range(DRAWS)]
    occlusion = model.drops(found, [np.argsort(-model.occlusion(at, one)) for at, one in enumerate(found)])
    summed = float(np.mean([_adds_up(one) for one in found]))
    return [
        _against(name, "random words", strongest, np.mean(at_random, axis=0)),
        _against(name, "weakest words", strongest, weakest),
        _against(name, "occlusion", strongest, occlusion)
        | {"goal": 0.8}
        | {"holds": bool(strongest.mean() >= 0.8 * occlusion.mean())},
        {"name": f"explain {name}, weights add up", "value": summed, "unit": "of documents", "peer": "all"}
        | {"peer_value": 1, "ratio": summed, "goal": 0.95, "holds": summed >= 0.95},
        _neighbours(name, model, found),
        {"name": f"explain {name}, a document", "value": round(milliseconds), "unit": "ms", "peer": "a second"}
        | {"peer_value": 1000, "ratio": round(milliseconds / 1000, 3), "goal": 1, "holds": milliseconds <= 1000},
    ]


class _Model:
    """A fine-tuned classifier, and the test documents that it explains."""

    def __init__(self, encoder: Encoder, job: Job):
        config = LearnConfig(folds=0)  # a temperature would scale all weights alike
        self.texts = [*job.texts, *job.tested[:TESTED], *job.rest[: config.unlabelled]]
        self.tested = column(range(LABELS, LABELS + TESTED))
        names = dict.fromkeys(job.names, "")
        self.classifier = TextClassifier(encoder, lambda ids: [self.texts[i] for i in ids], names, config, 0)
        self.classifier.unlabelled = np.arange(LABELS + TESTED, len(self.texts))
        self.classifier.fit(column(range(LABELS)), job.y)
        self.frozen = encoder.encode(self.texts[: LABELS + TESTED])

    def drops(self, found: list[Explanation], orders: list[NDArray[np.int64]]) -> NDArray[np.float64]:
        """(n,) what the first fifth of each document's words, in its order, is worth."""
        chosen = [[one.words[at] for at in order[: _few(one)]] for one, order in zip(found, orders, strict=True)]
        less = [_without(self.texts[LABELS + at], words) for at, words in enumerate(chosen)]
        likely = self._predict(less)
        return np.array([one.probability - row[one.predicted] for one, row in zip(found, likely, strict=True)])

    def occlusion(self, at: int, one: Explanation) -> NDArray[np.float64]:
        """(w,) how much less probable the prediction is without each word."""
        likely = self._predict([_without(self.texts[LABELS + at], [word]) for word in one.words])
        return one.probability - likely[:, one.predicted]

    def _predict(self, texts: list[str]) -> NDArray[np.float64]:
        start = len(self.texts)
        self.texts.extend(texts)  # a row id is used once: what was computed of it is kept
        return self.classifier.predict_proba(column(range(start, len(self.texts))))


def _few(one: Explanation) -> int:
    return max(1, round(SHARE * len(one.words)))


def _without(text: str, words: list[Word]) -> str:
    for word in sorted(words, reverse=True):
        text = text[: word.start] + text[word.stop :]
    return " ".join(text.split())


def _adds_up(one: Explanation) -> bool:
    gained = sum(word.weight for word in one.words) - one.error
    return abs(one.error) <= TOLERANCE * max(1, abs(gained))


def _against(name: str, peer: str, ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> dict[str, Any]:
    value, other = float(ours.mean()), float(theirs.mean())
    difference, half = value - other, float(half_width(ours - theirs))
    interval = f"{difference:+.3f} [{difference - half:+.3f}, {difference + half:+.3f}]"
    print(f"{name}: {value:.3f}, {peer} {other:.3f}, {interval}", flush=True)
    row = {"name": f"explain {name}, strongest words", "value": round(value, 4), "unit": "drop", "peer": peer}
    row |= {"peer_value": round(other, 4), "ratio": round(value / other, 2) if other > 0 else None}
    return row | {"goal": 1, "holds": difference > half}


def _neighbours(name: str, model: _Model, found: list[Explanation]) -> dict[str, Any]:
    predicted = np.array([one.predicted for one in found])
    taught, tested = model.frozen[:LABELS], model.frozen[LABELS:]
    order = np.argsort(-(tested @ taught.T), axis=1)[:, :NEIGHBOURS]
    answers = np.array([model.classifier.taught[row] for row in range(LABELS)])
    frozen = float((answers[order] == predicted[:, None]).mean())
    own = float(np.mean([[near.answer == one.predicted for near in one.neighbours] for one in found]))
    row = {"name": f"explain {name}, neighbours agree", "value": round(own, 3), "unit": "of answers"}
    row |= {"peer": "the frozen encoder", "peer_value": round(frozen, 3), "ratio": round(own / frozen, 2)}
    return row | {"goal": 1, "holds": own >= frozen}
