"""Calibration: one temperature, fitted on answers that did not train the model they judge, and shrunk.

Guo et al., "On calibration of modern neural networks", 2017, https://arxiv.org/abs/1706.04599. The fit minimises
sum of -log softmax(logits / T)[y] + strength * (log T - log around)^2, so that a handful of answers cannot turn the
model's confidence upside down.
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
    logits: NDArray[np.float64], y: NDArray[np.int64], likelihood: Likelihood, around: float = 1.0
) -> float:
    """The temperature by which logits are to be divided; `around` without answers.

    Args:
        logits: (n, c) of held-out documents.
        y: their n answers.
        likelihood: of answers; with several labels the loss is the sum of theirs.
        around: what it is pulled towards.
    """
    if not len(y):
        return around
    return temperature_of(lambda temperature: float(likelihood.losses(logits / temperature, y).sum()), around)


def temperature_of(loss: Callable[[float], float], around: float = 1.0) -> float:
    """The temperature under which a loss, the sum over answers of -log p, is least, pulled towards `around`."""

    def pulled(log_temperature: float) -> float:
        return loss(float(np.exp(log_temperature))) + STRENGTH * (log_temperature - np.log(around)) ** 2

    found = minimize_scalar(pulled, bounds=tuple(np.log(RANGE)), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))


def folds_of(y: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """(m,) the fold of each of m answers, the classes spread evenly over them."""
    found = np.empty(len(y), np.int64)
    found[np.argsort(strata(y), kind="stable")] = np.arange(len(y)) % count
    return found
