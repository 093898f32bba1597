"""How often, and how knowingly, a model is right: accuracy, F1, per-class scores, calibration, Wilson's interval.

Shapes: n documents, c classes. Predictions and truth are n class indices; where documents may have several labels,
(n, c) 0 and 1. What scikit-learn has is scikit-learn's.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import pi, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import confusion_matrix, f1_score, precision_recall_fscore_support

from discover.pool.answers import agree


@dataclass(frozen=True)
class Bin:
    """One bar of a reliability diagram: the documents whose top probability lies in (low, high]."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


def accuracy(predicted: ArrayLike, y: ArrayLike) -> float:
    """Share of documents whose predicted class is the true one; of several labels all of them (subset accuracy).

    Args:
        predicted: (n,) class indices, or (n, c) 0 and 1.
        y: likewise.

    Raises:
        ValueError: there are no documents, or the shapes differ.
    """
    return float(np.mean(agree(*_aligned(predicted, y))))


def micro_f1(predicted: ArrayLike, y: ArrayLike) -> float:
    """F1 = 2PR / (P + R) over all labels of all documents, each counting the same; 0 where there is none.

    Args:
        predicted: (n, c) 0 and 1.
        y: likewise.

    Raises:
        ValueError: there are no documents, or the shapes differ.
    """
    predicted, y = _aligned(predicted, y)
    return float(f1_score(y, predicted, average="micro", zero_division=0))


def macro_f1(predicted: ArrayLike, y: ArrayLike) -> float:
    """Mean over classes of F1 = 2PR / (P + R), each class counting the same.

    The classes are those that occur in the truth or in the predictions; one that is only ever predicted, or never,
    scores 0. A class of the config that occurs in neither does not enter the mean.

    Args:
        predicted: (n,) class indices, or (n, c) 0 and 1.
        y: likewise.

    Raises:
        ValueError: there are no documents, or the shapes differ.
    """
    predicted, y = _aligned(predicted, y)
    occurring = np.flatnonzero((predicted | y).any(axis=0)) if y.ndim == 2 else None
    if occurring is not None and not len(occurring):
        return 0.0
    with _few_documents():
        return float(f1_score(y, predicted, labels=occurring, average="macro", zero_division=0))


def minority(y: ArrayLike) -> NDArray[np.int64]:
    """(k,) the rare classes: those with at most half as many documents as a class has in the mean.

    Where none is so rare, the rarest; all of them where several are.

    Args:
        y: (n,) class indices.
    """
    classes, counts = np.unique(np.asarray(y, np.int64), return_counts=True)
    rare = counts <= counts.mean() / 2
    return classes[rare if rare.any() else counts == counts.min()]


def minority_f1(predicted: ArrayLike, y: ArrayLike, rare: ArrayLike) -> float:
    """Mean of F1 over the rare classes alone, each counting the same.

    Those without a document in the truth do not enter the mean; it is 0 where that is all of them.

    Args:
        predicted: (n,) class indices.
        y: (n,) class indices.
        rare: (k,) class indices, as `minority` finds them where there are more documents than here.
    """
    predicted, y = _aligned(predicted, y)
    known = np.intersect1d(rare, y)
    if not len(known):
        return 0.0
    with _few_documents():
        return float(f1_score(y, predicted, labels=known, average="macro", zero_division=0))


