"""Explanations held against deletion: what the words are worth that an explanation calls the strongest.

A model is fine-tuned on 300 labels of each set, or, on wnut17, 300 sentences with named entities. Of each of 100 test
documents a fifth of the words is deleted, at least one, and the document predicted again: the strongest words, as many
at random (the mean of five draws), the weakest, and those that occlusion finds, the naive way: each word is left out in
turn, and what that costs is its weight. A drop is how much less probable the class has become that was predicted
before; a comparison holds where Student's 95 % interval of the differences, paired by document, lies above 0. DeYoung
et al., "ERASER", 2020 (comprehensiveness), https://arxiv.org/abs/1911.03429.

Of entities the first is taken that is predicted in a sentence, and only words outside of it are deleted: blanks take
their place, so that it stays where it was. A drop is how much less probable exactly this entity has become.

Neighbours are held against those of the frozen encoder: how many of the three nearest answers are of the predicted
class. Seconds are CPU time of this process. `BENCH_SETS` names other sets.
"""

import gzip
import json
import os
import time
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from discover.embed.config import EncoderConfig
from discover.embed.encoder import Encoder
from discover.evaluate.seeds import half_width
from discover.learn.attribution import TOLERANCE, Word
from discover.learn.classifier import TextClassifier
from discover.learn.config import LearnConfig
from discover.learn.decoding import span_log_odds
from discover.learn.explain import NEIGHBOURS, Explainer, Explanation, SpanExplainer
from discover.learn.samples import column
from discover.learn.tagger import Tagger
from discover.learn.tags import runs_of, tags_of
from discover.pool.answers import Span, spans_array
from discover.pool.document import clean
from discover.pool.labels import Spans
from discover.pool.spans import joined
from tests.benchmarks._data import file_of
from tests.benchmarks._passive import draw
from tests.benchmarks._row import row
from tests.benchmarks.entities import CLASSES

ENTITIES = "wnut17"
SETS = tuple(os.environ.get("BENCH_SETS", f"trec6 ag_news_desc {ENTITIES}").split())
LABELS, TESTED, SHARE, DRAWS = 300, 100, 0.2, 5

Floats = NDArray[np.float64]


class Model(Protocol):
    """A fine-tuned model, and the n test documents whose predictions it explains."""

    texts: list[str]

    def explain(self) -> list[Explanation]:
        """The n explanations."""

    def deletable(self, one: Explanation) -> list[Word]:
        """Words of an explanation that may be deleted."""

    def without(self, text: str, words: list[Word]) -> str:
        """A text after words are deleted."""

    def chances(self, of: list[Explanation], texts: list[str]) -> Floats:
        """How likely each of k predictions is of the text beside it."""

    def agree(self, found: list[Explanation]) -> tuple[float, float]:
        """The share of the nearest answers that are of the predicted class: of ours, and of the frozen encoder's."""


def measure() -> list[dict[str, Any]]:
    """Rows for each set: three of deletion, one of the weights' sum, one of the neighbours, and one of the time."""
    encoder = Encoder(EncoderConfig())
    return [row for name in SETS for row in _rows(name, (Entities if name == ENTITIES else Documents)(encoder, name))]


def _rows(name: str, model: Model) -> list[dict[str, Any]]:
    started = time.process_time()
    found = model.explain()
    milliseconds = round(1000 * (time.process_time() - started) / len(found))
    words = [model.deletable(one) for one in found]
    weights = [np.array([word.weight for word in own]) for own in words]
    strongest = _drops(model, found, words, [-own for own in weights])
    rng = np.random.default_rng(0)
    at_random = [_drops(model, found, words, [rng.permutation(len(own)) for own in words]) for _ in range(DRAWS)]
    costs = [_occluded(model, *each) for each in zip(found, model.texts, words, strict=True)]
    occlusion = _drops(model, found, words, [-own for own in costs])
    beside = _against(name, "occlusion", strongest, occlusion)
    summed = float(np.mean([_adds_up(one) for one in found]))
    own, frozen = model.agree(found)
    return [
        _against(name, "random words", strongest, np.mean(at_random, axis=0)),
        _against(name, "weakest words", strongest, _drops(model, found, words, weights)),
        beside | {"goal": 0.8, "holds": bool(strongest.mean() >= 0.8 * occlusion.mean())},
        row(
            f"explain {name}, weights add up",
            summed,
            "of documents",
            0.95,
            summed >= 0.95,
            peer="all",
            peer_value=1,
            ratio=summed,
        ),
        row(
            f"explain {name}, neighbours agree",
            round(own, 3),
            "of answers",
            1,
            own >= frozen,
            peer="the frozen encoder",
            peer_value=round(frozen, 3),
            ratio=round(own / frozen, 2),
        ),
        row(
            f"explain {name}, a document",
            milliseconds,
            "ms",
            1,
            milliseconds <= 1000,
            peer="a second",
            peer_value=1000,
            ratio=round(milliseconds / 1000, 3),
        ),
    ]


