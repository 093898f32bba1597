"""How strongly the head is held back: the penalty under which answers predict each other best.

Where classes overlap the best penalty is thirty times that of clean ones, and the wrong one costs four points of
accuracy (runs/LOG.md), so it is cross-validated on the answers there are.
"""

import numpy as np
from numpy.typing import NDArray

from discover.learn import head
from discover.learn.calibration import fit_temperature, folds_of, losses

PENALTIES = (0.2, 0.6, 1.8, 5.4, 16.2)
FOLDS = 4
MOST = 2000  # answers that are looked at: more change nothing but the time


def choose(vectors: NDArray[np.float32], classes: NDArray[np.int64], prior: NDArray[np.float32]) -> float:
    """The penalty for `head.fit`: from the smallest on, as long as the next is better by more than a standard error.

    Better is a smaller -log p of held-out answers, each penalty at the temperature that suits it: what it does to
    confidence is mended later by calibration.

    Args:
        vectors: (m, d) unit vectors of the answered documents, in an order that says nothing: the first `MOST` count.
        classes: (m,) class indices.
        prior: (c, d) unit vectors of the descriptions.
    """
    vectors, classes = vectors[:MOST], classes[:MOST]
    best, least = PENALTIES[0], _held_out(vectors, classes, prior, PENALTIES[0])
    for penalty in PENALTIES[1:]:
        found = _held_out(vectors, classes, prior, penalty)
        gain = least - found
        if gain.mean() <= gain.std() / np.sqrt(len(gain)):
            break
        best, least = penalty, found
    return best


def _held_out(
    vectors: NDArray[np.float32], classes: NDArray[np.int64], prior: NDArray[np.float32], penalty: float
) -> NDArray[np.float64]:
    fold, logits = folds_of(classes, FOLDS), np.empty((len(classes), len(prior)))
    for number in range(FOLDS):
        learned, held = fold != number, fold == number
        fitted = head.fit(vectors[learned], classes[learned], prior, penalty)
        logits[held] = head.logits(vectors[held], *fitted)
    return losses(logits / fit_temperature(logits, classes), classes)
