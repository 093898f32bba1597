"""Draws and their probabilities, against enumeration of every order and against observed frequencies."""

import itertools
import math

import numpy as np
import pytest
from scipy.special import logsumexp

from discover.errors import DiscoverError
from discover.query.acquire import draw_sequentially, gumbel_top_k, log_probabilities, rank_scaled
from discover.query.propensity import ordered_log_propensities, set_log_propensities, set_log_propensity

DRAWS = 5_000


def ordered(logits, order):
    """The log-probability of an order by its definition: softmax over what is left, pick by pick."""
    left = list(range(len(logits)))
    total = 0.0
    for pick in order:
        total += logits[pick] - logsumexp(logits[left])
        left.remove(pick)
    return total


def enumerated(logits, chosen):
    return logsumexp([ordered(logits, order) for order in itertools.permutations(chosen)])


def two_groups(weight, n, k):
    """Log-probability of a set with k[g] of n[g] candidates of weight[g], summed over all orders by their counts."""
    reached = np.full((k[0] + 1, k[1] + 1), -np.inf)
    reached[0, 0] = 0
    for i, j in itertools.product(range(k[0] + 1), range(k[1] + 1)):
        here = reached[i, j] - math.log(weight[0] * (n[0] - i) + weight[1] * (n[1] - j))
        if i < k[0]:
            reached[i + 1, j] = np.logaddexp(reached[i + 1, j], here + math.log((k[0] - i) * weight[0]))
        if j < k[1]:
            reached[i, j + 1] = np.logaddexp(reached[i, j + 1], here + math.log((k[1] - j) * weight[1]))
    return float(reached[-1, -1])


def test_the_ordered_log_propensities_are_the_definition():
    rng = np.random.default_rng(1)
    picks = gumbel_top_k(rng.normal(size=9), 5, rng, 0.3, 0.1)
    assert picks.log_propensities.sum() == pytest.approx(ordered(picks.logits, picks.indices), abs=1e-12)
    first = picks.logits[picks.indices[0]] - logsumexp(picks.logits)
    assert picks.log_propensities[0] == pytest.approx(first, abs=1e-12)


def test_ordered_log_propensities_survive_a_share_that_vanishes_beside_another():
    logits = np.array([0.0, -800.0, -801.0])
    assert ordered_log_propensities(logits, [0, 1]) == pytest.approx([0.0, -math.log1p(math.exp(-1))], abs=1e-12)


@pytest.mark.parametrize("scale", [0.0, 0.1, 1.0, 5.0, 30.0])
@pytest.mark.parametrize(("n", "k"), [(2, 1), (5, 2), (6, 4), (6, 5), (30, 3)])
def test_the_set_propensity_is_the_sum_over_all_orders(scale, n, k):
    rng = np.random.default_rng(n * 10 + k)
    for _ in range(3):
        logits = rng.normal(size=n) * scale
        chosen = rng.permutation(n)[:k]
        assert set_log_propensity(logits, chosen) == pytest.approx(enumerated(logits, chosen), abs=1e-10)


@pytest.mark.parametrize("ratio", [1.0, 3.0, 1e3, 1e9, 1e30])
@pytest.mark.parametrize("k", [(50, 0), (0, 50), (25, 25), (49, 1), (5, 45)])
def test_the_set_propensity_of_fifty_of_two_thousand_peaked_or_not(ratio, k):
    n = (60, 1940)
    logits = np.concatenate([np.full(n[0], math.log(ratio)), np.zeros(n[1])])
    chosen = np.concatenate([np.arange(k[0]), n[0] + np.arange(k[1])])
    exact = two_groups((ratio, 1.0), n, k)
    assert set_log_propensity(logits, chosen) == pytest.approx(exact, abs=1e-10, rel=1e-13)


def test_all_sets_together_have_probability_one():
    logits = np.array([3.0, 0.0, -2.0, 1.0, 1.0, 7.0])
    total = [set_log_propensity(logits, chosen) for chosen in itertools.combinations(range(6), 3)]
    assert logsumexp(total) == pytest.approx(0.0, abs=1e-12)


