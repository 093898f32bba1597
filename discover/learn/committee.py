"""A committee of heads, each taught a resample of the answers (bagging: Breiman 1996), as modAL wants its members."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from discover.learn import head
from discover.learn.heads import Head, softmax

MEMBERS = 5


class Member:
    """One head over row ids.

    Args:
        fitted: its weights and bias.
        vectors_of: gives (n, d) vectors of row ids.

    Attributes:
        classes_: class indices, (c,).
    """

    def __init__(self, fitted: Head, vectors_of: Callable[[list[int]], NDArray[np.float32]]):
        self.classes_ = np.arange(len(fitted[1]))
        self._fitted, self._vectors_of = fitted, vectors_of

    def predict_proba(self, X: NDArray[np.int64]) -> NDArray[np.float64]:
        """Probabilities, (n, c), of row ids X (n, 1)."""
        return softmax(head.logits(self._vectors_of([int(row) for row in X.ravel()]), *self._fitted))


def bagged(
    vectors: NDArray[np.float32],
    classes: NDArray[np.int64],
    prior: NDArray[np.float32],
    penalty: float,
    rng: np.random.Generator,
) -> list[Head]:
    """Heads, each of as many answers as there are, drawn with replacement; arguments as for `head.fit`."""
    draws = [rng.integers(len(classes), size=len(classes)) for _ in range(MEMBERS)]
    return [head.fit(vectors[rows], classes[rows], prior, penalty) for rows in draws]
