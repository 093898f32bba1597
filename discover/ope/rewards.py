"""What each action would have brought, predicted: a ridge regression, cross-fitted by unit.

    q(i, a) = b + x_i c + u_a + x_i C_a + phi(i, a) w,

x contexts (with the position in the batch, where there are several), phi features of the action. Where there are
features an action's number means nothing, and u and C are left out; C is also left out where it would have more than
`INTERACTIONS` columns. One pseudo-observation of ridge a standardised column, and `CROSSED` for those of C, which are
many and would make doubly robust intervals too narrow; the constant is not held back, so predictions move with rewards
that are shifted or scaled. Left out: anything nonlinear. A doubly robust estimate needs no right model, and a user's
own comes as `Feedback.predictions`.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from discover.ope.feedback import Feedback, Floats

FOLDS = 10
INTERACTIONS = 400
CROSSED = 4.0


def with_predictions(feedback: Feedback) -> Feedback:
    """The feedback with its predictions fitted, so that several estimators share them."""
    return feedback if feedback.predictions is not None else replace(feedback, predictions=predictions(feedback))


def predictions(feedback: Feedback) -> Floats:
    """(n, k) predicted rewards: those given, else each row's from a model that never saw its unit.

    Raises:
        DiscoverError: the log does not say how many actions there are.
    """
    if feedback.predictions is not None:
        return feedback.predictions
    fold = folds(feedback)
    found = np.empty(feedback.of("target").shape)
    for one in range(int(fold.max()) + 1):
        held_out = fold == one
        rows = ~held_out if not held_out.all() else held_out  # a lone unit has no other to learn from
        found[held_out] = fitted(feedback, rows)[held_out]
    return found


def folds(feedback: Feedback, count: int = FOLDS) -> NDArray[np.int64]:
    """(n,) fold of each row; by unit, whatever order the rows come in."""
    units, codes = np.unique(feedback.units, return_inverse=True)
    return np.random.default_rng(0).permutation(len(units))[codes] % min(count, len(units))


def fitted(feedback: Feedback, rows: NDArray[np.bool_]) -> Floats:
    """(n, k) predictions of a model that learned from these rows (n,), within the range of their rewards."""
    contexts, features = _contexts(feedback, rows), _features(feedback, rows)
    k = feedback.of("target").shape[1]
    actions, y = feedback.actions[rows], feedback.rewards[rows]
    at, own = contexts[rows], np.eye(k)[actions] if features is None else np.empty((len(y), 0))
    interact = features is None and k * contexts.shape[1] <= INTERACTIONS
    crossed = (own[:, :, None] * at[:, None, :]).reshape(len(y), -1) if interact else np.empty((len(y), 0))
    chosen = features[rows, actions] if features is not None else np.empty((len(y), 0))
    design = np.hstack([at, own, crossed, chosen])
    centre = design.mean(axis=0)
    centred = design - centre
    penalty = np.ones(design.shape[1])
    penalty[at.shape[1] + own.shape[1] : design.shape[1] - chosen.shape[1]] = CROSSED
    gram = centred.T @ centred + np.diag(penalty)
    weights = np.linalg.solve(gram, centred.T @ (y - y.mean()))
    of_context, of_action, of_cross, of_feature = np.split(
        weights, np.cumsum([at.shape[1], own.shape[1], crossed.shape[1]])
    )
    found = np.repeat((y.mean() - centre @ weights + contexts @ of_context)[:, None], k, axis=1)
    if features is not None:
        found += features @ of_feature
    else:
        found += of_action
        if interact:
            found += contexts @ of_cross.reshape(k, -1).T
    return np.clip(found, y.min(), y.max())


def _contexts(feedback: Feedback, rows: NDArray[np.bool_]) -> Floats:
    """(n, p) standardised by these rows, a missing value at the mean; the position in the batch as further columns."""
    assert feedback.position is not None
    parts = [] if feedback.contexts is None else [_standardised(feedback.contexts, feedback.contexts[rows])]
    places = np.unique(feedback.position)
    if 1 < len(places) <= 10:
        parts.append((feedback.position[:, None] == places[1:]).astype(np.float64))
    return np.hstack(parts) if parts else np.empty((len(feedback), 0))


def _features(feedback: Feedback, rows: NDArray[np.bool_]) -> Floats | None:
    if feedback.features is None:
        return None
    allowed = feedback.features[rows] if feedback.mask is None else feedback.features[rows][feedback.mask[rows]]
    return _standardised(feedback.features, allowed.reshape(-1, feedback.features.shape[2]))


def _standardised(values: Floats, seen: Floats) -> Floats:
    """Values with the mean 0 and deviation 1 that (m, f) seen ones have; 0 where missing or constant."""
    known = ~np.isnan(seen)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, seen, 0).sum(axis=0) / count
    deviation = np.sqrt((np.where(known, seen - mean, 0) ** 2).sum(axis=0) / count)
    scaled = (values - mean) / np.where(deviation > 1e-12, deviation, np.inf)
    return np.nan_to_num(scaled, nan=0.0)
