"""Ratios of weighted means and their standard errors, against their definition and against simulation."""

import numpy as np
import pytest

from discover.ope import moments


def test_a_mean_is_the_mean_and_its_error_the_textbooks():
    values = np.random.default_rng(0).normal(size=50)
    found, error = moments.mean(values, np.arange(50), np.ones((1, 50)))
    assert found[0] == pytest.approx(values.mean(), abs=1e-14)
    assert error[0] == pytest.approx(values.std(ddof=1) / np.sqrt(50), rel=1e-12)


def test_a_ratio_by_hand():
    above, below = np.array([1.0, 4.0, 2.0]), np.array([1.0, 2.0, 3.0])
    weights = np.array([[1.0, 1, 1], [2, 0, 1]])
    found, error = moments.ratios([(above, below)], np.arange(3), weights)
    assert found == pytest.approx([7 / 6, 4 / 5])
    influence = (above - 7 / 6 * below) / 2
    assert error[0] == pytest.approx(np.sqrt((influence**2).sum() / (3 * 2)), rel=1e-12)


def test_the_error_of_a_sum_of_two_ratios_is_their_spread():
    rng = np.random.default_rng(1)
    draws = []
    for _ in range(2000):
        x = rng.exponential(size=200)
        y, z = x * 2 + rng.normal(size=200), rng.normal(size=200) + x
        found, error = moments.ratios([(y, x), (z, np.ones(200))], np.arange(200), np.ones((1, 200)))
        draws.append((found[0], error[0]))
    values, errors = np.array(draws).T
    assert values.mean() == pytest.approx(3, abs=0.02)
    assert errors.mean() == pytest.approx(values.std(), rel=0.05)


def test_digits_survive_values_far_from_zero():
    values = np.random.default_rng(2).normal(size=100)
    near = moments.mean(values, np.arange(100), np.ones((1, 100)))
    far = moments.mean(values + 1e8, np.arange(100), np.ones((1, 100)))
    assert far[1][0] == pytest.approx(near[1][0], rel=1e-6)


def test_what_has_no_value_is_nan_and_one_unit_has_no_error():
    nothing = moments.ratios([(np.zeros(3), np.zeros(3))], np.arange(3), np.ones((1, 3)))
    assert np.isnan(nothing[0][0])
    lone = moments.mean(np.array([1.0, 3.0]), np.array([5, 5]), np.ones((1, 2)))
    assert lone[0][0] == 2.0 and np.isnan(lone[1][0])
