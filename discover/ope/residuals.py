"""What doubly robust estimators are made of: the model's value of the target, and its errors on the logged picks."""

import numpy as np

from discover.ope import rewards
from discover.ope.feedback import Feedback, Floats


def baseline_and_residuals(feedback: Feedback) -> tuple[Floats, Floats]:
    """(n,) predicted reward of the target in each row, and (n,) reward less its prediction.

    Raises:
        DiscoverError: the target's probabilities are not known for every action.
    """
    predicted = rewards.predictions(feedback)
    logged = predicted[np.arange(len(feedback)), feedback.actions]
    return np.einsum("nk,nk->n", feedback.of("target"), predicted), feedback.rewards - logged
