"""The frozen-head mode: multinomial logistic regression over the encoder's vectors.

The weights are ``trust * prior + shift``: the prior are the vectors of the classes' descriptions, how far to trust them
is learned, and the shift, bias included, pays ``penalty * SCALE / m`` times its square. So descriptions that say
something decide while answers are few, and those that say nothing do no harm. The objective is convex; L-BFGS runs in
coordinates whitened by the loss's curvature where all classes are as likely: of thousands of documents of few classes
it is then done in a sixth of the time.
"""

from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import minimize
from threadpoolctl import ThreadpoolController

SCALE = 20.0  # logits are SCALE times a cosine, about what contrastive encoders are trained with
ROWS = 256  # of one product: fixed, so that a document's logits never depend on how many are asked for
STOP = {"maxiter": 500, "gtol": 1e-4, "ftol": 1e-9}  # by the gradient: the loss stands still before that
_blas = ThreadpoolController()


def fit(
    vectors: NDArray[np.float32],
    classes: NDArray[np.int64],
    prior: NDArray[np.float32],
    penalty: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights (c, d) and bias (c,).

    Args:
        vectors: (m, d) unit vectors of the answered documents.
        classes: (m,) class indices.
        prior: (c, d) unit vectors of the descriptions.
        penalty: of the squared shift.
    """
    c, ridge = len(prior), penalty * SCALE / len(classes)
    inputs = np.pad(vectors.astype(np.float64) * SCALE, ((0, 0), (0, 1)), constant_values=SCALE)
    share = class_weights(classes, c)[classes] / len(classes)
    with one_thread():
        white, factor = whiten(inputs, share, c, ridge)
        # Single precision from here on: the weights end within a thousandth of those of double, in half the time.
        white, factor32 = np.ascontiguousarray(white, np.float32), factor.astype(np.float32)
        by_prior = (inputs[:, :-1] @ prior.T).astype(np.float32)
        truth, share = np.eye(c, dtype=np.float32)[classes], share.astype(np.float32)
        spread = max(float(by_prior.std()), 1e-6)  # brings trust to the scale of the shift

        def objective(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            """The loss, and its gradient, at a shift (c, d + 1) in white coordinates and a trust less 1."""
            white_shift = point[:-1].reshape(c, -1).astype(np.float32)
            shift = white_shift @ factor32
            found = np.float32(1 + point[-1] / spread) * by_prior + white @ white_shift.T
            found -= found.max(1, keepdims=True)
            right = (found * truth).sum(1)
            likely = np.exp(found, out=found)
            total = likely.sum(1)
            residuals = (likely / total[:, None] - truth) * share[:, None]
            gradient = residuals.T @ white + 2 * np.float32(ridge) * (shift @ factor32.T)
            loss = float(share @ (np.log(total) - right)) + ridge * float(np.square(shift).sum())
            return loss, np.append(gradient, (residuals * by_prior).sum() / spread).astype(np.float64)

        start = np.zeros(c * len(factor) + 1)
        point = minimize(objective, start, jac=True, method="L-BFGS-B", options=STOP).x
        shift = point[:-1].reshape(c, -1) @ factor
    return (1 + point[-1] / spread) * prior.astype(np.float64) + shift[:, :-1], shift[:, -1]


def one_thread() -> AbstractContextManager[Any]:
    """Let BLAS take one thread: with two, products as small as a head's take four to ten times as long."""
    return _blas.limit(limits=1, user_api="blas")


def whiten(
    inputs: NDArray[np.float64], share: NDArray[np.float64], c: int, ridge: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Inputs (m, d + 1) in white coordinates, and the factor, (d + 1, d + 1), that brings weights back from there.

    It is the inverse Cholesky factor of the loss's curvature where all ``c`` classes are as likely.
    """
    curvature = (inputs * share[:, None]).T @ inputs * (c - 1) / c**2
    root = cholesky(curvature + 2 * ridge * np.eye(len(curvature)), lower=True)
    return solve_triangular(root, inputs.T, lower=True).T, solve_triangular(root, np.eye(len(root)), lower=True)


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
