"""How good heads are, from the scores of their held-out documents: accuracy and macro-F1, many episodes at once.

The same figures as `discover.evaluate.metrics`, for arrays of episodes.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


class Scorer:
    """The truth of e episodes' held-out documents: first those that rewards are made of, then those of the report.

    Args:
        episodes: e.
        reward, report: documents of each kind.
        classes: c.
    """

    def __init__(self, episodes: int, reward: int, report: int, classes: int):
        self._reward, self._classes = reward, classes
        self._truth = np.zeros((episodes, reward + report), _code(classes))
        self._occur = np.zeros((2, episodes, classes), np.int64)  # of each class, for rewards and for the report

    def reset(self, row: int, truth: Rows) -> None:
        """Take the classes of one episode's documents, (reward + report,)."""
        self._truth[row] = truth
        for part, found in enumerate((truth[: self._reward], truth[self._reward :])):
            self._occur[part, row] = np.bincount(found, minlength=self._classes)

    def quality(
        self,
        scores: NDArray[np.float32],
        metric: str,
        reported: bool = False,
        rows: slice | Sequence[int] | Rows = slice(None),
    ) -> Floats:
        """(r,) accuracy or macro-F1 of some episodes, of the scores (r, c, h) of all their held-out documents.

        Args:
            scores: the largest is the prediction; of equals, the first.
            metric: ``accuracy`` or ``macro_f1``.
            reported: on the report's documents instead of those that rewards are made of.
            rows: which episodes; all of them by default.
        """
        part = slice(self._reward, None) if reported else slice(self._reward)
        predicted, truth = _largest(scores[:, :, part]), self._truth[rows, part]
        right = predicted == truth
        if metric == "accuracy":
            return right.mean(axis=1)
        e, c = len(truth), self._classes
        # Each episode counts apart, and there the wrong and the right ones.
        place = predicted + (2 * np.arange(e)[:, None] + right) * c
        wrong, both = np.bincount(place.ravel(), minlength=2 * e * c).reshape(e, 2, c).swapaxes(0, 1)
        occurs = wrong + both + self._occur[int(reported), rows]
        return (2 * both / np.maximum(occurs, 1)).sum(axis=1) / (occurs > 0).sum(axis=1)

    def indicator(self, row: int) -> Floats:
        """(reward, c) one where a reward document of one episode is of the class."""
        return np.eye(self._classes)[self._truth[row, : self._reward]]

    def balance(self, row: int) -> Floats:
        """(reward,) weights with which all classes of one episode's reward documents count the same; of mean 1."""
        truth, occur = self._truth[row, : self._reward], self._occur[0, row]
        return len(truth) / (occur[truth] * np.count_nonzero(occur))


def _code(classes: int) -> type[np.unsignedinteger]:
    """The smallest type that holds a class: arrays of it are compared several times as fast."""
    return np.uint8 if classes <= 256 else np.uint16


def _largest(scores: NDArray[np.float32]) -> NDArray[np.unsignedinteger]:
    """(e, h) the first class with the largest of (e, c, h) scores; several times as fast as `argmax`."""
    best = scores[:, 0].copy()
    found = np.zeros(best.shape, _code(scores.shape[1]))
    for one in range(1, scores.shape[1]):
        larger = scores[:, one] > best
        np.maximum(best, scores[:, one], out=best)
        np.maximum(found, larger * found.dtype.type(one), out=found)  # classes come in rising order
    return found
