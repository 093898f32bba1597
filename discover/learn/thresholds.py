"""From which probability on a label is given: the thresholds under which F1 is best.

Each label's own best threshold (SCut: Yang 2001, "A study of thresholding strategies for text categorization", which
says that it overfits rare labels), as far as its answers can tell: beside a label's own counts stand those of all
labels, scaled to `STRENGTH` positive answers. So a rare label takes the threshold that is best for micro-F1, and one
with hundreds of answers its own.
"""

import numpy as np
from numpy.typing import NDArray

GRID = np.linspace(0.02, 0.98, 49)
STRENGTH = 100.0  # positive answers that the common threshold counts for (runs/LOG.md)
START = 0.5  # where there is nothing to go by

Floats = NDArray[np.float64]


def fit(probabilities: Floats, y: NDArray[np.int64]) -> Floats:
    """(c,) thresholds.

    Args:
        probabilities: (n, c) calibrated, of documents that did not train the model.
        y: (n, c) 0 or 1, the labels that they have.
    """
    return _best(probabilities, y.astype(np.float64), STRENGTH)


def expected(probabilities: Floats) -> Floats:
    """(c,) one threshold for all labels, under the F1 that the probabilities themselves expect; for want of answers.

    Lewis 1995, "Evaluating and optimizing autonomous text classification systems".

    Args:
        probabilities: (n, c) of any documents.
    """
    return _best(probabilities, probabilities, np.inf)


def _best(probabilities: Floats, truth: Floats, strength: float) -> Floats:
    """Thresholds by (n, c) labels, or the probability of them."""
    right = np.stack([np.where(probabilities >= at, truth, 0).sum(axis=0) for at in GRID])  # (g, c) true positives
    both = np.stack([(probabilities >= at).sum(axis=0) for at in GRID]) + truth.sum(axis=0)
    common = (right.sum(axis=1, keepdims=True), both.sum(axis=1, keepdims=True))
    total = max(float(truth.sum()), 1e-12)
    if np.isinf(strength):
        right, both = (np.broadcast_to(one, right.shape) for one in common)
    else:
        right, both = (own + strength / total * one for own, one in zip((right, both), common, strict=True))
    f1 = 2 * right / np.maximum(both, 1e-12)
    return np.where(f1.max(axis=0) > 0, GRID[f1.argmax(axis=0)], START)
