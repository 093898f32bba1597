"""What a training has to learn: new and corrected answers, or all of them once more."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

GROWTH = 2  # of the answers, after which they are learned from scratch again, and cross-validated


class Increment(NamedTuple):
    """One training.

    Attributes:
        ids: m row ids of all answers, in an order that is the documents' own.
        fresh: (m,) whether the answer is to be trained on; the others are replayed.
        anew: whether it starts from scratch; then all are fresh.
    """

    ids: list[int]
    fresh: NDArray[np.bool_]
    anew: bool


def increment(
    answers: Mapping[int, Any], taught: Mapping[int, Any], whole: int, ordered: Callable[[list[int]], list[int]]
) -> Increment:
    """What has changed since the last training, at least one answer.

    Args:
        answers: by row id, as they now stand.
        taught: likewise, as last trained on; all of these ids are still answered.
        whole: answers when they were last learned from scratch.
        ordered: puts row ids into the documents' order.
    """
    ids = ordered(list(answers))
    anew = len(ids) >= GROWTH * whole
    return Increment(ids, np.array([anew or taught.get(row) != answers[row] for row in ids]), anew)
