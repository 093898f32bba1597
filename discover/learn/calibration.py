"""Calibration: one temperature, fitted on answers that did not train the model they judge, and shrunk towards 1.

Guo et al., "On calibration of modern neural networks", 2017, https://arxiv.org/abs/1706.04599. The fit minimises
sum of -log softmax(logits / T)[y] + strength * (log T)^2, so that a handful of answers cannot turn the model's
confidence upside down.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from discover.learn.likelihood import Likelihood
from discover.pool.answers import strata

STRENGTH = 5.0
RANGE = (0.2, 10.0)


def fit_temperature(
    logits: NDArray[np.float64], y: NDArray[np.int64], likelihood: Likelihood, strength: float = STRENGTH
) -> float:
    """The temperature by which logits are to be divided; 1 without answers.

    Args:
        logits: (n, c) of held-out documents.
        y: their n answers.
        likelihood: of answers; with several labels the loss is the sum of theirs.
        strength: of the pull towards 1.
    """
    if not len(y):
        return 1.0
    return temperature_of(lambda temperature: float(likelihood.losses(logits / temperature, y).sum()), strength)


def temperature_of(loss: Callable[[float], float], strength: float = STRENGTH) -> float:
    """The temperature under which a loss, the sum over answers of -log p, is least, as far as that is from 1."""

    def pulled(log_temperature: float) -> float:
        return loss(float(np.exp(log_temperature))) + strength * log_temperature**2

    found = minimize_scalar(pulled, bounds=tuple(np.log(RANGE)), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))


def folds_of(y: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """(m,) the fold of each of m answers, the classes spread evenly over them."""
    found = np.empty(len(y), np.int64)
    found[np.argsort(strata(y), kind="stable")] = np.arange(len(y)) % count
    return found
