"""The oracle that a policy is taught by: what each candidate's true label would gain at once, in closed form.

A label y moves the scores of the reward documents H by ``(H g)(e_y - f)'``; their squared error then falls by
``-2 g' H'(F - Y) (e_y - f) - g' H'H g |e_y - f|^2``, for which ``H'H`` and ``H'Y`` are all that is needed of them:
O(k d (d + c)) for k candidates, whatever the number of documents.
"""

import numpy as np
from numpy.typing import NDArray

from envs.head import RidgeHeads, Rows
from envs.scores import Scorer

Floats = NDArray[np.float64]


class LookAhead:
    """Gains of candidates in e episodes.

    Args:
        head: the episodes' heads.
        scorer: the truth of their reward documents.
        reward: how many those are; the first held-out ones.
    """

    def __init__(self, head: RidgeHeads, scorer: Scorer, reward: int):
        self._head, self._scorer, self._reward = head, scorer, reward
        # H'H and H'Y, once with all documents alike, and once weighed so that all classes count the same.
        self._spread = np.zeros((2, *head.inverse.shape))
        self._wanted = np.zeros((2, *head.weights.shape))
        self._known = np.zeros(len(head.inverse), bool)  # who does not look ahead need not pay for it

    def forget(self, row: int) -> None:
        """One episode has other reward documents now."""
        self._known[row] = False

    def gains(self, vectors: NDArray[np.float32], labels: Rows, valid: NDArray[np.bool_]) -> Floats:
        """(e, k) the decrease of the error, plus that of the error weighed by class; standardised. -inf if not valid.

        Args:
            vectors: (e, k, d) of the candidates.
            labels: (e, k) their true classes.
            valid: (e, k), which may be picked.
        """
        for row in np.flatnonzero(~self._known).tolist():
            self._learn(row)
        x = vectors.astype(np.float64)
        error = np.eye(self._head.weights.shape[-1])[labels] - np.matmul(x, self._head.weights)
        steps = np.matmul(x, self._head.inverse)
        steps /= 1 + (steps * x).sum(axis=-1, keepdims=True)
        total = np.zeros(labels.shape)
        for spread, wanted in zip(self._spread, self._wanted, strict=True):
            moved = np.matmul(spread, self._head.weights) - wanted
            first = (np.matmul(steps, moved) * error).sum(axis=-1)
            second = (np.matmul(steps, spread) * steps).sum(axis=-1) * np.square(error).sum(axis=-1)
            total += _standard(-2 * first - second, valid)
        return np.where(valid, _standard(total, valid), -np.inf)

    def _learn(self, row: int) -> None:
        held_out = self._head.held_out[row, :, : self._reward].T.astype(np.float64)
        for part, weight in enumerate((np.ones(len(held_out)), self._scorer.balance(row))):
            weighed = (held_out * weight[:, None]).T
            self._spread[part, row] = weighed @ held_out
            self._wanted[part, row] = weighed @ self._scorer.indicator(row)
        self._known[row] = True


def _standard(values: Floats, valid: NDArray[np.bool_]) -> Floats:
    """(e, k) values less their mean over the valid ones, by their standard deviation."""
    kept = np.where(valid, values, 0)
    count = np.maximum(valid.sum(axis=1, keepdims=True), 1)
    mean = kept.sum(axis=1, keepdims=True) / count
    spread = np.sqrt((np.square(kept - mean) * valid).sum(axis=1, keepdims=True) / count)
    return (values - mean) / np.maximum(spread, 1e-12)
