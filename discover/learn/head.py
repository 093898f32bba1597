"""The frozen-head mode: multinomial logistic regression over the encoder's vectors.

The weights are ``trusts @ known + shift``: known of a class are the vector of its description and the mean of its
documents. How far to trust either is learned, but ``TRUST / m`` times the squared distance from equal shares is paid;
the shift, bias included, pays ``strength * SCALE / m`` times its square, less in directions in which documents differ
much (`root_of`). So descriptions that say something decide while answers are few, and those that say nothing do no
harm; and means, as of a generative classifier, need fewer documents than weights do (Ng & Jordan 2001, "On
discriminative vs. generative classifiers"; nearest class mean: Mensink et al. 2013,
https://doi.org/10.1109/TPAMI.2013.83). Answers of one class alone cannot tell how far its description is to be trusted
against the others': trust then stays as it is, and another class's first document is found by its description.

In a mean the description counts for one more document, and in training each document sees that of its own class without
itself, or the means would seem to know everything. Trust in means is never negative: where classes lie in one another,
or answers were chosen for being doubtful, that would only magnify what the shift has learned of each document alone. Of
few classes the means are left out: random answers gain by them there, chosen ones do not (runs/LOG.md).

The objective is convex; L-BFGS runs in coordinates whitened by the loss's curvature where all classes are as likely: of
thousands of documents of few classes it is then done in a sixth of the time.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import minimize
from sklearn.covariance import ledoit_wolf
from threadpoolctl import ThreadpoolController

Floats = NDArray[np.float64]

SCALE = 20.0  # logits are SCALE times a cosine, about what contrastive encoders are trained with
ROWS = 256  # of one product: fixed, so that a document's logits never depend on how many are asked for
TRUST = 0.2  # penalty of trust's squared distance from an equal share: its prior's standard deviation is 1.6
MANY = 11  # classes, from which on their means are known
STOP = {"maxiter": 500, "gtol": 1e-4, "ftol": 1e-9}  # by the gradient: the loss stands still before that
ROUGHLY = STOP | {"gtol": 1e-3}  # in half the steps
_blas = ThreadpoolController()


class Penalty(NamedTuple):
    """What the shift pays.

    Attributes:
        strength: of its square.
        root: (d, d) of `root_of`: the shift is ``root @ u`` and pays the square of u; None: of itself.
    """

    strength: float
    root: Floats | None = None

    def inputs(self, vectors: NDArray[np.float32]) -> Floats:
        """What u is learned over: (m, d + 1), vectors by the root and a constant, scaled."""
        rooted = vectors.astype(np.float64) if self.root is None else vectors @ self.root
        return np.pad(rooted * SCALE, ((0, 0), (0, 1)), constant_values=SCALE)

    def shift(self, learned: Floats) -> tuple[Floats, Floats]:
        """The shift of weights (c, d) and bias (c,), of u and a bias (c, d + 1)."""
        weights = learned[:, :-1]
        return weights if self.root is None else weights @ self.root, learned[:, -1]


def root_of(vectors: NDArray[np.float32], power: float) -> Floats | None:
    """The symmetric root, (d, d), of the covariance of (n, d) documents to a power; None if that is 0, or n under 2.

    What tells classes apart is likelier to lie in directions in which documents differ much: a Gaussian prior on the
    weights with that covariance, or a kernel whose eigenvalues are raised to 1 + power ("cluster kernels": Chapelle,
    Weston & Schoelkopf 2002). The covariance is that of Ledoit & Wolf 2004, for which a few documents will do;
    they vary as much afterwards as before.
    """
    if power == 0 or len(vectors) < 2:
        return None
    with one_thread():
        values, directions = np.linalg.eigh(ledoit_wolf(vectors.astype(np.float64))[0])
        values = np.maximum(values, 1e-12)
        scale = np.sqrt(values.sum() / (values ** (1 + power)).sum())
        return np.asarray((directions * (scale * values ** (power / 2))) @ directions.T, np.float64)


def fit(
    vectors: NDArray[np.float32],
    classes: NDArray[np.int64],
    prior: NDArray[np.float32],
    penalty: Penalty,
    stop: Mapping[str, float] = STOP,
) -> tuple[Floats, Floats]:
    """Weights (c, d) and bias (c,).

    Args:
        vectors: (m, d) unit vectors of the answered documents.
        classes: (m,) class indices.
        prior: (c, d) unit vectors of the descriptions.
        penalty: of the shift.
        stop: when L-BFGS does.
    """
    c, ridge = len(prior), penalty.strength * SCALE / len(classes)
    share = class_weights(classes, c)[classes] / len(classes)
    with one_thread():
        inputs = penalty.inputs(vectors)
        white, factor = whiten(inputs, share, c, ridge)
        directions, known = _known(vectors, classes, prior)
        for k in range(len(known), 0, -1):
            learned, trusts = _optimum(white, factor, known[:k], np.eye(c)[classes], share, ridge, stop)
            if trusts[-1] > 0:  # otherwise, the objective being convex, no trust in means is the best
                break
        shift, bias = penalty.shift(learned)
    return np.tensordot(trusts, directions[: len(trusts)], 1) + shift, bias


def _optimum(
    white: Floats,
    factor: Floats,
    known: Floats,
    truth: Floats,
    share: Floats,
    ridge: float,
    stop: Mapping[str, float],
) -> tuple[Floats, Floats]:
    """The shift, (c, d + 1), and trusts, (k,), of least loss.

    Args:
        white: (m, d + 1) documents in white coordinates.
        factor: (d + 1, d + 1) that brings weights back from there.
        known: (k, m, c) logits by what is known.
        truth: (m, c) of 0 and 1.
        share: (m,) of each document in the loss.
        ridge: of the squared shift.
        stop: when L-BFGS does.
    """
    k, c, doubt = len(known), truth.shape[1], TRUST / len(truth)
    # Brings trusts to the scale of the shift, and apart, since means and descriptions are much alike; where they are
    # the same, no further than single precision can tell.
    together = np.atleast_2d(np.cov(known.reshape(k, -1)))
    apart = np.linalg.inv(cholesky(together + (1e-6 * np.trace(together) + 1e-12) * np.eye(k), lower=True))
    if np.count_nonzero(truth.any(0)) < 2:
        apart = np.zeros_like(apart)
    # Single precision from here on: the weights end within a thousandth of those of double, in half the time.
    white32, factor32, known32, truth32, share32 = (
        np.ascontiguousarray(one, np.float32) for one in (white, factor, known, truth, share)
    )

    def objective(point: Floats) -> tuple[float, Floats]:
        """The loss, and its gradient, at a shift (c, d + 1) in white coordinates and k trusts less 1 / k, set apart."""
        white_shift = point[:-k].reshape(c, -1).astype(np.float32)
        shift = white_shift @ factor32
        further = point[-k:] @ apart
        found = np.tensordot((1 / k + further).astype(np.float32), known32, 1) + white32 @ white_shift.T
        found -= found.max(1, keepdims=True)
        right = (found * truth32).sum(1)
        likely = np.exp(found, out=found)
        total = likely.sum(1)
        residuals = (likely / total[:, None] - truth32) * share32[:, None]
        gradient = residuals.T @ white32 + 2 * np.float32(ridge) * (shift @ factor32.T)
        loss = float(share32 @ (np.log(total) - right)) + ridge * float(np.square(shift).sum())
        by_trust = (known32 * residuals).sum(axis=(1, 2)) + 2 * doubt * further
        return loss + doubt * float(further @ further), np.append(gradient, apart @ by_trust).astype(np.float64)

    point = minimize(objective, np.zeros(c * len(factor) + k), jac=True, method="L-BFGS-B", options=dict(stop)).x
    return point[:-k].reshape(c, -1) @ factor, 1 / k + point[-k:] @ apart


def _known(
    vectors: NDArray[np.float32], classes: NDArray[np.int64], prior: NDArray[np.float32]
) -> tuple[Floats, Floats]:
    """Directions of the classes, (k, c, d), and logits by them, (k, m, c): the descriptions', and of many the means'.

    A document's logit of its own class is by the mean of the others.
    """
    inputs, described = vectors.astype(np.float64), prior.astype(np.float64)
    directions, known = [described], [inputs @ described.T]
    if len(prior) >= MANY:
        truth = np.eye(len(prior))[classes]
        sums = truth.T @ inputs + described
        means, others = _unit(sums), _unit(sums[classes] - inputs)
        directions.append(means)
        known.append(np.where(truth, (others * inputs).sum(1, keepdims=True), inputs @ means.T))
    return np.stack(directions), SCALE * np.stack(known)


def _unit(vectors: Floats) -> Floats:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def one_thread() -> AbstractContextManager[Any]:
    """Let BLAS take one thread: with two, products as small as a head's take four to ten times as long."""
    return _blas.limit(limits=1, user_api="blas")