def test_the_order_of_the_picks_and_a_shift_of_the_logits_leave_the_set_propensity():
    logits = np.random.default_rng(0).normal(size=40) * 4
    here = set_log_propensity(logits, [3, 17, 30])
    assert set_log_propensity(logits, [30, 3, 17]) == pytest.approx(here, abs=1e-12)
    assert set_log_propensity(logits + 123, [3, 17, 30]) == pytest.approx(here, abs=1e-10)


@pytest.mark.parametrize("floor", [0.0, 0.2])
def test_observed_frequencies_are_the_propensities(floor):
    utilities = np.array([0.1, 5.0, 2.0, 2.0, -3.0])
    rng = np.random.default_rng(5)
    seen: dict[tuple[int, ...], int] = {}
    for _ in range(DRAWS):
        picks = gumbel_top_k(utilities, 2, rng, 0.4, floor)
        seen[tuple(picks.indices.tolist())] = seen.get(tuple(picks.indices.tolist()), 0) + 1
    for order in itertools.permutations(range(5), 2):
        expected = math.exp(ordered(picks.logits, order))
        spread = math.sqrt(expected * (1 - expected) / DRAWS)
        assert abs(seen.get(order, 0) / DRAWS - expected) < 4.5 * spread


def test_step_by_step_frequencies_are_the_propensities():
    def utility_given(picked):
        utilities = np.array([0.0, 1.0, 2.0, 3.0])
        return -utilities if len(picked) else utilities  # the second pick wants the opposite

    rng = np.random.default_rng(6)
    seen: dict[tuple[int, ...], int] = {}
    claimed: dict[tuple[int, ...], float] = {}
    for _ in range(DRAWS):
        picks = draw_sequentially(utility_given, 2, rng, 0.5, 0.1)
        order = tuple(picks.indices.tolist())
        seen[order] = seen.get(order, 0) + 1
        claimed[order] = math.exp(picks.log_propensities.sum())
    assert sum(claimed.values()) == pytest.approx(1.0, abs=1e-12)
    assert len(claimed) == 12
    for order, expected in claimed.items():
        spread = math.sqrt(expected * (1 - expected) / DRAWS)
        assert abs(seen[order] / DRAWS - expected) < 4.5 * spread
    assert picks.set_log_propensity is None
    assert picks.logits is None


def test_temperature_zero_takes_the_top_with_ties_by_position():
    utilities = [1.0, 3.0, 3.0, 2.0, 3.0]
    one_shot = gumbel_top_k(utilities, 4, np.random.default_rng(0), 0.0, 0.5)
    steps = draw_sequentially(lambda picked: utilities, 4, np.random.default_rng(1), 0.0, 0.5)
    for picks in (one_shot, steps):
        assert picks.indices.tolist() == [1, 2, 4, 3]
        assert picks.utilities.tolist() == [3.0, 3.0, 3.0, 2.0]
        assert picks.log_propensities.tolist() == [0.0] * 4
        assert picks.logits is None
        assert picks.set_log_propensity is None


def test_a_low_temperature_nears_the_top_and_a_tiny_one_does_not_overflow():
    utilities = np.arange(50.0)
    for temperature in (1e-3, 1e-9, 1e-300):
        picks = gumbel_top_k(utilities, 3, np.random.default_rng(0), temperature)
        assert picks.indices.tolist() == [49, 48, 47]
        assert np.isfinite(picks.logits).all()
        assert picks.set_log_propensity == pytest.approx(0.0, abs=1e-6)


def test_ties_share_their_rank_and_their_chance():
    assert rank_scaled(np.array([5.0, 1.0, 5.0, 9.0])).tolist() == [0.5, 0.0, 0.5, 1.0]
    assert rank_scaled(np.array([7.0])).tolist() == [0.5]
    logits = log_probabilities(np.array([5.0, 1.0, 5.0, 9.0]), 0.1, 0.0)
    assert logits[0] == logits[2]
    assert np.ptp(log_probabilities(np.zeros(6), 0.01, 0.0)) == 0


