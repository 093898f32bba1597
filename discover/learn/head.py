"""The frozen-head mode: multinomial logistic regression over the encoder's vectors.

The weights are ``trust * prior + shift``: the prior are the vectors of the classes' descriptions, how far to trust them
is learned, and the shift, bias included, pays ``penalty * SCALE / m`` times its square. So descriptions that say
something decide while answers are few, and those that say nothing do no harm. The objective is convex; L-BFGS runs
until it has converged, in coordinates whitened by the loss's curvature where all classes are as likely: of thousands of
documents of few classes it is then done in a sixth of the time.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import minimize
from threadpoolctl import ThreadpoolController

SCALE = 20.0  # logits are SCALE times a cosine, about what contrastive encoders are trained with
ROWS = 256  # of one product: fixed, so that a document's logits never depend on how many are asked for
PRECISION = {"gtol": 1e-5, "ftol": 1e-9}  # what single precision resolves
_blas = ThreadpoolController()


def fit(
    vectors: NDArray[np.float32],
    classes: NDArray[np.int64],
    prior: NDArray[np.float32],
    penalty: float,
    weights: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights (c, d) and bias (c,).

    Args:
        vectors: (m, d) unit vectors of the answered documents.
        classes: (m,) class indices.
        prior: (c, d) unit vectors of the descriptions.
        penalty: of the squared shift.
        weights: (c,) of the loss.
    """
    # The products are small: with two threads all this takes four to ten times as long.
    with _blas.limit(limits=1, user_api="blas"):
        c, ridge = len(prior), penalty * SCALE / len(classes)
        inputs = np.pad(vectors.astype(np.float64) * SCALE, ((0, 0), (0, 1)), constant_values=SCALE)
        share = weights[classes] / weights[classes].sum()
        curved = (inputs * share[:, None]).T @ inputs * (c - 1) / c**2
        root = cholesky(curved + 2 * ridge * np.eye(len(curved)), lower=True)
        back = solve_triangular(root, np.eye(len(root)), lower=True)
        # Single precision from here on: the weights end within a thousandth of those of double, in half the time.
        white = np.ascontiguousarray(solve_triangular(root, inputs.T, lower=True).T, np.float32)
        narrow, known = back.astype(np.float32), (inputs[:, :-1] @ prior.T).astype(np.float32)
        truth, share = np.eye(c, dtype=np.float32)[classes], share.astype(np.float32)
        spread = max(float(known.std()), 1e-6)  # brings trust to the scale of the shift

        def objective(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            """The loss, and its gradient, at a shift (c, d + 1) in white coordinates and a trust less 1."""
            shift = point[:-1].reshape(c, -1).astype(np.float32)
            away = shift @ narrow
            found = np.float32(1 + point[-1] / spread) * known + white @ shift.T
            found -= found.max(1, keepdims=True)
            right = (found * truth).sum(1)
            likely = np.exp(found, out=found)
            total = likely.sum(1)
            off = (likely / total[:, None] - truth) * share[:, None]
            slope = off.T @ white + 2 * np.float32(ridge) * (away @ narrow.T)
            loss = float(share @ (np.log(total) - right)) + ridge * float(np.square(away).sum())
            return loss, np.append(slope, (off * known).sum() / spread).astype(np.float64)

        start = np.zeros(c * len(root) + 1)
        point = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 500, **PRECISION}).x
        shift = point[:-1].reshape(c, -1) @ back
        return (1 + point[-1] / spread) * prior.astype(np.float64) + shift[:, :-1], shift[:, -1]


def logits(
    vectors: NDArray[np.float32], weights: NDArray[np.float64], bias: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Logits, (n, c), of unit vectors (n, d)."""
    found = np.empty((len(vectors), len(weights)))
    for start in range(0, len(vectors), ROWS):
        part = vectors[start : start + ROWS]
        padded = np.zeros((ROWS, vectors.shape[1]))
        padded[: len(part)] = part
        found[start : start + ROWS] = ((padded @ weights.T + bias) * SCALE)[: len(part)]
    return found


def class_weights(classes: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """Weights of the loss, (c,): the square root of inverse frequency, with mean 1 over the answers.

    The root is a compromise: full balancing trades much accuracy on the large classes for little on the rare ones.
    """
    frequency = np.bincount(classes, minlength=count).astype(np.float64)
    weights = 1 / np.sqrt(np.maximum(frequency, 1))
    return weights / (weights @ frequency / len(classes))
