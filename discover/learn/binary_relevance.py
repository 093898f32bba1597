"""The head of several labels: a logistic regression for each label by itself (binary relevance), fitted at once.

The weights are as in `discover.learn.head`, ``trust * prior + shift``, and an offset that all labels share stands
beside them: how many labels a document has is learned from all answers, so that a label without an answer is not taken
for a likely one. The loss of a document is the sum of its labels' binary cross-entropies. Left out: that labels come
together, or exclude each other (classifier chains: Read et al. 2009).
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit, logsumexp, softmax

from discover.learn import head


def fit(
    vectors: NDArray[np.float32],
    y: NDArray[np.integer],
    prior: NDArray[np.float32],
    penalty: head.Penalty,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights (c, d) and bias (c,).

    Args:
        vectors: (m, d) unit vectors of the answered documents.
        y: (m, c) 0 or 1, whether a document has a label.
        prior: (c, d) unit vectors of the descriptions.
        penalty: of the shift.
    """
    m, c = y.shape
    ridge = penalty.strength * head.SCALE / m
    with head.one_thread():
        inputs = penalty.inputs(vectors)
        white, factor = head.whiten(inputs, np.full(m, 1 / m), c, ridge)
        white, factor32 = np.ascontiguousarray(white, np.float32), factor.astype(np.float32)
        by_prior = (vectors @ prior.T * head.SCALE).astype(np.float32)
        # As in `discover.learn.head`: what is learned of trust where no document has a label is that all are wrong.
        truth, spread = y.astype(np.float32), max(float(by_prior.std()), 1e-6) if y.any() else np.inf

        def objective(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            """The loss, and its gradient, at a shift (c, d + 1) in white coordinates, a trust less 1, and an offset."""
            white_shift = point[:-2].reshape(c, -1).astype(np.float32)
            shift = white_shift @ factor32
            found = np.float32(1 + point[-2] / spread) * by_prior + white @ white_shift.T + np.float32(point[-1])
            residuals = (expit(found) - truth) / np.float32(m)
            gradient = residuals.T @ white + 2 * np.float32(ridge) * (shift @ factor32.T)
            loss = float((np.logaddexp(0, found) - truth * found).sum(dtype=np.float64)) / m
            loss += ridge * float(np.square(shift).sum(dtype=np.float64))
            ends = [(residuals * by_prior).sum() / spread, residuals.sum()]
            return loss, np.append(gradient, ends).astype(np.float64)

        # So many labels a document as there are, were the offset alone to say it.
        offset = np.log(max(float(truth.sum(1).mean()), 0.5 / m)) - float(logsumexp(by_prior, axis=1).mean())
        start = np.append(np.zeros(c * len(factor) + 1), offset)
        point = minimize(objective, start, jac=True, method="L-BFGS-B", options=head.STOP).x
        shift, bias = penalty.shift(point[:-2].reshape(c, -1) @ factor)
    return (1 + point[-2] / spread) * prior.astype(np.float64) + shift, bias + point[-1] / head.SCALE


def untaught(vectors: NDArray[np.float32], prior: NDArray[np.float32]) -> NDArray[np.float64]:
    """Logits, (n, c), before there is an answer: as if each document had one label, by the descriptions alone."""
    alone = head.logits(vectors, prior.astype(np.float64), np.zeros(len(prior)))
    return np.asarray(logit(np.clip(softmax(alone, axis=1), 1e-12, 1 - 1e-12)), np.float64)
