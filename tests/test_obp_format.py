"""Open Bandit Pipeline, as oracle and as format: estimates equal to 1e-10 on shared logs, its dictionary in and out."""

from dataclasses import replace

import numpy as np
import pytest

from discover.errors import DiscoverError
from discover.ope.estimator import load_estimator
from discover.ope.feedback import Feedback
from discover.ope.obp_format import from_obp, to_obp
from tests.bandits import bandit


def log(**more) -> Feedback:
    rng = np.random.default_rng(3)
    return bandit(rng).log(400, rng, predictions=rng.normal(size=(400, 5)), **more)


def ours(word, feedback):
    return float(load_estimator(word)(feedback, np.ones((1, len(feedback))))[0][0])


@pytest.mark.parametrize(
    ("word", "theirs", "options"),
    [
        ("ips", "InverseProbabilityWeighting", {}),
        ("snips", "SelfNormalizedInverseProbabilityWeighting", {}),
        ("direct_method", "DirectMethod", {}),
        ("dr", "DoublyRobust", {}),
        ("sndr", "SelfNormalizedDoublyRobust", {}),
        ("switch_dr,ceiling=1.5", "SwitchDoublyRobust", {"tau": 1.5}),
        ("dros,shrinkage=2.5", "DoublyRobustWithShrinkage", {"lambda_": 2.5}),
        ("dros,shrinkage=0", "DoublyRobustWithShrinkage", {"lambda_": 0.0}),
    ],
)
def test_estimates_are_obps(word, theirs, options):
    oracle = pytest.importorskip("obp.ope", reason="PARITY WITH OBP IS NOT TESTED: install the test extra")
    feedback = log()
    dictionary, action_dist = to_obp(feedback)
    expected = getattr(oracle, theirs)(**options).estimate_policy_value(
        reward=dictionary["reward"],
        action=dictionary["action"],
        pscore=dictionary["pscore"],
        position=dictionary["position"],
        action_dist=action_dist,
        estimated_rewards_by_reg_model=feedback.predictions[:, :, None].copy(),
    )
    assert ours(word, feedback) == pytest.approx(expected, abs=1e-10)


def test_estimates_are_obps_at_each_position_of_a_draw():
    oracle = pytest.importorskip("obp.ope", reason="PARITY WITH OBP IS NOT TESTED: install the test extra")
    feedback = log(batch=np.repeat(range(200), 2), unit=np.repeat(range(200), 2))
    dictionary, action_dist = to_obp(feedback)
    assert dictionary["position"].tolist() == [0, 1] * 200 and action_dist.shape == (400, 5, 2)
    found = oracle.InverseProbabilityWeighting().estimate_policy_value(
        reward=dictionary["reward"],
        action=dictionary["action"],
        pscore=dictionary["pscore"],
        position=dictionary["position"],
        action_dist=action_dist,
    )
    assert ours("ips", feedback) == pytest.approx(found, abs=1e-10)


def test_obps_own_synthetic_logs_are_read():
    dataset = pytest.importorskip("obp.dataset", reason="OBP'S LOGS ARE NOT TESTED: install the test extra")
    made = dataset.SyntheticBanditDataset(n_actions=6, dim_context=4, random_state=1)
    logged = made.obtain_batch_bandit_feedback(n_rounds=300)
    target = np.full((300, 6, 1), 1 / 6)
    feedback = from_obp(logged, target)
    assert ours("ips", feedback) == pytest.approx((logged["reward"] / logged["pscore"] / 6).mean(), abs=1e-12)
    assert feedback.contexts.shape == (300, 4)


@pytest.mark.parametrize("size", [1, 2])
def test_there_and_back(size):
    batch = np.repeat(range(400 // size), size)
    feedback = log(batch=batch, unit=batch)
    again = from_obp(*to_obp(feedback))
    for name in ("actions", "rewards", "propensities", "target", "behaviour", "contexts", "batch", "position"):
        assert np.array_equal(getattr(again, name), getattr(feedback, name)), name


def test_what_means_something_else_is_refused():
    feedback = log()
    dictionary, action_dist = to_obp(feedback)
    page = {**dictionary, "position": np.arange(400) % 3}
    wide = np.repeat(action_dist, 3, axis=2)
    with pytest.raises(DiscoverError, match=r"order of the draw, 0, 1, 2 … within each batch; row 2 has 1 in batch 1"):
        from_obp(page, wide)
    with pytest.raises(DiscoverError, match="without `slate_id` nothing says which rows were drawn together"):
        from_obp({**page, "slate_id": None}, wide)
    with pytest.raises(DiscoverError, match=r"must have n_rounds, .* found no 'pscore'"):
        from_obp({**dictionary, "pscore": None}, action_dist)
    with pytest.raises(
        DiscoverError, match=r"action_dist must have the shape \(400, 5, positions\), found \(400, 4, 1\)"
    ):
        from_obp(dictionary, action_dist[:, :4])
    for name in ("position", "slate_id"):
        for values, message in (
            (np.zeros(7), rf"{name} must have the shape \(400\), found \(7,\)"),
            (np.full(400, 0.5), f"{name} must be a whole number; row 1 has 0.5"),
            (["first"] * 400, f"{name} must hold numbers"),
        ):
            with pytest.raises(DiscoverError, match=message):
                from_obp({**page, name: values}, wide)
    with pytest.raises(DiscoverError, match="action_dist must hold numbers, could not convert string"):
        from_obp(dictionary, "uniform")
    flat = {**dictionary, "pi_b": dictionary["pi_b"][:, :, 0]}
    with pytest.raises(DiscoverError, match=r"pi_b must have the shape \(400, 5, positions\), found \(400, 5\)"):
        from_obp(flat, action_dist)
    batched = {**dictionary, "position": np.arange(400) % 2, "slate_id": np.repeat(range(200), 2)}
    with pytest.raises(DiscoverError, match="position must be under 1, the positions of action_dist; row 2 has 1"):
        from_obp(batched, action_dist)
    for key, value in (("n_rounds", "x"), ("n_rounds", -1), ("n_rounds", np.ones(2)), ("n_actions", np.nan)):
        with pytest.raises(DiscoverError, match=f"{key} must be a whole number from 1 on"):
            from_obp({**dictionary, key: value}, action_dist)
    with pytest.raises(DiscoverError, match="obp's dictionary is expected, found 'a log'"):
        from_obp("a log", action_dist)
    with pytest.raises(DiscoverError, match="obp's dictionary gives each pick a reward of its own"):
        to_obp(replace(feedback, shared=True))
    places = Feedback(
        feedback.actions, feedback.rewards, feedback.propensities, feedback.target, position=np.arange(400) % 3
    )
    with pytest.raises(DiscoverError, match="position must be the order of the draw"):
        to_obp(places)
    with pytest.raises(DiscoverError, match="target is needed"):
        to_obp(Feedback([0], [1], [0.5], target_propensities=[0.5]))
