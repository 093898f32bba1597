"""Row ids as scikit-learn and modAL want samples: a column of numbers."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def column(ids: Any) -> NDArray[np.int64]:
    """Row ids (n,) as samples, (n, 1)."""
    return np.asarray(ids, dtype=np.int64).reshape(-1, 1)


def ids_of(X: NDArray[np.int64]) -> list[int]:
    """The row ids of samples (n, 1)."""
    return [int(row) for row in np.asarray(X).ravel()]
