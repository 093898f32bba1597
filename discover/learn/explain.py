"""Explanation: the words that carried a prediction, and the answers that lie nearest to it.

A word's weight is what it added to the log-odds of what is predicted, calibrated (`discover.learn.attribution`): of the
likeliest class or label; or, of entities, of each span that the likeliest sequence of tags has, which is that an answer
has exactly this one, whatever else (`discover.learn.decoding`). Its probability is that of these log-odds, so that the
words of a span account for the very number beside it.

What is explained is what predicts: the mixture of the heads, over all blocks of the fine-tuned encoder.

The nearest answers are those that were learned, never audit answers, by the cosine under the fine-tuned encoder: the
heads are linear there, so what lies close is what they treat alike. A span lies where the mean of its words does, as
the head sees them.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from discover.embed.frozen import pool
from discover.learn import head
from discover.learn.attribution import Attribution, Word
from discover.learn.classifier import TextClassifier
from discover.learn.decoding import decode, span_log_odds
from discover.learn.likelihood import Head
from discover.learn.samples import column, ids_of
from discover.learn.tagger import Tagger
from discover.learn.tags import Place, Run, runs_of, tags_of

NEIGHBOURS = 3


class Neighbour(NamedTuple):
    """An answer that was learned, of entities one span: row id, answer, and its cosine to what is explained."""

    row: int
    answer: Any
    similarity: float


class Explanation(NamedTuple):
    """Why a document is predicted to be of a class, or to have a span.

    Attributes:
        predicted: index of the likeliest class or label; or a span.
        probability: of it, calibrated.
        words: those that the encoder read, in the order of the text.
        error: log-odds that the words' weights lack, or have too much.
        neighbours: the nearest answers, the closest first.
    """

    predicted: Any
    probability: float
    words: list[Word]
    error: float
    neighbours: list[Neighbour]


class Learned(NamedTuple):
    """Answers that were learned, of entities each span: row ids (m), answers (m), and unit vectors (m, d)."""

    rows: list[int]
    answers: list[Any]
    vectors: NDArray[np.float32]


class Explainer:
    """Explains what a classifier predicts now; it does not follow a later training.

    Args:
        classifier: taught or not; it must know the texts of the answers that it was taught.

    Raises:
        DiscoverError: the transformer does not say which of its parts are the word embeddings.
    """

    def __init__(self, classifier: TextClassifier):
        self._classifier = classifier
        transformer, heads, self._shares = classifier.predicting()
        self._heads = [_on(one, classifier.encoder.device) for one in heads]
        self._temperature = classifier.temperature
        self.attribution = Attribution(classifier.encoder, transformer, self._log_odds)

    def explain(self, X: NDArray[np.int64], neighbours: int = NEIGHBOURS) -> list[Explanation]:
        """An explanation of each prediction.

        Args:
            X: (n, 1) row ids.
            neighbours: how many answers beside each, at most.
        """
        vectors = self._classifier.represent(X)
        likely = self._classifier.likelihood.probabilities(self._classifier.logits_of(vectors) / self._temperature)
        nearest = _nearest(vectors, self._learned, neighbours)
        found = []
        for text, probabilities, near in zip(self._classifier.texts(ids_of(X)), likely, nearest, strict=True):
            predicted = int(probabilities.argmax())
            words, error = self.attribution.words(text, predicted)
            found.append(Explanation(predicted, float(probabilities[predicted]), words, error, near))
        return found

    def _log_odds(self, hidden: torch.Tensor, target: int) -> torch.Tensor:
        """Of class ``target``, (n,)."""
        mask = hidden.new_ones(hidden.shape[:2])
        vectors = nn.functional.normalize(pool(hidden, mask, self._classifier.encoder.pooling), dim=-1)
        each = [nn.functional.linear(vectors, *one) * head.SCALE for one in self._heads]
        return self._classifier.likelihood.log_odds(each, self._shares, target, self._temperature)

    @cached_property
    def _learned(self) -> Learned:
        taught = self._classifier.taught
        return Learned(list(taught), list(taught.values()), self._classifier.represent(column(list(taught))))


class SpanTarget(NamedTuple):
    """A span: its words, and which token is the first of each word of the text, (w,)."""

    run: Run
    first: NDArray[np.int64]


class SpanExplainer:
    """Explains the spans that a tagger predicts; after another training it takes another explainer.

    Args:
        tagger: taught or not; it must know the texts of the answers that it was taught.
        most: how many spans of a document are explained, the first ones; None: all.
    """

    def __init__(self, tagger: Tagger, most: int | None = None):
        self._tagger, self._most = tagger, most

    def explain(self, X: NDArray[np.int64], neighbours: int = NEIGHBOURS) -> list[list[Explanation]]:
        """For each document an explanation of each span that is predicted, in the order of the text.

        Args:
            X: (n, 1) row ids.
            neighbours: how many answered spans beside each, at most.

        Raises:
            DiscoverError: the transformer does not say which of its parts are the word embeddings.
        """
        rows, tagger = ids_of(X), self._tagger
        if not tagger.taught:  # nothing is predicted
            return [[] for _ in rows]
        logits = tagger.calibrated(X)
        tags = decode([one for one, _ in logits]).tags
        found = []
        for text, own, (states, _), told in zip(tagger.texts(rows), logits, tagger.states(rows), tags, strict=True):
            runs = runs_of(told)[: self._most]
            nearest = _nearest(_means(states, runs), self._learned, neighbours)
            found.append([self._explained(text, *own, *one) for one in zip(runs, nearest, strict=True)])
        return found

    @cached_property
    def attribution(self) -> Attribution:
        """Of log-odds of a `SpanTarget`; there must be answers taught."""
        transformer, one = self._tagger.predicting()
        parts = _on(one, self._tagger.encoder.device)

        def log_odds(hidden: torch.Tensor, target: SpanTarget) -> torch.Tensor:
            states = nn.functional.normalize(hidden[:, target.first], dim=-1)
            logits = nn.functional.linear(states, *parts) * head.SCALE
            return span_log_odds(logits.double() / self._tagger.temperature, target.run)

        return Attribution(self._tagger.encoder, transformer, log_odds)

    def target(self, text: str, run: Run) -> SpanTarget:
        """What the attribution takes for a span of a text."""
        return SpanTarget(run, self._tagger.words(text)[1])

    def _explained(
        self, text: str, logits: NDArray[np.float64], places: list[Place], run: Run, near: list[Neighbour]
    ) -> Explanation:
        first, stop, kind = run
        likely = float(span_log_odds(torch.from_numpy(logits)[None], run).sigmoid())
        words, error = self.attribution.words(text, self.target(text, run))
        return Explanation((places[first][0], places[stop - 1][1], kind), likely, words, error, near)

    @cached_property
    def _learned(self) -> Learned:
        """Spans, as far as the encoder reads them."""
        taught = self._tagger.taught
        rows, answers, vectors = [], [], [_means(np.empty((0, self._tagger.encoder.dimension), np.float32), [])]
        for (row, spans), (states, places) in zip(taught.items(), self._tagger.states(list(taught)), strict=True):
            for span in spans:
                runs = runs_of(tags_of([span], places)[0])
                vectors.append(_means(states, runs))
                rows += [row] * len(runs)
                answers += [span] * len(runs)
        return Learned(rows, answers, np.concatenate(vectors))


def explainer_of(estimator: TextClassifier | Tagger, spans: int | None = None) -> Explainer | SpanExplainer:
    """What explains an estimator; of a tagger's spans no more than so many a document."""
    return SpanExplainer(estimator, spans) if isinstance(estimator, Tagger) else Explainer(estimator)


def _on(one: Head, device: torch.device) -> tuple[torch.Tensor, ...]:
    return tuple(torch.from_numpy(part).float().to(device) for part in one)


def _means(states: NDArray[np.float32], runs: Sequence[Run]) -> NDArray[np.float32]:
    """Unit vectors, (r, d), of r spans: the mean of their words' states, (w, d)."""
    found = np.empty((len(runs), states.shape[1]), np.float32)
    for row, (first, stop, _) in enumerate(runs):
        mean = states[first:stop].mean(axis=0)
        found[row] = mean / np.linalg.norm(mean)
    return found


def _nearest(vectors: NDArray[np.float32], learned: Learned, count: int) -> list[list[Neighbour]]:
    # No matrix product: its last bits would depend on how many are asked about.
    similar = np.einsum("nd,md->nm", vectors, learned.vectors)
    order = np.argsort(-similar, axis=1, kind="stable")[:, :count]
    return [
        [Neighbour(learned.rows[at], learned.answers[at], float(own[at])) for at in places.tolist()]
        for own, places in zip(similar, order, strict=True)
    ]
