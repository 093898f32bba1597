"""Verdicts: what lacks support is refused, what has it is not. `tests/benchmarks/verdicts.py` counts on many logs."""

import time
from dataclasses import replace

import numpy as np
import pytest

from discover.ope import diagnostics
from discover.ope.feedback import Feedback
from tests.bandits import Bandit, bandit, with_share


def verdict(feedback):
    return diagnostics.worst(
        [*diagnostics.of_log(feedback), *diagnostics.of_ratios(feedback.targets / feedback.propensities)]
    )


def check(name, checks):
    return next(one for one in checks if one.name == name)


def without_support(truth, action=0):
    """The same bandit, whose logging policy never takes one action."""
    behaviour = truth.behaviour.copy()
    behaviour[:, action] = 0
    return Bandit(
        truth.contexts, truth.means, behaviour / behaviour.sum(axis=1, keepdims=True), truth.target, truth.noise
    )


def test_full_support_is_hardly_ever_refused_and_its_lack_nearly_always():
    truth = with_share(0.3, 1)
    lacking = without_support(truth, int(truth.target.mean(axis=0).argmax()))
    full = [verdict(truth.log(300, np.random.default_rng(seed))) for seed in range(100)]
    bare = [verdict(lacking.log(300, np.random.default_rng(seed))) for seed in range(100)]
    hidden = [verdict(lacking.log(300, np.random.default_rng(seed), behaviour=None)) for seed in range(100)]
    assert full.count("refuse") <= 5
    assert bare.count("refuse") == hidden.count("refuse") == 100


def test_an_effective_sample_of_two_is_refused():
    ratio = np.r_[100.0, 100.0, np.full(500, 1e-3)]
    found = diagnostics.of_ratios(ratio)
    assert diagnostics.effective_sample(ratio) == pytest.approx(2, abs=0.02)
    assert check("effective sample", found).verdict == check("largest ratio", found).verdict == "refuse"
    assert diagnostics.effective_sample(np.ones(40)) == pytest.approx(40)
    assert diagnostics.effective_sample(np.zeros(40)) == 0
    assert diagnostics.effective_sample(np.full(40, 1e140)) == pytest.approx(40)


def test_an_interval_of_rounding_alone_has_no_width():
    for low, high in ((1 / 3, 1 / 3 + 1e-16), (0.0, 0.0), (-2.0, -2.0 - 1e-15)):
        (found,) = diagnostics.of_interval(low, high)
        assert found.verdict == "warn" and "no width" in found.reason
    assert diagnostics.of_interval(-np.inf, np.inf)[0].reason.startswith("it has no end")
    assert diagnostics.of_interval(0.4, 0.3)[0].verdict == "refuse" and diagnostics.of_interval(0.3, 0.4) == ()


def test_ratios_whose_mean_is_not_one_are_refused():
    rng = np.random.default_rng(0)
    assert check("mean ratio", diagnostics.of_ratios(rng.exponential(size=500))).verdict == "ok"
    assert check("mean ratio", diagnostics.of_ratios(0.6 * rng.exponential(size=500))).verdict == "refuse"
    assert check("mean ratio", diagnostics.of_ratios(np.ones(50))).verdict == "ok"
    assert check("mean ratio", diagnostics.of_ratios(np.full(50, 0.5))).verdict == "refuse"


@pytest.mark.parametrize(
    ("propensity", "verdict"), [(0.3333, "ok"), (0.333, "warn"), (0.33, "refuse"), (0.3, "refuse")]
)
def test_propensities_of_few_digits_are_no_reason_to_refuse(propensity, verdict):
    """A uniform policy over three, judged by its own log: each ratio is the same, and off by rounding alone."""
    found = check("mean ratio", diagnostics.of_ratios(np.full(300, 1 / 3) / propensity))
    assert found.verdict == verdict and found.reason.endswith("in every unit")
    ratio = 1 + 1e-16 * np.arange(300)
    assert check("mean ratio", diagnostics.of_ratios(ratio)).verdict == "ok"


