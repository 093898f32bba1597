"""Many ridge heads side by side, each taught one label at a time, with the predictions of their held-out documents.

A label moves the inverse and the weights by a rank-one step (Sherman & Morrison 1950), and the scores of h held-out
documents by ``(H g)(e_y - f)'``: O(d^2 + d c + h (d + c)) a label instead of a fit.
"""

import numpy as np
from numpy.typing import NDArray

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
        counts: (e, c) labels learned.
        sums: (e, c, d) of the vectors learned, by class.
        sharpness, validated: (e,), as `calibrate` last found them.
        scores: (e, c, h) float32, of the held-out documents; `UNSEEN` where a class has no label.
    """

    def __init__(self, episodes: int, dimension: int, classes: int, held_out: int, penalty: float = PENALTY):
        self.penalty = penalty
        self.inverse = np.zeros((episodes, dimension, dimension))
        self._outer = np.zeros_like(self.inverse)
        self.weights = np.zeros((episodes, dimension, classes))
        self.counts = np.zeros((episodes, classes), np.int64)
        self.sums = np.zeros((episodes, classes, dimension))
        self.sharpness = np.full(episodes, SHARPNESS[0])
        self.validated = np.zeros(episodes)
        self.held_out = np.zeros((episodes, held_out, dimension), np.float32)
        self.scores = np.full((episodes, classes, held_out), UNSEEN, np.float32)

    @property
    def seen(self) -> NDArray[np.bool_]:
        """(e, c), the classes with a label."""
        return self.counts > 0

    def reset(self, row: int, held_out: NDArray[np.float32], vectors: NDArray[np.float32], labels: Rows) -> None:
        """Begin one head anew, fitted to (m, d) vectors and (m,) classes; its held-out documents are (h, d)."""
        x, classes = vectors.astype(np.float64), self.counts.shape[1]
        indicator = np.eye(classes)[labels]
        self.inverse[row] = np.linalg.inv(x.T @ x + self.penalty * np.eye(x.shape[1]))
        self.weights[row] = self.inverse[row] @ (x.T @ indicator)
        self.counts[row] = np.bincount(labels, minlength=classes)
        self.sums[row] = indicator.T @ x
        self.held_out[row] = held_out
        self.refresh(np.array([row]), vectors[None], labels[None])

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
        self.inverse -= np.multiply(step[:, :, None], lever[:, None, :], out=self._outer)
        self.weights += step[:, :, None] * error[:, None, :]
        self.counts[rows, labels[rows]] += 1
        self.sums[rows, labels[rows]] += x[rows]
        # A class without a label has no error, as its weights are zero, so `UNSEEN` stays what it is.
        moved = np.matmul(self.held_out, step.astype(np.float32)[:, :, None])[:, None, :, 0]
        self.scores += error.astype(np.float32)[:, :, None] * moved

    def refresh(self, rows: Rows, vectors: NDArray[np.float32], labels: Rows) -> None:
        """Calibrate (r,) heads on what each learned, (r, m, d) and (r, m); compute their scores afresh."""
        weights = self.weights[rows]
        found = calibrate(vectors.astype(np.float64), labels, self.inverse[rows], weights)
        self.sharpness[rows], self.validated[rows] = found
        fresh = np.matmul(np.swapaxes(weights, 1, 2).astype(np.float32), np.swapaxes(self.held_out[rows], 1, 2))
        self.scores[rows] = np.where(self.seen[rows, :, None], fresh, np.float32(UNSEEN))
