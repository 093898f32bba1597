"""What logits say of an answer: one class of several, or any number of labels, each by itself.

An answer y is a class index, or c times 0 or 1. With several labels the probability of an answer is the product over
the labels, so whatever is said of an answer means the same in both: here and in `discover.query.uncertainty`.
"""

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from scipy.special import expit

from discover.learn import binary_relevance, head, thresholds
from discover.pool.labels import Task

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Head = tuple[Floats, Floats]  # weights (c, d) and bias (c,)


class Likelihood(Protocol):
    """What a classifier, its heads and their cross-validation need to know of answers.

    Attributes:
        penalties: strengths to choose from; with few answers the first.
        propagates: whether what answers say of unanswered neighbours can be learned.
        thresholded: whether thresholds have a say in what is decided.
        stored: type of the numbers that a model folder holds answers in.
    """

    penalties: tuple[float, ...]
    propagates: bool
    thresholded: bool
    stored: DTypeLike

    def powers(self, c: int) -> tuple[float, ...]:
        """Of `head.root_of`, to choose from where there are c classes; with few answers the first."""

    def holds(self, y: Ints, c: int) -> bool:
        """Whether y are answers about c classes."""

    def fit(self, vectors: NDArray[np.float32], y: Ints, prior: NDArray[np.float32], penalty: head.Penalty) -> Head:
        """A head taught m answers; arguments as for `head.fit`."""

    def untaught(self, vectors: NDArray[np.float32], prior: NDArray[np.float32]) -> Floats:
        """Logits, (n, c), by the descriptions alone."""

    def probabilities(self, logits: Floats) -> Floats:
        """(n, c) of logits (n, c)."""

    def losses(self, logits: Floats, y: Ints) -> Floats:
        """-log p of each answer, (n,), of logits (n, c)."""

    def mixture(self, each: Floats, shares: Sequence[float]) -> Floats:
        """Logits, (n, c), of what e heads predict together: of their logits, (e, n, c), and shares, which sum to 1."""

    def log_odds(
        self, each: Sequence[torch.Tensor], shares: Sequence[float], target: int, temperature: float
    ) -> torch.Tensor:
        """Log-odds of class ``target``, (n,), of e heads' logits (n, c): their `mixture` at a temperature."""

    def likeliest(self, probabilities: Floats) -> Ints:
        """The n likeliest answers, of (n, c) probabilities."""

    def decide(self, probabilities: Floats, thresholds: Floats) -> Ints:
        """The n answers to give."""

    def thresholds(self, probabilities: Floats, y: Ints | None = None) -> Floats:
        """(c,) for `decide`: by (n, c) probabilities of documents and n answers, or by what is expected of these."""

    def array(self, answers: Sequence[Any], c: int) -> Ints:
        """Answers as an array, also where there are none."""


class Categorical:
    """One class a document: softmax."""

    penalties: tuple[float, ...] = (0.2, 0.6, 1.8, 5.4, 16.2)
    propagates = True
    thresholded = False
    stored: DTypeLike = np.int64

    def powers(self, c: int) -> tuple[float, ...]:
        """None but 0 where classes are so many that their means are known, and tell more (runs/LOG.md)."""
        return (1.0, 0.5, 0.0) if c < head.MANY else (0.0,)

    def holds(self, y: Ints, c: int) -> bool:
        """Class indices."""
        return bool(np.isin(y, np.arange(c)).all())

    def fit(self, vectors: NDArray[np.float32], y: Ints, prior: NDArray[np.float32], penalty: head.Penalty) -> Head:
        """Multinomial logistic regression."""
        return head.fit(vectors, y, prior, penalty)

    def untaught(self, vectors: NDArray[np.float32], prior: NDArray[np.float32]) -> Floats:
        """Cosines to the descriptions."""
        return head.logits(vectors, prior.astype(np.float64), np.zeros(len(prior)))

    def probabilities(self, logits: Floats) -> Floats:
        """Rows that sum to 1."""
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
        return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True), np.float64)

    def losses(self, logits: Floats, y: Ints) -> Floats:
        """-log p of each document's class."""
        above = logits - logits.max(axis=1, keepdims=True)
        return np.asarray(np.log(np.exp(above).sum(axis=1)) - above[np.arange(len(y)), y], np.float64)

    def mixture(self, each: Floats, shares: Sequence[float]) -> Floats:
        """Log of the mean probability."""
        mean = sum(share * self.probabilities(one) for share, one in zip(shares, each, strict=True))
        return np.asarray(np.log(np.maximum(mean, 1e-300)), np.float64)

    def log_odds(
        self, each: Sequence[torch.Tensor], shares: Sequence[float], target: int, temperature: float
    ) -> torch.Tensor:
        """Against all other classes together."""
        weighed = [one.log_softmax(-1) + math.log(share) for share, one in zip(shares, each, strict=True)]
        logits = torch.stack(weighed).logsumexp(0) / temperature
        others = logits.index_fill(1, torch.tensor([target], device=logits.device), -torch.inf)
        return logits[:, target] - others.logsumexp(-1)

    def likeliest(self, probabilities: Floats) -> Ints:
        """(n,) class indices."""
        return np.asarray(probabilities.argmax(axis=1), np.int64)

    def decide(self, probabilities: Floats, thresholds: Floats) -> Ints:
        """(n,) the likeliest class; thresholds have no say."""
        return self.likeliest(probabilities)

    def thresholds(self, probabilities: Floats, y: Ints | None = None) -> Floats:
        """As they are without any answer."""
        return np.full(probabilities.shape[1], thresholds.START)

    def array(self, answers: Sequence[int], c: int) -> Ints:
        """(m,) class indices."""
        return np.array(answers, np.int64)


