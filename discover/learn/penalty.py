"""How strongly the head is held back: the penalty under which answers predict each other best.

Where classes overlap the best penalty is thirty times that of clean ones, and the wrong one costs four points of
accuracy (runs/LOG.md), so it is cross-validated on the answers there are.
"""

import numpy as np
from numpy.typing import NDArray

from discover.learn import head
from discover.learn.calibration import fit_temperature, folds_of
from discover.learn.likelihood import Likelihood

FOLDS = 4
MOST = 2000  # answers that are looked at: more change nothing but the time


def choose(
    vectors: NDArray[np.float32], y: NDArray[np.int64], prior: NDArray[np.float32], likelihood: Likelihood
) -> float:
    """The penalty for the head: from the smallest on, as long as the next is better by more than a standard error.

    Better is a smaller -log p of held-out answers, each penalty at the temperature that suits it: what it does to
    confidence is mended later by calibration.

    Args:
        vectors: (m, d) unit vectors of the answered documents, in an order that says nothing: the first `MOST` count.
        y: their m answers.
        prior: (c, d) unit vectors of the descriptions.
        likelihood: of answers.
    """
    vectors, y = vectors[:MOST], y[:MOST]
    best, *larger = likelihood.penalties
    least = _held_out(vectors, y, prior, likelihood, best)
    for penalty in larger:
        found = _held_out(vectors, y, prior, likelihood, penalty)
        gain = least - found
        if gain.mean() <= gain.std() / np.sqrt(len(gain)):
            break
        best, least = penalty, found
    return best


def _held_out(
    vectors: NDArray[np.float32],
    y: NDArray[np.int64],
    prior: NDArray[np.float32],
    likelihood: Likelihood,
    penalty: float,
) -> NDArray[np.float64]:
    fold, logits = folds_of(y, FOLDS), np.empty((len(y), len(prior)))
    for number in range(FOLDS):
        learned, held = fold != number, fold == number
        fitted = likelihood.fit(vectors[learned], y[learned], prior, penalty)
        logits[held] = head.logits(vectors[held], *fitted)
    return likelihood.losses(logits / fit_temperature(logits, y, likelihood), y)
