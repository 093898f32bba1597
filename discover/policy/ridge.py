"""A ridge head in closed form: one regression a class on its 0/1 indicator.

``W = (X'X + penalty I)^-1 X'Y``. One more label moves it by a rank-one step, and what that step does to the predictions
of other documents has a closed form too: `envs.head` plays hundreds of thousands of labels with it, and in a real loop
it stands in for the model where a feature asks what a label would change. Left out: classes without a label have no
scores.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PENALTY = 0.5
SHARPNESS = np.geomspace(2, 64, 11)  # of the softmax over scores, to choose from


@dataclass(frozen=True, eq=False)
class Ridge:
    """A head fitted to m labels.

    Attributes:
        inverse: (d, d), of X'X + penalty I.
        weights: (d, c).
        sharpness: factor of the scores in the softmax, by leave-one-out.
        validated: leave-one-out accuracy; 0 without labels.
    """

    inverse: Floats
    weights: Floats
    sharpness: float
    validated: float


def fit(vectors: NDArray, labels: NDArray[np.int64], classes: int, penalty: float = PENALTY) -> Ridge:
    """Fit to (m, d) vectors and their (m,) classes, of ``classes``."""
    inverse, weights = solve(vectors, indicators(labels, classes), penalty)
    rows = vectors.astype(np.float64)
    return Ridge(inverse, weights, *map(float, calibrate(rows, labels, inverse, weights)))


def solve(vectors: NDArray, targets: Floats, penalty: float = PENALTY) -> tuple[Floats, Floats]:
    """The inverse (d, d) and the weights (d, c) for (m, d) vectors and their (m, c) targets."""
    rows = vectors.astype(np.float64)
    inverse = np.asarray(np.linalg.inv(rows.T @ rows + penalty * np.eye(rows.shape[1])), np.float64)
    return inverse, inverse @ (rows.T @ targets)


def indicators(labels: NDArray[np.int64], classes: int) -> Floats:
    """(m, c) 0 and 1 of (m,) classes; of several labels they are that already."""
    return np.eye(classes)[labels] if labels.ndim == 1 else labels.astype(np.float64)


def calibrate(rows: Floats, labels: NDArray[np.int64], inverse: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Sharpness of the softmax and accuracy, (…) each, both by leave-one-out over what was learned.

    ``f_-i(x_i) = (f(x_i) - h_i y_i) / (1 - h_i)`` with ``h_i = x_i' inverse x_i``.

    Args:
        rows: (…, m, d) vectors.
        labels: (…, m) classes.
        inverse: (…, d, d).
        weights: (…, d, c).
    """
    if not labels.shape[-1]:
        return np.full(labels.shape[:-1], SHARPNESS[0]), np.zeros(labels.shape[:-1])
    truth = np.eye(weights.shape[-1])[labels]
    leverage = (np.matmul(rows, inverse) * rows).sum(axis=-1, keepdims=True)
    scores = (np.matmul(rows, weights) - leverage * truth) / np.maximum(1 - leverage, 1e-6)
    scores = np.where(truth.any(axis=-2, keepdims=True), scores, -np.inf)
    scores -= scores.max(axis=-1, keepdims=True)
    factors = SHARPNESS.reshape(-1, *[1] * labels.ndim)
    total = np.log(np.exp(factors[..., None] * scores).sum(axis=-1)).mean(axis=-1)
    own = np.take_along_axis(scores, labels[..., None], axis=-1)[..., 0]
    losses = total - factors[..., 0] * own.mean(axis=-1)
    return SHARPNESS[losses.argmin(axis=0)], (scores.argmax(axis=-1) == labels).mean(axis=-1)


def probabilities(scores: Floats, seen: NDArray[np.bool_], sharpness: Floats) -> Floats:
    """Softmax over the classes seen: (…, k, c) scores, (…, c) flags and (…) factors to (…, k, c); 0 for the others."""
    found = np.where(seen[..., None, :], scores * np.asarray(sharpness, scores.dtype)[..., None, None], -np.inf)
    found -= largest(found)[..., None]
    np.exp(found, out=found)
    found /= np.matmul(found, np.ones(found.shape[-1], found.dtype))[..., None]
    return found


def largest(values: NDArray) -> NDArray:
    """(…) the largest of (…, c)."""
    return np.moveaxis(values, -1, 0).copy().max(axis=0)  # along a short last axis NumPy is slow


def prospects(vectors: NDArray, inverse: Floats, scores: Floats, likely: Floats, sample: "Sample") -> dict[str, Floats]:
    """What one more label may do, under the model's own beliefs; for each candidate, (…, k).

    A label y moves predictions by ``g (e_y - f)'`` with ``g = inverse x / (1 + x' inverse x)``. Over a sample with
    second moment M, and mean ``V`` of vectors times what scores exceed beliefs by, the squared error falls by

        gain_y = -2 g'V (e_y - f) - g'Mg |e_y - f|^2

    (expected error reduction: Roy & McCallum 2001, here in closed form). Costs O(k d (d + c)).

    Args:
        vectors: (…, k, d) of the candidates.
        inverse: (…, d, d).
        scores: (…, k, c), f.
        likely: (…, k, c) class probabilities.
        sample: of unlabelled documents.

    Returns:
        ``leverage``, x' inverse x; ``reach``, g'Mg; ``change``, reach times the mean of |e_y - f|^2; ``gain``, the mean
        of gain_y over y; and ``upside``, its standard deviation.
    """
    steps = np.matmul(vectors, inverse)
    leverage = np.einsum("...d,...d", steps, vectors)
    steps /= 1 + leverage[..., None]
    reach = np.einsum("...d,...d", np.matmul(steps, sample.moment), steps)
    surprise = 1 - 2 * scores + np.square(scores).sum(axis=-1, keepdims=True)  # |e_y - f|^2 of each y
    pull = np.matmul(steps, sample.excess)
    gains = -2 * (pull - (pull * scores).sum(axis=-1, keepdims=True)) - reach[..., None] * surprise
    mean = (likely * gains).sum(axis=-1)
    return {
        "leverage": leverage,
        "reach": reach,
        "change": reach * (likely * surprise).sum(axis=-1),
        "gain": mean,
        "upside": np.sqrt((likely * np.square(gains - mean[..., None])).sum(axis=-1)),
    }


@dataclass(frozen=True, eq=False)
class Sample:
    """Unlabelled documents, as far as `prospects` needs them.

    Attributes:
        moment: (…, d, d) mean of x x'.
        excess: (…, d, c) mean of x (f - p)', scores less class probabilities.
    """

    moment: Floats
    excess: Floats


def sampled(vectors: NDArray, moment: Floats, scores: Floats, likely: Floats) -> Sample:
    """Of (…, s, d) vectors, their moment, scores and class probabilities (…, s, c)."""
    excess = (scores - likely).astype(vectors.dtype)  # else all vectors would be converted
    return Sample(moment, np.matmul(np.swapaxes(vectors, -1, -2), excess) / vectors.shape[-2])