def test_only_ranks_matter():
    utilities = np.array([0.2, 0.9, 0.5])
    stretched = np.exp(20 * utilities) - 7
    assert np.array_equal(log_probabilities(utilities, 0.1, 0.2), log_probabilities(stretched, 0.1, 0.2))


def test_the_floor_is_kept():
    logits = log_probabilities(np.arange(100.0), 1e-4, 0.3)
    assert math.exp(logits.min()) == pytest.approx(0.3 / 100)
    assert logsumexp(logits) == pytest.approx(0.0, abs=1e-12)
    assert log_probabilities(np.arange(4.0), 0.1, 1.0).tolist() == [-math.log(4)] * 4


@pytest.mark.parametrize("wanted", [3, 10])
def test_all_are_taken_when_there_are_too_few(wanted):
    rng = np.random.default_rng(2)
    picks = gumbel_top_k([1.0, 2.0, 3.0], wanted, rng, 0.5, 0.1)
    assert sorted(picks.indices.tolist()) == [0, 1, 2]
    assert picks.set_log_propensity == 0.0
    assert picks.log_propensities[-1] == 0.0
    steps = draw_sequentially(lambda picked: np.arange(3.0), wanted, rng, 0.5, 0.1)
    assert sorted(steps.indices.tolist()) == [0, 1, 2]
    assert steps.log_propensities[-1] == 0.0


def test_nothing_wanted_or_nothing_there():
    rng = np.random.default_rng(0)
    for picks in (gumbel_top_k([1.0, 2.0], 0, rng, 0.5), gumbel_top_k([], 3, rng, 0.5), gumbel_top_k([], 3, rng, 0.0)):
        assert len(picks.indices) == len(picks.utilities) == len(picks.log_propensities) == 0
    assert len(draw_sequentially(lambda picked: [], 3, rng, 0.5).indices) == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_utility_must_be_finite(bad):
    with pytest.raises(DiscoverError, match="candidate 1 has"):
        gumbel_top_k([0.0, bad], 1, np.random.default_rng(0), 0.5)
    with pytest.raises(DiscoverError, match="candidate 1 has"):
        draw_sequentially(lambda picked: [0.0, bad], 1, np.random.default_rng(0), 0.5)


def test_the_generator_decides_alone():
    def draw(seed):
        return gumbel_top_k(np.arange(30.0), 5, np.random.default_rng(seed), 0.2).indices.tolist()

    assert draw(3) == draw(3)
    assert draw(3) != draw(4)


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0, 300.0])
def test_many_sets_at_once_are_as_each_alone(scale):
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(40, 25)) * scale
    chosen = np.array([rng.permutation(25)[:6] for _ in range(40)])
    alone = [set_log_propensity(row, picked) for row, picked in zip(logits, chosen, strict=True)]
    assert set_log_propensities(logits, chosen) == pytest.approx(alone, abs=1e-10, rel=1e-13)
    assert set_log_propensities(logits, np.argsort(logits)).tolist() == [0.0] * 40
    if scale <= 30:
        exact = [enumerated(row, picked) for row, picked in zip(logits[:2], chosen[:2], strict=True)]
        assert alone[:2] == pytest.approx(exact, abs=1e-10)


def test_the_first_picks_of_a_draw_are_a_smaller_draw() -> None:
    utilities = np.random.default_rng(1).normal(size=40)
    larger, smaller = (gumbel_top_k(utilities, n, np.random.default_rng(2), 0.1, 0.1) for n in (12, 5))
    first = larger.first(5)
    assert np.array_equal(first.indices, smaller.indices)
    assert np.allclose(first.log_propensities, smaller.log_propensities)
    assert first.set_log_propensity == pytest.approx(smaller.set_log_propensity) and larger.first(12) is larger
    certain = gumbel_top_k(utilities, 12, np.random.default_rng(2), 0.0).first(3)
    assert len(certain.utilities) == 3 and certain.set_log_propensity is None