def _drops(model: Model, found: list[Explanation], words: list[list[Word]], order: list[NDArray[Any]]) -> Floats:
    """(n,) what the first fifth of each document's words, in ascending order, is worth."""
    less = []
    for text, own, key in zip(model.texts, words, order, strict=True):
        first = np.argsort(key, kind="stable")[: max(1, round(SHARE * len(own)))]
        less.append(model.without(text, [own[at] for at in first]))
    return np.array([one.probability for one in found]) - model.chances(found, less)


def _occluded(model: Model, one: Explanation, text: str, words: list[Word]) -> Floats:
    """(w,) how much less probable the prediction is without each word."""
    return one.probability - model.chances([one] * len(words), [model.without(text, [word]) for word in words])


def _adds_up(one: Explanation) -> bool:
    gained = sum(word.weight for word in one.words) - one.error
    return abs(one.error) <= TOLERANCE * max(1, abs(gained))


def _against(name: str, peer: str, ours: Floats, theirs: Floats) -> dict[str, Any]:
    value, other = float(ours.mean()), float(theirs.mean())
    difference, half = value - other, float(half_width(ours - theirs))
    interval = f"{difference:+.3f} [{difference - half:+.3f}, {difference + half:+.3f}]"
    print(f"{name}: {value:.3f}, {peer} {other:.3f}, {interval}", flush=True)
    return row(
        f"explain {name}, strongest words",
        round(value, 4),
        "drop",
        1,
        difference > half,
        peer=peer,
        peer_value=round(other, 4),
        ratio=round(value / other, 2) if other > 0 else None,
    )


class Documents:
    """Of one class each."""

    def __init__(self, encoder: Encoder, name: str):
        job = draw(name, LABELS, 0)
        config = LearnConfig(folds=0)  # a temperature would scale all weights alike
        self.texts = job.tested[:TESTED]
        self._all = [*job.texts, *self.texts, *job.rest[: config.unlabelled]]
        self._asked = column(range(LABELS, LABELS + TESTED))
        names = dict.fromkeys(job.names, "")
        self._classifier = TextClassifier(encoder, lambda ids: [self._all[i] for i in ids], names, config, 0)
        self._classifier.unlabelled = np.arange(LABELS + TESTED, len(self._all))
        self._classifier.fit(column(range(LABELS)), job.y)
        self._frozen = encoder.encode(self._all[: LABELS + TESTED])
        self._explainer = Explainer(self._classifier)
        self._explainer.explain(self._asked[:1])  # the vectors of the answers are made once

    def explain(self) -> list[Explanation]:
        """As `Model` has it."""
        return self._explainer.explain(self._asked)

    def deletable(self, one: Explanation) -> list[Word]:
        """All of them."""
        return one.words

    def without(self, text: str, words: list[Word]) -> str:
        """The rest moves together."""
        for word in sorted(words, reverse=True):
            text = text[: word.start] + text[word.stop :]
        return " ".join(text.split())

    def chances(self, of: list[Explanation], texts: list[str]) -> Floats:
        """As `Model` has it."""
        start = len(self._all)
        self._all.extend(texts)  # a row id is used once: what was computed of it is kept
        likely = self._classifier.predict_proba(column(range(start, len(self._all))))
        return likely[np.arange(len(of)), [one.predicted for one in of]]

    def agree(self, found: list[Explanation]) -> tuple[float, float]:
        """As `Model` has it."""
        predicted = np.array([one.predicted for one in found])
        answers = np.array([self._classifier.taught[row] for row in range(LABELS)])
        nearest = _nearest(self._frozen[LABELS:], self._frozen[:LABELS])
        own = np.mean([[near.answer == one.predicted for near in one.neighbours] for one in found])
        return float(own), float((answers[nearest] == predicted[:, None]).mean())