def whiten(inputs: Floats, share: Floats, c: int, ridge: float) -> tuple[Floats, Floats]:
    """Inputs (m, d + 1) in white coordinates, and the factor, (d + 1, d + 1), that brings weights back from there.

    It is the inverse Cholesky factor of the loss's curvature where all ``c`` classes are as likely.
    """
    curvature = (inputs * share[:, None]).T @ inputs * (c - 1) / c**2
    root = cholesky(curvature + 2 * ridge * np.eye(len(curvature)), lower=True)
    return solve_triangular(root, inputs.T, lower=True).T, solve_triangular(root, np.eye(len(root)), lower=True)


def logits(vectors: NDArray[np.float32], weights: Floats, bias: Floats) -> Floats:
    """Logits, (n, c), of unit vectors (n, d)."""
    found = np.empty((len(vectors), len(weights)))
    for start in range(0, len(vectors), ROWS):
        part = vectors[start : start + ROWS]
        padded = np.zeros((ROWS, vectors.shape[1]))
        padded[: len(part)] = part
        found[start : start + ROWS] = ((padded @ weights.T + bias) * SCALE)[: len(part)]
    return found


def class_weights(classes: NDArray[np.int64], count: int) -> Floats:
    """Weights of the loss, (c,): the square root of inverse frequency, with mean 1 over the answers.

    The root is a compromise: full balancing trades much accuracy on the large classes for little on the rare ones.
    """
    frequency = np.bincount(classes, minlength=count).astype(np.float64)
    weights = 1 / np.sqrt(np.maximum(frequency, 1))
    return weights / (weights @ frequency / len(classes))
