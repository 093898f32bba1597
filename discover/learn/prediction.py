"""What a model says of documents."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Prediction(NamedTuple):
    """Of n documents.

    Attributes:
        answers: n answers, as `Labels.array` has them.
        chances: (n,) how likely each is, all of it.
        probabilities: (n, c) of each class; of spans (n, 2), see `discover.learn.tagger`.
    """

    answers: NDArray[Any]
    chances: NDArray[np.floating]
    probabilities: NDArray[np.float64]
