"""Calibration: one temperature, fitted on answers that never trained the model, and shrunk towards 1.

Guo et al., "On calibration of modern neural networks", 2017, https://arxiv.org/abs/1706.04599. The fit minimises
sum of -log softmax(logits / T)[y] + strength * (log T)^2, so that a handful of audit answers cannot turn the model's
confidence upside down.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

STRENGTH = 5.0
RANGE = (0.2, 10.0)


def fit_temperature(
    probabilities: NDArray[np.float64], y: NDArray[np.int64], current: float = 1.0, strength: float = STRENGTH
) -> float:
    """The temperature to set on the classifier; 1 without answers.

    Args:
        probabilities: (n, c) of held-out documents, as predicted.
        y: (n,) their classes.
        current: the temperature that they were predicted with.
        strength: of the pull towards 1.
    """
    if not len(y):
        return 1.0
    logits = np.log(np.maximum(probabilities, 1e-300)) * current

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        scaled = scaled - scaled.max(axis=1, keepdims=True)
        likelihood = scaled[np.arange(len(y)), y] - np.log(np.exp(scaled).sum(axis=1))
        return float(-likelihood.sum() + strength * log_temperature**2)

    found = minimize_scalar(loss, bounds=tuple(np.log(RANGE)), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))
