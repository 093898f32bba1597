"""Intervals: what they cover, that self-normalisation is computed anew, and their limits. Small, seeded versions of
`tests/benchmarks/coverage.py`."""

from dataclasses import replace

import numpy as np
import pytest

from discover.errors import DiscoverError
from discover.ope.diagnostics import of_interval
from discover.ope.estimator import load_estimator
from discover.ope.feedback import Feedback
from discover.ope.intervals import confidence_sequence, empirical_bernstein, studentised
from tests.bandits import bandit, with_share


def interval(word, feedback, seed=0, **more):
    return studentised(load_estimator(word), feedback, np.random.default_rng(seed), **more)


@pytest.mark.parametrize("word", ["ips", "snips", "sndr"])
def test_it_covers_as_often_as_it_says(word):
    truth = with_share(0.4, 1)
    covered = 0
    for seed in range(300):
        found = interval(word, truth.log(300, np.random.default_rng([3, seed])), seed, resamples=399)
        covered += found.low <= truth.value <= found.high
    assert 0.91 <= covered / 300 <= 0.985  # 95 % ± 3 standard errors, and what so few resamples blur


def test_a_self_normalised_interval_moves_with_the_rewards_and_ips_widens():
    feedback = bandit(np.random.default_rng(0)).log(300, np.random.default_rng(1))
    shifted = replace(feedback, rewards=feedback.rewards + 4)
    for word in ("snips", "sndr"):
        here, there = interval(word, feedback), interval(word, shifted)
        assert (there.low, there.high) == pytest.approx((here.low + 4, here.high + 4), abs=1e-8)
    assert interval("ips", shifted).width > 1.5 * interval("ips", feedback).width


def test_the_seed_decides_and_more_confidence_is_wider():
    feedback = bandit(np.random.default_rng(0)).log(200, np.random.default_rng(1))
    assert interval("snips", feedback, 3) == interval("snips", feedback, 3) != interval("snips", feedback, 4)
    widths = [interval("snips", feedback, level=level).width for level in (0.5, 0.8, 0.95)]
    assert widths == sorted(widths)
    with pytest.raises(
        DiscoverError, match=r"50 resamples cannot tell an interval of level 0.99: take a lower level, or .*=99"
    ):
        interval("snips", feedback, level=0.99, resamples=50)


def test_units_are_resampled_whole():
    """Rows that say the same thing ten times are no ten rows."""
    feedback = bandit(np.random.default_rng(0)).log(60, np.random.default_rng(1))
    rows = np.repeat(np.arange(60), 10)
    repeated = Feedback(
        feedback.actions[rows],
        feedback.rewards[rows],
        feedback.propensities[rows],
        feedback.target[rows],
        unit=rows,
    )
    assert interval("snips", repeated).width == pytest.approx(interval("snips", feedback).width, rel=1e-6)


def test_where_nothing_can_be_told_the_interval_has_no_end():
    rewards = np.r_[1.0, np.zeros(9)]
    one = Feedback(np.zeros(10), rewards, np.full(10, 0.5), target_propensities=np.r_[0.5, np.zeros(9)])
    assert interval("snips", one).width == 0  # a single row with any weight: its own standard error is 0
    two = replace(one, target_propensities=np.r_[0.5, 0.5, np.zeros(8)])
    found = interval("snips", two)
    assert (found.low, found.high) == (-np.inf, np.inf)


def test_empirical_bernstein_by_hand_and_never_outside_of_the_range():
    values = np.array([0.0, 1.0, 0.5, 0.5] * 50)
    found = empirical_bernstein(values, 0, 1)
    log = np.log(80)
    half = np.sqrt(2 * values.var(ddof=1) * log / 200) + 7 * log / (3 * 199)
    assert (found.low, found.high) == pytest.approx((0.5 - half, 0.5 + half))
    assert empirical_bernstein(values[:4], 0, 1).low == 0


@pytest.mark.parametrize("method", ["bernstein", "sequence"])
def test_those_of_a_declared_range_cover_at_least_as_often_as_they_say(method):
    """Rare, large values: what a bootstrap misses. The sequence must hold at every length at once."""
    missed = 0
    for seed in range(400):
        values = (np.random.default_rng(seed).uniform(size=400) < 0.02) * 10.0
        if method == "bernstein":
            found = empirical_bernstein(values, 0, 10)
            missed += not found.low <= 0.2 <= found.high
        else:
            found = confidence_sequence(values, 0, 10)
            missed += not ((found[:, 0] <= 0.2) & (found[:, 1] >= 0.2)).all()
    assert missed / 400 <= 0.05


def test_where_rewards_change_meanwhile_the_sequence_is_empty_and_that_is_refused():
    rng = np.random.default_rng(0)
    values = (rng.random(2000) < np.repeat([0.9, 0.1], 1000)).astype(float)
    low, high = confidence_sequence(values, 0, 1)[-1].tolist()
    assert low > high
    (found,) = of_interval(low, high)
    assert found.verdict == "refuse" and "rewards changed" in found.reason


def test_a_sequence_narrows_and_scales_with_its_range():
    values = np.random.default_rng(0).uniform(size=3000)
    found = confidence_sequence(values, 0, 1)
    assert (np.diff(found[:, 0]) >= 0).all() and (np.diff(found[:, 1]) <= 0).all()
    assert found[-1, 1] - found[-1, 0] < 0.1
    assert confidence_sequence(3 * values - 2, -2, 1) == pytest.approx(3 * found - 2)


@pytest.mark.parametrize("function", [empirical_bernstein, confidence_sequence])
def test_a_range_that_does_not_hold_is_named_with_its_row(function):
    with pytest.raises(DiscoverError, match=r"declared range is 0 to 1, row 3 has 1\.5: declare a range"):
        function(np.array([0.1, 0.2, 1.5]), 0, 1)
    with pytest.raises(DiscoverError, match="at least 2 values and a finite range, low < high"):
        function(np.array([0.1]), 0, 1)
    with pytest.raises(DiscoverError, match="found 2, 0 and inf"):
        function(np.array([0.1, 0.2]), 0, np.inf)