class Bernoulli:
    """Any number of labels a document: a sigmoid for each."""

    penalties: tuple[float, ...] = (0.05, 0.2, 0.6, 1.8, 5.4)
    propagates = False
    thresholded = True
    stored: DTypeLike = np.uint8

    def powers(self, c: int) -> tuple[float, ...]:
        """None but 0: it was of no use (runs/LOG.md)."""
        return (0.0,)

    def holds(self, y: Ints, c: int) -> bool:
        """0 and 1."""
        return bool(np.isin(y, (0, 1)).all())

    def fit(self, vectors: NDArray[np.float32], y: Ints, prior: NDArray[np.float32], penalty: head.Penalty) -> Head:
        """Binary relevance."""
        return binary_relevance.fit(vectors, y, prior, penalty)

    def untaught(self, vectors: NDArray[np.float32], prior: NDArray[np.float32]) -> Floats:
        """As if each document had one label."""
        return binary_relevance.untaught(vectors, prior)

    def probabilities(self, logits: Floats) -> Floats:
        """Of each label by itself."""
        return np.asarray(expit(logits), np.float64)

    def losses(self, logits: Floats, y: Ints) -> Floats:
        """The sum over labels of binary cross-entropies."""
        return np.asarray((np.logaddexp(0, logits) - y * logits).sum(axis=1), np.float64)

    def mixture(self, each: Floats, shares: Sequence[float]) -> Floats:
        """Mean logits."""
        return np.asarray(np.average(each, axis=0, weights=shares), np.float64)

    def log_odds(
        self, each: Sequence[torch.Tensor], shares: Sequence[float], target: int, temperature: float
    ) -> torch.Tensor:
        """A label's logit is its log-odds."""
        weighed = [share * one[:, target] for share, one in zip(shares, each, strict=True)]
        return torch.stack(weighed).sum(0) / temperature

    def likeliest(self, probabilities: Floats) -> Ints:
        """(n, c) 0 and 1."""
        return (probabilities >= thresholds.START).astype(np.int64)

    def decide(self, probabilities: Floats, thresholds: Floats) -> Ints:
        """(n, c) 1 where a label's probability is at or above its threshold, (c,)."""
        return (probabilities >= thresholds).astype(np.int64)

    def thresholds(self, probabilities: Floats, y: Ints | None = None) -> Floats:
        """Where F1 is best."""
        return thresholds.expected(probabilities) if y is None else thresholds.fit(probabilities, y)

    def array(self, answers: Sequence[tuple[int, ...]], c: int) -> Ints:
        """(m, c) 0 and 1."""
        return np.array(answers, np.int64).reshape(-1, c)


def likelihood_of(task: Task) -> Likelihood:
    """The likelihood of a task's answers."""
    return Bernoulli() if task == "multilabel" else Categorical()
