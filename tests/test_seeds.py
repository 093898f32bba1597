"""What is gained across seeds and datasets: against SciPy, published values and simulation."""

import numpy as np
import pytest
from scipy import stats

from discover.evaluate import seeds

GAINS = [0.021, 0.013, -0.004, 0.03, 0.017, 0.002, 0.011]


def test_the_interval_is_students():
    half = seeds.half_width(GAINS)
    expected = stats.ttest_1samp(GAINS, 0).confidence_interval(0.95)
    assert (np.mean(GAINS) - half, np.mean(GAINS) + half) == pytest.approx(tuple(expected))
    assert seeds.standard_error(GAINS) == pytest.approx(stats.sem(GAINS))
    columns = np.array([GAINS, GAINS[::-1]]).T
    assert seeds.half_width(columns) == pytest.approx([float(half)] * 2)


def test_one_seed_has_no_interval():
    assert np.isnan(seeds.standard_error([[0.5, 0.6]])).all()
    assert np.isnan(seeds.half_width([0.5]))


def test_sign_flip_by_hand_and_against_scipy():
    rng = np.random.default_rng(0)
    assert seeds.sign_flip([1, 2, 3], rng) == 2 / 8  # only +++ and --- are as far from 0
    assert seeds.sign_flip([1, 2, -3], rng) == 1
    assert seeds.sign_flip([0, 0], rng) == 1
    exact = stats.permutation_test((GAINS,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    assert seeds.sign_flip(GAINS, rng) == pytest.approx(exact)


def test_sign_flip_is_sampled_where_there_are_many():
    pairs = np.random.default_rng(3).normal(0.4, 1, 14)
    exact = stats.permutation_test((pairs,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    assert seeds.sign_flip(pairs, np.random.default_rng(0)) == pytest.approx(exact, abs=0.01)
    assert 0 < seeds.sign_flip(np.ones(30), np.random.default_rng(0)) < 1e-4


def test_sign_flip_needs_a_pair():
    with pytest.raises(ValueError, match="at least one pair"):
        seeds.sign_flip([], np.random.default_rng(0))


def test_holm_as_in_r():
    # p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm") and p.adjust(c(0.04, 0.001, 0.03), "holm")
    assert seeds.holm([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])
    assert seeds.holm([0.04, 0.001, 0.03]) == pytest.approx([0.06, 0.003, 0.06])
    assert seeds.holm([0.6, 0.9]) == [1, 1]
    assert seeds.holm([]) == []


def test_intervals_between_datasets():
    rng = np.random.default_rng(0)
    assert seeds.between_datasets([0.02], rng) is None
    low, high = seeds.between_datasets([0.01, 0.03], rng)
    assert (low, high) == pytest.approx((0.01, 0.03))  # all that two can say
    covered = 0
    for _ in range(200):
        low, high = seeds.between_datasets(rng.normal(0.02, 0.01, 25), rng)
        covered += low <= 0.02 <= high
    assert 0.88 <= covered / 200 <= 0.99
