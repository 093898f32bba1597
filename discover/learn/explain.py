"""Explanation: the words that carried a prediction, and the answers that lie nearest to it.

A word's weight is what it added to the log-odds of the predicted class, log(p / (1 - p)) under the calibrated
probability: integrated gradients over the word embeddings, from the text with every word unknown to the text as it is,
summed over a word's tokens. Sundararajan et al., "Axiomatic attribution for deep networks", 2017,
https://arxiv.org/abs/1703.01365. The weights add up to the log-odds of the text less those of the unknown one, up to
the error of the quadrature, for which the steps are doubled until it is small. Log-odds are taken since a probability
hardly moves where the model is sure, and a logit means something beside others only; [UNK] stands for a word that is
not known, since the words so found matter more than by [MASK], [PAD] or zeros (runs/LOG.md).

What is explained is what predicts: the mean of both heads where both do, over all blocks of the fine-tuned encoder. It
is computed in float32, a prediction perhaps in bfloat16.

The nearest answers are those that were learned, never audit answers, by the cosine under the fine-tuned encoder: the
heads are linear there, so what lies close is what they treat alike. The only file that imports captum.
"""

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from discover.embed.frozen import pool
from discover.errors import DiscoverError
from discover.learn import head
from discover.learn.classifier import TextClassifier
from discover.learn.samples import column, ids_of

STEPS = 16  # of the quadrature, Gauss-Legendre's, at first
MOST_STEPS = 128
TOLERANCE = 0.05  # error in log-odds that is small enough, of their difference where that is larger than 1
TOKENS = 2048  # computed at a time
NEIGHBOURS = 3


class Word(NamedTuple):
    """A word of a text: its first character, the one after its last, and what it added to the log-odds."""

    start: int
    stop: int
    weight: float


class Neighbour(NamedTuple):
    """An answer that was learned: row id, answer, and the cosine between it and the document."""

    row: int
    answer: Any
    similarity: float


class Explanation(NamedTuple):
    """Why a document is predicted to be of a class.

    Attributes:
        predicted: index of the likeliest class or label.
        probability: of it, calibrated.
        words: those that the encoder read, in the order of the text.
        error: log-odds that the words' weights lack, or have too much.
        neighbours: the nearest answers, the closest first.
    """

    predicted: int
    probability: float
    words: list[Word]
    error: float
    neighbours: list[Neighbour]


class Explainer:
    """Explains what a classifier predicts now; it does not follow a later training.

    Args:
        classifier: taught or not; it must know the texts of the answers that it was taught.

    Raises:
        DiscoverError: the transformer does not say which of its parts are the word embeddings.
    """

    def __init__(self, classifier: TextClassifier):
        from captum.attr import LayerIntegratedGradients

        self._classifier = classifier
        self._transformer, heads = classifier.predicting()
        self._transformer.requires_grad_(False)
        device = classifier.encoder.device
        self._heads = [tuple(torch.from_numpy(one).float().to(device) for one in both) for both in heads]
        self._temperature = classifier.temperature
        try:
            embeddings = self._transformer.get_input_embeddings()
        except NotImplementedError as error:
            kind = type(self._transformer).__name__
            raise DiscoverError(
                f"explanations need a transformer that names its word embeddings, and {kind} does not: choose another "
                "encoder.model, or do without explanations (label.explain: false)"
            ) from error
        self._gradients = LayerIntegratedGradients(self._log_odds, embeddings)

    def explain(self, X: NDArray[np.int64], neighbours: int = NEIGHBOURS) -> list[Explanation]:
        """An explanation of each prediction.

        Args:
            X: (n, 1) row ids.
            neighbours: how many answers beside each, at most.
        """
        ids = ids_of(X)
        vectors = self._classifier.represent(X)
        likely = self._classifier.likelihood.probabilities(self._classifier.logits_of(vectors) / self._temperature)
        nearest = self._nearest(vectors, neighbours)
        found = []
        for text, probabilities, near in zip(self._classifier.texts(ids), likely, nearest, strict=True):
            predicted = int(probabilities.argmax())
            words, error = self.words(text, predicted)
            found.append(Explanation(predicted, float(probabilities[predicted]), words, error, near))
        return found

    def words(self, text: str, target: int) -> tuple[list[Word], float]:
        """What each word of a text added to the log-odds of a class, and the error of their sum."""
        encoder = self._classifier.encoder
        tokens, of, spans = encoder.words(text)
        ids = tokens.long().to(encoder.device)[None]
        unknown = torch.where(torch.from_numpy(of >= 0).to(encoder.device), encoder.blank, ids)
        steps = STEPS
        while True:
            weights, error = self._integrate(ids, unknown, target, steps)
            if abs(error) <= TOLERANCE * max(1.0, abs(weights.sum() - error)) or steps >= MOST_STEPS:
                break
            steps *= 2
        sums = np.bincount(of[of >= 0], weights[of >= 0], minlength=len(spans))
        return [Word(*span, float(weight)) for span, weight in zip(spans, sums, strict=True)], error

    def _integrate(
        self, ids: torch.Tensor, unknown: torch.Tensor, target: int, steps: int
    ) -> tuple[NDArray[np.float64], float]:
        """(t,) what each token added, and their sum less what it should be."""
        found, error = self._gradients.attribute(
            ids,
            unknown,
            additional_forward_args=(target,),
            n_steps=steps,
            internal_batch_size=max(1, TOKENS // ids.shape[1]),
            return_convergence_delta=True,
        )
        return found.sum(-1)[0].double().cpu().numpy(), float(error)

    def _log_odds(self, ids: torch.Tensor, target: int) -> torch.Tensor:
        """Of class ``target``, (n,), of token ids (n, t) without padding."""
        mask = torch.ones_like(ids)
        hidden = self._transformer(input_ids=ids, attention_mask=mask).last_hidden_state
        vectors = nn.functional.normalize(pool(hidden, mask, self._classifier.encoder.pooling), dim=-1)
        each = [nn.functional.linear(vectors, weights, bias) * head.SCALE for weights, bias in self._heads]
        return self._classifier.likelihood.log_odds(each, target, self._temperature)

    @cached_property
    def _answered(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Row ids (m,) of the answers that were learned, and their vectors (m, d)."""
        rows = np.array(list(self._classifier.taught), np.int64)
        return rows, self._classifier.represent(column(rows))

    def _nearest(self, vectors: NDArray[np.float32], count: int) -> list[list[Neighbour]]:
        rows, answered = self._answered
        similar = vectors @ answered.T
        order = np.argsort(-similar, axis=1, kind="stable")[:, :count]
        taught = self._classifier.taught
        return [
            [Neighbour(int(rows[at]), taught[int(rows[at])], float(own[at])) for at in places]
            for own, places in zip(similar, order, strict=True)
        ]
