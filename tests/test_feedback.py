"""Feedback is checked once, when it is made: each bad field is named with its row, its value and what to do."""

import numpy as np
import pytest

from discover.errors import DiscoverError
from discover.ope.feedback import Feedback

GOOD = {
    "actions": [0, 1, 1, 2],
    "rewards": [1.0, 0.0, 2.0, 1.0],
    "propensities": [0.5, 0.25, 0.25, 0.25],
    "target": np.full((4, 3), 1 / 3),
    "behaviour": np.tile([0.5, 0.25, 0.25], (4, 1)),
}


def made(**other) -> Feedback:
    return Feedback(**{**GOOD, **other})


def test_what_is_right_is_taken_with_its_defaults_and_sealed():
    feedback = made()
    assert len(feedback) == 4 and feedback.k == 3
    assert feedback.targets == pytest.approx([1 / 3] * 4)
    assert feedback.batch.tolist() == feedback.units.tolist() == feedback.time.tolist() == [0, 1, 2, 3]
    assert feedback.step.tolist() == feedback.position.tolist() == [0] * 4
    for array in (feedback.actions, feedback.rewards, feedback.target, feedback.targets):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_the_callers_own_arrays_stay_writable():
    rewards = np.ones(4)
    made(rewards=rewards)
    rewards[0] = 2
    assert rewards.tolist() == [2, 1, 1, 1]


