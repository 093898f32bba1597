"""A committee of heads, each taught a resample of the answers (bagging: Breiman 1996), as modAL wants its members."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from discover.learn.head import Penalty
from discover.learn.likelihood import Head, Likelihood
from discover.learn.samples import ids_of

MEMBERS = 5


class Member:
    """One head over row ids.

    Args:
        logits_of: gives its (n, c) logits of row ids.
        c: classes.
        likelihood: of answers.

    Attributes:
        classes_: class indices, (c,).
    """

    def __init__(self, logits_of: Callable[[list[int]], NDArray[np.float64]], c: int, likelihood: Likelihood):
        self.classes_ = np.arange(c)
        self._logits_of, self._likelihood = logits_of, likelihood

    def predict_proba(self, X: NDArray[np.int64]) -> NDArray[np.float64]:
        """Probabilities, (n, c), of row ids X (n, 1)."""
        return self._likelihood.probabilities(self._logits_of(ids_of(X)))


def bagged(
    vectors: NDArray[np.float32],
    y: NDArray[np.int64],
    prior: NDArray[np.float32],
    penalty: Penalty,
    likelihood: Likelihood,
    rng: np.random.Generator,
) -> list[Head]:
    """Heads, each of as many answers as there are, drawn with replacement; arguments as for `head.fit`."""
    draws = [rng.integers(len(y), size=len(y)) for _ in range(MEMBERS)]
    return [likelihood.fit(vectors[rows], y[rows], prior, penalty) for rows in draws]
