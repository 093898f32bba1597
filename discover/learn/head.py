"""The frozen-head mode: multinomial logistic regression over the encoder's vectors.

The weights are ``trust * prior + shift``: the prior are the vectors of the classes' descriptions, how far to trust them
is learned, and the shift, bias included, pays ``penalty * SCALE / m`` times its square. So descriptions that say
something decide while answers are few, and those that say nothing do no harm. The objective is convex, so the result
does not depend on the start; L-BFGS runs until it has converged.
"""

import numpy as np
import torch
from numpy.typing import NDArray

SCALE = 20.0  # logits are SCALE times a cosine, about what contrastive encoders are trained with
ROWS = 256  # of one product: fixed, so that a document's logits never depend on how many are asked for


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
    inputs, start = torch.from_numpy(vectors).double(), torch.from_numpy(prior).double()
    targets, loss_weights = torch.from_numpy(classes), torch.from_numpy(weights)
    shift = torch.zeros(start.shape[0], start.shape[1] + 1, dtype=torch.float64, requires_grad=True)
    trust = torch.ones((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [shift, trust], max_iter=500, tolerance_grad=1e-6, tolerance_change=1e-12, line_search_fn="strong_wolfe"
    )

    def objective() -> torch.Tensor:
        optimizer.zero_grad()
        logits = (inputs @ (trust * start + shift[:, :-1]).T + shift[:, -1]) * SCALE
        loss = torch.nn.functional.cross_entropy(logits, targets, loss_weights)
        loss = loss + penalty * SCALE / len(targets) * shift.square().sum()
        loss.backward()
        return loss

    optimizer.step(objective)
    found = shift.detach()
    return (trust.detach() * start + found[:, :-1]).numpy(), found[:, -1].numpy()


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
