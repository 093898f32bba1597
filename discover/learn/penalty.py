"""How strongly the head is held back, and in which directions: as answers predict each other best.

Where classes overlap the best strength is thirty times that of clean ones, and the wrong one costs four points of
accuracy (runs/LOG.md), so it is cross-validated on the answers there are. Likewise how far the head is held to the
directions in which documents differ: far while answers are few, less of it when they are many.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from discover.learn import head
from discover.learn.calibration import fit_temperature, folds_of
from discover.learn.likelihood import Likelihood

FOLDS = 4
MOST = 2000  # answers that are looked at: more change nothing but the time
TELLING = 100  # unanswered documents that tell by themselves in which directions documents differ (runs/LOG.md)


def paid(strength: float, power: float, answered: NDArray[np.float32], unanswered: NDArray[np.float32]) -> head.Penalty:
    """The penalty of a strength, in the directions in which unanswered documents differ.

    While they are few, answered ones tell as well: of a handful one direction would be all there is. Without any, all
    directions are the same.

    Args:
        strength: of the penalty.
        power: of its root.
        answered: (m, d) unit vectors.
        unanswered: (u, d) unit vectors.
    """
    few = 0 < len(unanswered) < TELLING
    return head.Penalty(strength, head.root_of(np.concatenate([unanswered, answered]) if few else unanswered, power))


def choose(
    vectors: NDArray[np.float32],
    y: NDArray[np.int64],
    prior: NDArray[np.float32],
    likelihood: Likelihood,
    around: NDArray[np.float32],
    strengths: Sequence[float],
    powers: Sequence[float],
) -> tuple[float, float]:
    """Strength of the penalty and power of its root: those under which held-out answers have the smallest -log p.

    Of each power the smallest strength comes first, and the next as long as it is better by more than a standard error.
    Each is judged at the temperature that suits it: what it does to confidence is mended later by calibration.

    Args:
        vectors: (m, d) unit vectors of the answered documents, in an order that says nothing: the first `MOST` count.
        y: their m answers.
        prior: (c, d) unit vectors of the descriptions.
        likelihood: of answers.
        around: (u, d) unit vectors of unanswered documents; without any, all directions are the same.
        strengths: to choose from, rising.
        powers: to choose from, of `head.root_of`, falling.
    """
    vectors, y = vectors[:MOST], y[:MOST]
    found = []
    for power in powers if len(around) else powers[-1:]:
        best, *larger = strengths
        smallest = paid(best, power, vectors, around)
        least = _held_out(vectors, y, prior, likelihood, smallest)
        for strength in larger:
            losses = _held_out(vectors, y, prior, likelihood, smallest._replace(strength=strength))
            gain = least - losses
            if gain.mean() <= gain.std() / np.sqrt(len(gain)):
                break
            best, least = strength, losses
        found.append((float(least.mean()), best, power))
    return min(found)[1:]


def _held_out(
    vectors: NDArray[np.float32],
    y: NDArray[np.int64],
    prior: NDArray[np.float32],
    likelihood: Likelihood,
    penalty: head.Penalty,
) -> NDArray[np.float64]:
    """-log p of each answer, (m,), by heads that have not learned it."""
    fold, logits = folds_of(y, FOLDS), np.empty((len(y), len(prior)))
    for number in range(FOLDS):
        learned, held = fold != number, fold == number
        fitted = likelihood.fit(vectors[learned], y[learned], prior, penalty)
        logits[held] = head.logits(vectors[held], *fitted)
    return likelihood.losses(logits / fit_temperature(logits, y, likelihood), y)