def test_mass_without_support_is_counted():
    n = 100
    behaviour, target = np.tile([0.5, 0.5, 0.0], (n, 1)), np.tile([0.4, 0.4, 0.2], (n, 1))
    actions = np.arange(n) % 2
    known = Feedback(actions, np.ones(n), np.full(n, 0.5), target, behaviour=behaviour)
    found = check("mass without support", diagnostics.of_log(known))
    assert (found.value, found.verdict) == (pytest.approx(0.2), "refuse")
    unknown = check("mass without support", diagnostics.of_log(replace(known, behaviour=None)))
    assert (unknown.value, unknown.verdict) == (pytest.approx(0.2), "refuse")
    nothing = check("mass without support", diagnostics.of_log(replace(known, target=None)))
    assert (nothing.value, nothing.verdict) == (None, "warn")
    slots = check(
        "mass without support", diagnostics.of_log(replace(known, behaviour=None, features=np.ones((n, 3, 1))))
    )
    assert (slots.value, slots.verdict) == (None, "warn")


@pytest.mark.parametrize("known", [True, False])
def test_wrong_propensities_are_found_out(known):
    """Logged as uniform, drawn by another policy."""
    rng = np.random.default_rng(0)
    k, n = 4, 2000
    said = np.full((n, k), 1 / k)
    for shares, expected in ((said[0], "ok"), (np.array([0.4, 0.2, 0.2, 0.2]), "refuse")):
        actions = rng.choice(k, n, p=shares)
        log = Feedback(actions, np.ones(n), np.full(n, 1 / k), said, behaviour=said if known else None)
        assert check("propensity calibration", diagnostics.of_log(log)).verdict == expected


def test_an_action_that_came_later_is_no_reason_to_refuse_but_one_seen_too_often_is():
    """Two actions, then three, each drawn evenly; only the logged propensities are known."""
    rng, n = np.random.default_rng(0), 1000
    actions, propensities = np.r_[rng.integers(2, size=n), rng.integers(3, size=n)], np.repeat([1 / 2, 1 / 3], n)
    found = check(
        "propensity calibration",
        diagnostics.of_log(Feedback(actions, np.ones(2 * n), propensities, np.ones((2 * n, 3)) / 3)),
    )
    assert found.verdict == "warn" and "could not be chosen in every row" in found.reason
    propensities[actions == 0] *= 0.8
    found = check(
        "propensity calibration",
        diagnostics.of_log(Feedback(actions, np.ones(2 * n), propensities, np.ones((2 * n, 3)) / 3)),
    )
    assert found.verdict == "refuse" and "+17" in found.reason


def test_calibration_is_not_judged_where_what_matters_was_too_rare_to_be_drawn():
    n = 1000
    propensities = np.where(np.arange(n) // 2 % 50 == 0, 0.5, 1e-4)
    actions = (np.arange(n) % 2).astype(int)
    log = Feedback(actions, np.ones(n), propensities, np.full((n, 2), 0.5))
    found = check("propensity calibration", diagnostics.of_log(log))
    assert found.verdict == "ok" and "too few" in found.reason


def test_calibration_holds_for_draws_without_replacement():
    rng = np.random.default_rng(1)
    truth = bandit(rng)
    assert check("propensity calibration", diagnostics.of_log(truth.log(2000, rng))).verdict == "ok"


def test_calibration_over_many_actions_takes_no_square_of_them():
    """Each action's expected picks are a column of the behaviour: no pass over the whole table."""
    n, k = 8000, 400
    even = np.full((n, k), 1 / k)
    actions = np.r_[np.zeros(n // 4, int), np.arange(3 * n // 4) % k]
    feedback = Feedback(actions, np.zeros(n), even[:, 0], even, behaviour=even)
    begun = time.process_time()
    found = check("propensity calibration", diagnostics.of_log(feedback))
    assert time.process_time() - begun < 1
    assert found.verdict == "refuse" and "+9975.0%" in found.reason