def per_class(predicted: ArrayLike, y: ArrayLike, classes: Sequence[str]) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and support (number of true documents) of every class of the config.

    Args:
        predicted: (n,) indices into ``classes``, or (n, c) 0 and 1.
        y: likewise.
        classes: c names.
    """
    predicted, y = _aligned(predicted, y)
    with _few_documents():
        scores = precision_recall_fscore_support(y, predicted, labels=range(len(classes)), zero_division=0)
    keys = ("precision", "recall", "f1", "support")
    columns = zip(*scores, strict=True)
    return {
        name: {key: float(value) for key, value in zip(keys, column, strict=True)}
        for name, column in zip(classes, columns, strict=True)
    }


def confusion(predicted: ArrayLike, y: ArrayLike, c: int) -> NDArray[np.int64]:
    """(c, c) counts: row i, column j holds the documents of class i that were taken for class j."""
    predicted, y = _aligned(predicted, y)
    with _few_documents():
        return np.asarray(confusion_matrix(y, predicted, labels=range(c)), np.int64)


def reliability(confidence: ArrayLike, correct: ArrayLike, bins: int = 15) -> list[Bin]:
    """Documents by top probability, in ``bins`` bins of equal width over [0, 1]; empty bins are left out.

    Args:
        confidence: (n,) probability of the predicted class.
        correct: (n,) whether the prediction was right.
        bins: how many.
    """
    confidence, correct = _aligned(np.asarray(confidence, np.float64), np.asarray(correct, np.float64))
    place = _places(confidence, bins)
    return [
        Bin(
            low=index / bins,
            high=(index + 1) / bins,
            n=int(here.sum()),
            confidence=float(confidence[here].mean()),
            accuracy=float(correct[here].mean()),
        )
        for index in range(bins)
        if (here := place == index).any()
    ]


def calibration_error(probabilities: ArrayLike, y: ArrayLike, bins: int = 15) -> float:
    """Expected calibration error of the top label: sum over bins of n_b / n · abs(accuracy_b - confidence_b).

    Guo et al. 2017, "On Calibration of Modern Neural Networks", with bins of equal width. Where there may be several
    labels, of every label of every document: how likely it was, and whether it is there.

    Args:
        probabilities: (n, c), rows sum to 1 but for several labels.
        y: (n,) class indices, or (n, c) 0 and 1.
        bins: how many.

    Raises:
        ValueError: there are no documents, or the shapes differ.
    """
    probabilities, y = np.asarray(probabilities, np.float64), np.asarray(y)
    if y.ndim == 2:
        confidence, correct = (one.ravel() for one in _aligned(probabilities, y))
    else:
        predicted, y = _aligned(probabilities.argmax(axis=1), y)
        confidence, correct = probabilities.max(axis=1), predicted == y
    return confidence_error(confidence, correct, bins)


def confidence_error(confidence: ArrayLike, correct: ArrayLike, bins: int = 15) -> float:
    """The same of n predictions, each of some confidence, and right or not.

    Args:
        confidence: (n,) probability of the prediction.
        correct: (n,) whether it was right.
        bins: how many.
    """
    table = reliability(confidence, correct, bins)
    return float(sum(entry.n * abs(entry.accuracy - entry.confidence) for entry in table) / np.size(correct))


def error_by_chance(confidence: ArrayLike, bins: int = 15) -> float:
    """What `confidence_error` is of few predictions on average, though each is right as often as it says.

    Within a bin the shares right and stated then differ by chance, whose mean size, for a normal distribution, is
    sqrt(2 / pi) of its standard deviation: sum over bins of sqrt(2 / pi · sum of p (1 - p)) / n.

    Args:
        confidence: (n,) probability of each prediction, p.
        bins: how many.
    """
    confidence = np.asarray(confidence, np.float64)
    variance = np.bincount(_places(confidence, bins), weights=confidence * (1 - confidence))
    return float(np.sqrt(2 / pi * variance).sum() / max(len(confidence), 1))


def wilson(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for a proportion (Wilson 1927), which keeps its level for small n and near 0 and 1.

    centre (p + z²/2n) / (1 + z²/n), half width z sqrt(p(1-p)/n + z²/4n²) / (1 + z²/n); (0, 1) when n is 0.

    Raises:
        ValueError: ``successes`` is not between 0 and n.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"successes must be between 0 and n = {n}, got {successes}")
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share, spread = successes / n, z * z / n
    centre = (share + spread / 2) / (1 + spread)
    half = z * sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    # At the ends the formula gives 0 and 1 but for rounding.
    return (0.0 if successes == 0 else centre - half), (1.0 if successes == n else centre + half)


def _places(confidence: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    """(n,) the bin of each; one holds its upper edge, and probability 0 belongs to the first."""
    return np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)


@contextmanager
def _few_documents() -> Iterator[None]:
    """An audit sample may have fewer documents than classes, which scikit-learn takes for a regression problem."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The number of unique classes", category=UserWarning)
        yield


def _aligned(first: ArrayLike, second: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    first, second = np.asarray(first), np.asarray(second)
    if first.shape != second.shape or first.ndim not in (1, 2) or not len(first):
        raise ValueError(f"two arrays of the same length, at least 1, are needed; got {first.shape} and {second.shape}")
    return first, second
