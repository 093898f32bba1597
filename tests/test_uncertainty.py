"""How unsure a model is: of one class as modAL has it, of several labels by what their probabilities mean."""

import itertools

import numpy as np
import pytest
from modAL.uncertainty import classifier_margin

from discover.learn.likelihood import Bernoulli, Categorical
from discover.query import uncertainty
from tests.views import view_of


def several(probabilities: np.ndarray):
    return view_of(len(probabilities), make_probabilities=lambda: np.asarray(probabilities), multilabel=True)


def test_probabilities_of_one_class_have_modals_margin() -> None:
    single = view_of(40)
    assert np.array_equal(uncertainty.margin(single), classifier_margin(single, single.X))
    assert uncertainty.margin(several(single.probabilities)) == pytest.approx(classifier_margin(single, single.X))


def test_margin_lies_between_the_last_label_that_is_given_and_the_first_that_is_not() -> None:
    p = np.array([[0.9, 0.8, 0.2, 0.1], [0.95, 0.55, 0.45, 0.05], [1.0, 1.0, 0.0, 0.0]])
    assert uncertainty.margin(several(p)) == pytest.approx([0.6, 0.1, 1.0])
    # Of the second half a label less is expected than of the others: between the first two gaps.
    p = np.array([[0.9, 0.9, 0.1, 0.1], [0.7, 0.1, 0.1, 0.1]])
    assert uncertainty.margin(several(p))[1] == pytest.approx(0.75 * 0.6 + 0.25 * 0.0)
    assert uncertainty.margin(several(np.zeros((3, 4)))) == pytest.approx(np.ones(3))
    assert uncertainty.margin(several(np.ones((3, 4)))) == pytest.approx(np.ones(3))


def test_entropy_and_doubt_are_those_of_the_answer_per_expected_label() -> None:
    p = np.random.default_rng(2).random((5, 3))
    answers = np.array(list(itertools.product([0, 1], repeat=3)))
    likely = np.stack([uncertainty.probability_of(np.tile(one, (5, 1)), p) for one in answers], axis=1)
    assert likely.sum(axis=1) == pytest.approx(np.ones(5))
    assert uncertainty.probability_of(Bernoulli().likeliest(p), p) == pytest.approx(likely.max(axis=1))
    expected = (p.sum(axis=1) + p.sum(axis=1).mean()) / 2
    assert uncertainty.entropy(several(p)) == pytest.approx(-(likely * np.log(likely)).sum(axis=1) / expected)
    assert uncertainty.doubt(several(p)) == pytest.approx(1 - likely.max(axis=1) ** (1 / expected))


def test_what_an_answer_of_one_class_is_worth() -> None:
    p = np.array([[0.7, 0.3], [0.4, 0.6]])
    assert uncertainty.probability_of(np.array([1, 1]), p).tolist() == [0.3, 0.6]
    assert uncertainty.probability_of(Categorical().likeliest(p), p).tolist() == [0.7, 0.6]
