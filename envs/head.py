"""Many ridge heads side by side, each taught one label at a time, with the predictions of their held-out documents.

A label moves the inverse and the weights by a rank-one step (Sherman & Morrison 1950), and the scores of h held-out
documents by ``(H g)(e_y - f)'``: O(d^2 + d c + h (d + c)) a label instead of a fit.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import get_blas_funcs

from discover.policy.ridge import PENALTY, SHARPNESS, calibrate

UNSEEN = -1e9  # score of a class without a label: never the largest
Rows = NDArray[np.int64]


class RidgeHeads:
    """e ridge heads over d numbers and at most c classes.

    Args:
        episodes: e.
        dimension: d.
        classes: c.
        held_out: h, documents whose scores follow each label.
        penalty: of the squared weights.

    Attributes:
        inverse: (e, d, d) of X'X + penalty I.
        weights: (e, d, c).
        held_out: (e, d, h) float32; each label goes through all of it, and so it is read along its rows.
        counts: (e, c) labels learned.
        sums: (e, c, d) of the vectors learned, by class.
        sharpness, validated: (e,), as `calibrate` last found them.
        scores: (e, c, h) float32, of the held-out documents; `UNSEEN` where a class has no label.
    """

    def __init__(self, episodes: int, dimension: int, classes: int, held_out: int, penalty: float = PENALTY):
        self.penalty = penalty
        self.inverse = np.zeros((episodes, dimension, dimension))
        self.weights = np.zeros((episodes, dimension, classes))
        self.counts = np.zeros((episodes, classes), np.int64)
        self.sums = np.zeros((episodes, classes, dimension))
        self.sharpness = np.full(episodes, SHARPNESS[0])
        self.validated = np.zeros(episodes)
        self.held_out = np.zeros((episodes, dimension, held_out), np.float32)
        self.scores = np.full((episodes, classes, held_out), UNSEEN, np.float32)

    @property
    def seen(self) -> NDArray[np.bool_]:
        """(e, c), the classes with a label."""
        return self.counts > 0

    def reset(self, rows: Rows, vectors: NDArray[np.float32], labels: Rows) -> None:
        """Begin (r,) heads anew, fitted to (r, m, d) vectors and (r, m) classes; `held_out` holds their documents."""
        x = vectors.astype(np.float64)
        turned, indicator = np.swapaxes(x, 1, 2), np.eye(self.counts.shape[1])[labels]
        self.inverse[rows] = np.linalg.inv(np.matmul(turned, x) + self.penalty * np.eye(x.shape[2]))
        totals = np.matmul(turned, indicator)
        self.weights[rows] = np.matmul(of(self.inverse, rows), totals)
        self.counts[rows] = indicator.sum(axis=1)
        self.sums[rows] = np.swapaxes(totals, 1, 2)
        self.refresh(rows, vectors, labels)

    def teach(self, vectors: NDArray[np.float32], labels: Rows, active: NDArray[np.bool_]) -> None:
        """Teach each head the label, (e,), of one vector, (e, d), but for those that are not active, (e,)."""
        rows = np.flatnonzero(active)
        new = rows[self.counts[rows, labels[rows]] == 0]
        self.scores[new, labels[new]] = 0
        x = np.where(active[:, None], vectors, 0).astype(np.float64)  # a head learns nothing from zero
        lever = np.matmul(self.inverse, x[:, :, None])[:, :, 0]
        step = lever / (1 + (x * lever).sum(axis=1))[:, None]
        error = -np.matmul(x[:, None, :], self.weights)[:, 0]
        error[rows, labels[rows]] += 1
        _add(self.inverse, -step, lever)
        _add(self.weights, step, error)
        self.counts[rows, labels[rows]] += 1
        self.sums[rows, labels[rows]] += x[rows]
        # A class without a label has no error, as its weights are zero, so `UNSEEN` stays what it is.
        moved = np.matmul(step.astype(np.float32)[:, None, :], self.held_out)[:, 0]
        _add(self.scores, error.astype(np.float32), moved)

    def refresh(self, rows: Rows, vectors: NDArray[np.float32], labels: Rows) -> None:
        """Calibrate (r,) heads on what each learned, (r, m, d) and (r, m); compute their scores afresh."""
        weights = of(self.weights, rows)
        found = calibrate(vectors.astype(np.float64), labels, of(self.inverse, rows), weights)
        self.sharpness[rows], self.validated[rows] = found
        fresh = np.matmul(np.swapaxes(weights, 1, 2).astype(np.float32), of(self.held_out, rows))
        self.scores[rows] = np.where(self.seen[rows, :, None], fresh, np.float32(UNSEEN))


def of(array: NDArray, rows: Rows) -> NDArray:
    """The rows, which must rise, of an array; when they are all of it, as nearly always, itself: copies cost a lot."""
    return array if len(rows) == len(array) else array[rows]


def _add(arrays: NDArray, left: NDArray, right: NDArray) -> None:
    """Add the outer products of (e, m) and (e, n) to (e, m, n) in place; NumPy would need room for the products."""
    ger = get_blas_funcs("ger", (arrays,))
    for array, column, row in zip(arrays, left, right, strict=True):
        ger(1, row, column, a=array.T, overwrite_a=True)  # by columns, as BLAS has it, the array is its transpose
