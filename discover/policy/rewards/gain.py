"""Gain: by how much the answer lowers a ridge head's squared error on the other answered picks of its query.

The head is fitted to the m answers before the query, so it has learned none of the picks; one answer y about x moves
its scores of another pick v by ``v'g (e_y - f(x))``, in closed form (`discover.policy.ridge`). Where an error falls as
1 / m, one more answer takes away the share 1 / m of it. The reward measures by that:

    1/2 + m (E - E') / (2 E), within [0, 1]

so 1/2 is an answer that changes nothing, 1 one that is worth at least as much as an average answer so far, and 0 one
that does so much harm. Cutting off there keeps a few early answers, whose gains are tens of times as large, from
outweighing all others. 1/2 where nothing else was answered or nothing is left to be gained. A reward is given once: of
people who answer at their own pace, the other picks are those answered by then. O(d^3 + k^2 (d + c)).
"""

import numpy as np

from discover.policy import ridge
from discover.policy.corpus import DIMENSION, Reduction
from discover.policy.reward import Answered, Floats


def gain(answered: Answered) -> Floats:
    """(k,) rewards of a query's answered picks, in [0, 1]."""
    k, c = answered.probabilities.shape
    m = len(answered.labels)
    if k < 2 or m == 0:
        return np.full(k, 0.5)
    reduced = Reduction(np.concatenate([answered.labelled_vectors, answered.vectors]), DIMENSION)
    inverse, weights = ridge.solve(reduced(answered.labelled_vectors), ridge.indicators(answered.labels, c))
    rows = reduced(answered.vectors).astype(np.float64)
    errors = ridge.indicators(answered.answers, c) - rows @ weights
    steps = rows @ inverse
    steps /= 1 + (steps * rows).sum(axis=1)[:, None]
    moves = steps @ rows.T  # (k, k), of each other pick's scores by each answer, times that answer's error
    np.fill_diagonal(moves, 0)  # not on itself
    fall = 2 * (moves * (errors @ errors.T)).sum(axis=1) - np.square(moves).sum(axis=1) * np.square(errors).sum(axis=1)
    total = np.square(errors).sum()
    before = total - np.square(errors).sum(axis=1)
    share = np.divide(fall, before, out=np.zeros(k), where=before > 1e-9 * max(total, 1.0))
    return np.asarray(np.clip(0.5 + m * share / 2, 0, 1), np.float64)