class Entities:
    """Of the entities of each the first."""

    def __init__(self, encoder: Encoder, name: str):
        (learned, answers), (others, _) = _sentences(name, "train"), _sentences(name, "test")
        rng = np.random.default_rng(0)
        chosen = rng.permutation(len(learned))[:LABELS]
        self._all = [learned[at] for at in chosen] + [others[at] for at in rng.permutation(len(others))]
        config = LearnConfig(method="top", layers=3, folds=0)
        self._encoder, names = encoder, dict.fromkeys(CLASSES, "")
        self._tagger = Tagger(encoder, lambda ids: [self._all[i] for i in ids], names, config, 0)
        self._tagger.fit(column(range(LABELS)), spans_array([answers[at] for at in chosen]))
        asked = np.arange(LABELS, len(self._all))
        first = [next(iter(one), None) for one in self._tagger.predict(column(asked)).tolist()]
        more = [one is not None and _around(self._all[row], one) for row, one in zip(asked, first, strict=True)]
        self._asked = column(asked[more][:TESTED])
        self.texts = [self._all[row] for row in self._asked.ravel()]
        self._explainer = SpanExplainer(self._tagger, most=1)
        self._explainer.explain(self._asked[:1])  # the vectors of the answers are made once

    def explain(self) -> list[Explanation]:
        """As `Model` has it."""
        return [one for (one,) in self._explainer.explain(self._asked)]

    def deletable(self, one: Explanation) -> list[Word]:
        """What is outside of the entity."""
        start, stop, _ = one.predicted
        return [word for word in one.words if word.stop <= start or word.start >= stop]

    def without(self, text: str, words: list[Word]) -> str:
        """The rest stays where it is."""
        for word in words:
            text = text[: word.start] + " " * (word.stop - word.start) + text[word.stop :]
        return text

    def chances(self, of: list[Explanation], texts: list[str]) -> Floats:
        """As `Model` has it."""
        start, found = len(self._all), []
        self._all.extend(texts)
        read = self._tagger.calibrated(column(range(start, len(self._all))))
        for one, (logits, places) in zip(of, read, strict=True):
            (run,) = runs_of(tags_of([one.predicted], places)[0])
            found.append(float(span_log_odds(torch.from_numpy(logits)[None], run).sigmoid()))
        return np.array(found)

    def agree(self, found: list[Explanation]) -> tuple[float, float]:
        """As `Model` has it."""
        predicted = np.array([one.predicted[2] for one in found])
        learned = [(self._all[row], span) for row, spans in self._tagger.taught.items() for span in spans]
        asked = [(text, one.predicted) for text, one in zip(self.texts, found, strict=True)]
        answers = np.array([kind for _, (_, _, kind) in learned])
        nearest = _nearest(*(np.stack([self._frozen(*one) for one in those]) for those in (asked, learned)))
        own = np.mean([[near.answer[2] == one.predicted[2] for near in one.neighbours] for one in found])
        return float(own), float((answers[nearest] == predicted[:, None]).mean())

    def _frozen(self, text: str, span: Span) -> NDArray[np.float32]:
        """(d,) unit vector of an entity under the frozen encoder, whose mean is taken as the explainer's is."""
        (states,) = self._encoder.lower(self._encoder.tokenize([text]), self._encoder.layers)
        _, first, places = self._tagger.words(text)
        ((start, stop, _),) = runs_of(tags_of([span], places)[0])
        mean = torch.nn.functional.normalize(states[first[start:stop]].float(), dim=-1).mean(0)
        return torch.nn.functional.normalize(mean, dim=0).numpy()


def _nearest(asked: NDArray[np.float32], learned: NDArray[np.float32]) -> NDArray[np.int64]:
    return np.argsort(-(asked @ learned.T), axis=1, kind="stable")[:, :NEIGHBOURS]


def _around(text: str, span: Span) -> bool:
    """Whether a text has more than an entity, which could be deleted."""
    return bool((text[: span[0]] + text[span[1] :]).strip())


def _sentences(name: str, split: str) -> tuple[list[str], list[tuple[Span, ...]]]:
    """Texts, and their entities."""
    labels = Spans(CLASSES)
    with gzip.open(file_of(name, split), "rt", encoding="utf-8") as lines:
        read = [joined(row["tokens"], row["tags"]) for row in map(json.loads, lines)]
    kept = [labels.read(spans, text) or "[]" for text, spans in read]  # "[]": there are tags, so it says no entity
    return [clean(text) for text, _ in read], labels.array(kept).tolist()
