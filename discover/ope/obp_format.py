"""Open Bandit Pipeline's dictionary of logged feedback (``obp``, 0.4 and later), in and out, without that package.

One reading fits both: an action is a candidate's slot, `position` the order of the draw, `slate_id` the batch. A log
that means something else by them (places on a page, items) is refused: a plain table says what its columns are.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from discover.errors import DiscoverError
from discover.ope.feedback import Feedback, Floats, integers

NEEDED = ("n_rounds", "n_actions", "action", "reward", "pscore")


def from_obp(bandit_feedback: Mapping[str, Any], action_dist: ArrayLike) -> Feedback:
    """Feedback of obp's dictionary and the evaluation policy's ``action_dist`` (n, k, positions).

    Raises:
        DiscoverError: a key is missing, a shape does not fit, or positions are no order of a draw.
    """
    if not isinstance(bandit_feedback, Mapping):
        raise DiscoverError(f"obp's dictionary is expected, found {bandit_feedback!r:.80}: take it from obp's dataset")
    missing = next((key for key in NEEDED if bandit_feedback.get(key) is None), None)
    if missing is not None:
        raise DiscoverError(
            f"obp's dictionary must have {', '.join(NEEDED)}, found no {missing!r}: take it from obp's dataset"
        )
    n, k = (_count(key, bandit_feedback[key]) for key in ("n_rounds", "n_actions"))
    position, batch = _draws(bandit_feedback, n)
    behaviour, context = bandit_feedback.get("pi_b"), bandit_feedback.get("context")
    return Feedback(
        bandit_feedback["action"],
        bandit_feedback["reward"],
        bandit_feedback["pscore"],
        _at(position, "action_dist", action_dist, (n, k)),
        behaviour=None if behaviour is None else _at(position, "pi_b", behaviour, (n, k)),
        contexts=context,
        batch=batch,
        position=position,
    )


def to_obp(feedback: Feedback) -> tuple[dict[str, Any], Floats]:
    """The dictionary, and the target as its ``action_dist`` (n, k, positions), the same at each position of a row.

    Left out: features, the mask, predictions, probabilities of sets and of other rows' actions, what was drawn but has
    no row, times, and which batches are of one unit: to obp every row is independent.

    Raises:
        DiscoverError: the target's probabilities are not known for every action, rewards are of whole batches, or
            positions are no order of a draw.
    """
    feedback.check_own_rewards("obp's dictionary")
    target = feedback.of("target")
    n, k = target.shape
    batch, position = feedback.of("batch"), feedback.of("position")
    _check_order(position, batch)
    length = int(position.max()) + 1
    found = {
        "n_rounds": n,
        "n_actions": k,
        "context": np.empty((n, 0)) if feedback.contexts is None else feedback.contexts,
        "action_context": None,
        "action": feedback.actions,
        "position": position if length > 1 else None,
        "slate_id": batch,
        "reward": feedback.rewards,
        "expected_reward": None,
        "pi_b": None if feedback.behaviour is None else np.repeat(feedback.behaviour[:, :, None], length, axis=2),
        "pscore": feedback.propensities,
    }
    return found, np.repeat(target[:, :, None], length, axis=2)


def _count(key: str, value: Any) -> int:
    """A number of rounds or actions; NumPy's are taken as well."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise DiscoverError(f"{key} must be a whole number from 1 on, found {value!r:.80}: take it from obp's dataset")
    return int(value)


def _draws(bandit_feedback: Mapping[str, Any], n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(n,) order of the draw and (n,) batch of each row."""
    position, batch = bandit_feedback.get("position"), bandit_feedback.get("slate_id")
    if position is None:
        return np.zeros(n, np.int64), np.arange(n)
    position = integers("position", position, n)
    if batch is None:
        if position.any():
            raise DiscoverError(
                "position must be the order of a draw, and without `slate_id` nothing says which rows were drawn "
                "together: give slate_id, or read the log as a plain table (--columns position=…)"
            )
        batch = np.arange(n)
    batch = integers("slate_id", batch, n)
    _check_order(position, batch)
    return position, batch


def _check_order(position: NDArray[np.int64], batch: NDArray[np.int64]) -> None:
    order = np.lexsort([position, batch])
    starts = np.r_[True, np.diff(batch[order]) != 0]
    expected = np.arange(len(batch)) - np.maximum.accumulate(np.where(starts, np.arange(len(batch)), 0))
    bad = np.flatnonzero(position[order] != expected)
    if len(bad):
        row = order[bad[0]]
        raise DiscoverError(
            f"position must be the order of the draw, 0, 1, 2 … within each batch; row {row + 1} has {position[row]} "
            f"in batch {batch[row]}: obp's dictionary is for such logs, a plain table for others"
        )


def _at(position: NDArray[np.int64], name: str, table: ArrayLike, shape: tuple[int, int]) -> Floats:
    """(n, k) each row's distribution at its position, of (n, k, positions)."""
    try:
        found = np.asarray(table, np.float64)
    except (TypeError, ValueError) as error:
        raise DiscoverError(f"{name} must hold numbers, {' '.join(str(error).split())}: see obp") from error
    if found.ndim != 3 or found.shape[:2] != shape:
        raise DiscoverError(
            f"{name} must have the shape ({shape[0]}, {shape[1]}, positions), found {found.shape}: see obp"
        )
    bad = np.flatnonzero(position >= found.shape[2])
    if len(bad):
        raise DiscoverError(
            f"position must be under {found.shape[2]}, the positions of {name}; row {bad[0] + 1} has "
            f"{position[bad[0]]}: give a distribution for each position"
        )
    return np.asarray(found[np.arange(shape[0]), :, position])