def test_a_batch_gives_its_rows_their_places():
    feedback = made(batch=[7, 3, 7, 3])
    assert feedback.position.tolist() == [0, 0, 1, 1]
    assert feedback.units.tolist() == [7, 3, 7, 3]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"propensities": [0.5, 0.0, 0.25, 0.25]}, r"propensities must be in \(0, 1\]; row 2 has 0: log picks"),
        ({"propensities": [0.5, 0.25, 1.5, 0.25]}, r"propensities must be in \(0, 1\]; row 3 has 1.5"),
        ({"propensities": [-0.5, 0.25, 0.25, 0.25]}, r"propensities must be in \(0, 1\]; row 1 has -0.5"),
        (
            {"propensities": [0.5, 1e-200, 0.25, 0.25], "behaviour": None},
            "propensities must be at least 1e-100, since nothing so unlikely is ever drawn; row 2 has 1e-200",
        ),
        ({"propensities": [0.5, 0.25, np.nan, np.nan]}, r"row 3 has none \(and 1 more rows\)"),
        ({"propensities": [0.5, 0.25, None, 0.25]}, r"propensities must be in \(0, 1\]; row 3 has none"),
        ({"propensities": [0.5, 0.25, 0.25]}, r"propensities must have the shape \(4\), found \(3,\)"),
        ({"propensities": ["x", 0.25, 0.25, 0.25]}, "propensities must hold numbers"),
        ({"propensities": [0.5, 0.25, 0.3, 0.25]}, "propensities must be the behaviour's probability .* row 3 has 0.3"),
        ({"target": np.full((4, 3), 0.3)}, "target must sum to 1 in each row; row 1 has 0.9"),
        ({"target": np.tile([1.2, -0.2, 0], (4, 1))}, "target must hold no negative or missing .* row 1 has -0.2"),
        (
            {"target": np.full((4, 3), np.nan)},
            r"target must hold no negative or missing .* row 1 has none \(and 3 more",
        ),
        ({"target": np.ones((3, 3))}, r"target must have the shape \(4, 3\), found \(3, 3\)"),
        ({"target": None}, r"a target policy is needed: give target \(n, k\)"),
        (
            {"target": None, "target_propensities": [0.1, 2, 0, 0]},
            r"target_propensities must be in \[0, 1\]; row 2 has 2",
        ),
        ({"behaviour": np.tile([0.5, 0.25, 0.2], (4, 1))}, "behaviour must sum to 1 in each row; row 1 has 0.95"),
        ({"rewards": [1, np.nan, 0, 0]}, "rewards must be a number; row 2 has none: leave such rows out"),
        ({"rewards": [1, np.inf, 0, 0]}, "rewards must be a number; row 2 has inf"),
        ({"actions": [0, 1, 3, 2]}, "actions must be under 3, the number of actions; row 3 has 3"),
        ({"actions": [0, -1, 1, 2]}, "actions must be 0 or more; row 2 has -1"),
        ({"actions": [0, np.nan, 1, 2]}, "actions must be a whole number; row 2 has none"),
        ({"actions": [0, 1.5, 1, 2]}, "actions must be a whole number; row 2 has 1.5"),
        ({"mask": np.tile([True, False, True], (4, 1))}, "actions must be allowed by the mask; row 2 has 1"),
        (
            {"mask": [[1, 1, 0]] * 3 + [[1, 1, 1]], "behaviour": None},
            "target must give no probability to what the mask",
        ),
        ({"features": np.zeros((4, 2, 5))}, r"features must have the shape \(4, 3, 5\), found \(4, 2, 5\)"),
        ({"features": np.zeros((4, 3))}, r"features must have the shape \(4, 3, f\), found \(4, 3\)"),
        ({"contexts": np.zeros(4)}, r"contexts must have the shape \(4, p\), found \(4,\)"),
        ({"contexts": [[0], [1, 2], [0], [0]]}, "contexts must hold as many numbers in each row"),
        ({"target": np.ones(4), "behaviour": None}, r"target must have the shape \(4, k\), found \(4,\)"),
        ({"target": [[1], [0.5, 0.5], [1], [1]]}, "target must hold as many numbers in each row"),
        ({"contexts": np.zeros((3, 2))}, r"contexts must have the shape \(4, 2\), found \(3, 2\)"),
        ({"contexts": [[0, np.nan], [1, np.inf], [0, 0], [0, 0]]}, "contexts must be finite numbers; row 2 has inf"),
        ({"predictions": [[0, 0, 0]] * 3 + [[0, np.nan, 0]]}, "predictions must be finite numbers; row 4 has none"),
        ({"replayed": np.zeros((4, 3))}, r"replayed must have the shape \(4, 4\)"),
        ({"step": [0, -1, 0, 0]}, "step must be 0 or more; row 2 has -1"),
        ({"batch": [0, 0, 1, 1], "unit": [0, 0, 1, 2]}, "unit must be the same in all rows of a batch; row 4 has 2"),
        ({"batch": [0, 0, 1, 1], "position": [0, 0, 0, 1]}, "position must be different in each row of a batch; row 2"),
        (
            {"batch": [0, 0, 1, 1], "set_log_propensities": [-1, -1, -2, -3]},
            "set_log_propensities must be the same in all rows of a batch; row 4 has -3",
        ),
        ({"set_log_propensities": [-1, 0.3, -1, -1]}, "set_log_propensities must be at most 0; row 2 has 0.3"),
        ({"set_log_propensities": [-1, -np.inf, -1, -1]}, "set_log_propensities must be above -inf; row 2 has -inf"),
        ({"carried": [0, np.nan, 0, 0]}, "carried must be the same in all rows of a batch; row 2 has none"),
        ({"rewards": [1, 0, 1e200, 0]}, r"rewards must be at most 1e\+100 in size; row 3 has 1e\+200"),
    ],
)
def test_what_is_wrong_is_named_with_its_row(other, message):
    with pytest.raises(DiscoverError, match=message) as caught:
        made(**other)
    assert "\n" not in str(caught.value)


def test_an_empty_log_says_so():
    empty = {"actions": [], "rewards": [], "propensities": [], "target": np.empty((0, 3))}
    with pytest.raises(DiscoverError, match="at least one row with a reward, found none"):
        Feedback(**empty)
    with pytest.raises(DiscoverError, match=r"behaviour is needed \(the logging policy's .*\), and this log has none"):
        made(behaviour=None).of("behaviour")
