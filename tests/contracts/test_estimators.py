"""One contract for every estimator: whatever file lies in `ope/estimators` is tested here, and a user's own."""

from dataclasses import replace

import numpy as np
import pytest

from discover.errors import DiscoverError
from discover.ope import estimator
from discover.ope.estimator import load_estimator
from discover.ope.feedback import Feedback
from tests.bandits import bandit

USER_FILE = """
from discover.ope import moments, ratios

def halved(feedback, weights, *, share: float = 0.5):
    return moments.mean(share * ratios.of_picks(feedback) * feedback.rewards, feedback.units, weights)

def bare(feedback, weights):
    return weights.sum(axis=1)

def broken(feedback, weights):
    return feedback.no_such_thing
"""
ORDERED = {"cadr"}  # judges each row by those before it
# Unbiased at any n, so exact where every action is summed with its probability; self-normalised ones are exact there
# as well, since the ratios' mean is 1.
EXACT = {"ips", "snips", "dr", "sndr", "set_ips", "pdis"}
# At this option they are the unbiased estimator that they come from.
OPEN = {"clipped_ips": "clipped_ips,ceiling=1e9", "switch_dr": "switch_dr,ceiling=1e9", "dros": "dros,shrinkage=1e18"}
DOUBLY_ROBUST = {"dr", "sndr", "dros", "switch_dr"}
SHIFTS = {"direct_method", "snips", "dr", "sndr", "cadr"}  # what moves with rewards that are shifted


@pytest.fixture(params=estimator.names())
def name(request):
    return request.param


@pytest.fixture
def one(name):
    return load_estimator(name)


def log(n=120, seed=0, **more) -> Feedback:
    """Rows whose logging policy sees no context, which is what `cadr` can replay from the log itself."""
    rng = np.random.default_rng(seed)
    truth = bandit(rng, m=1)
    varied = bandit(rng, m=n)  # the target sees one
    feedback = truth.log(n, rng, contexts=None, **more)
    return replace(feedback, target=varied.target, target_propensities=None)


def all_ones(feedback):
    return np.ones((1, len(feedback)))


def value(word, feedback, weights=None):
    values, errors = load_estimator(word)(feedback, all_ones(feedback) if weights is None else weights)
    return float(values[0]), float(errors[0])


def test_there_are_all_of_them():
    assert set(estimator.names()) == EXACT | set(OPEN) | {"direct_method", "cadr"}


def test_values_and_standard_errors_of_each_resample(one):
    feedback = log()
    weights = np.random.default_rng(1).multinomial(120, np.full(120, 1 / 120), size=7).astype(float)
    values, errors = one(feedback, weights)
    assert values.shape == errors.shape == (7,)
    assert np.isfinite(values).all() and (errors > 0).all()
    for row in range(7):  # a resample does not know of the others
        alone = one(feedback, weights[row : row + 1])
        assert alone[0][0] == pytest.approx(values[row], abs=1e-10)
        assert alone[1][0] == pytest.approx(errors[row], abs=1e-10)


def test_a_row_of_weights_is_that_many_copies_of_a_row(name, one):
    """Self-normalisation and standard errors are computed anew: repeating rows is the same as weighing them."""
    if name in ORDERED:
        pytest.skip("what is weighed depends on the rows before")
    predictions = np.random.default_rng(5).normal(size=(30, 5))
    feedback = log(30, predictions=predictions)
    counts = np.random.default_rng(2).multinomial(30, np.full(30, 1 / 30))
    rows = np.repeat(np.arange(30), counts)
    copies = Feedback(
        feedback.actions[rows],
        feedback.rewards[rows],
        feedback.propensities[rows],
        feedback.target[rows],
        behaviour=feedback.behaviour[rows],
        predictions=predictions[rows],
    )
    if name in OPEN:  # their defaults look at n
        one = load_estimator(OPEN[name])
    there, here = one(copies, all_ones(copies)), one(feedback, counts[None].astype(float))
    assert here[0] == pytest.approx(there[0], abs=1e-12)
    assert here[1] == pytest.approx(there[1], rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_exact_on_an_enumerable_bandit(name, seed):
    """Every context with every action, weighed by its probability, gives the sum over actions, to 1e-12."""
    if name in ORDERED:
        pytest.skip("summed over all orders in test_cadr")
    rng = np.random.default_rng(seed)
    truth = bandit(rng, m=6, k=4)
    wrong = np.repeat(rng.normal(size=(6, 4)), 4, axis=0)  # any function of the context
    feedback, chance = truth.everything(predictions=wrong, unit=None)
    found, _ = value(OPEN.get(name, name), feedback, chance[None] * 24)
    if name == "direct_method":
        expected = float((np.repeat(truth.target, 4, axis=0) * wrong).sum(axis=1) @ chance)
    else:
        expected = truth.value
    assert found == pytest.approx(expected, abs=1e-12)


def test_the_logging_policy_is_worth_the_mean_of_its_rewards(name):
    feedback = log()
    same = replace(feedback, target=feedback.behaviour, target_propensities=None)
    found, error = value(name, same)
    mean, spread = feedback.rewards.mean(), feedback.rewards.std(ddof=1) / np.sqrt(len(feedback))
    if name in {"ips", "clipped_ips", "snips", "set_ips", "pdis"}:
        assert found == pytest.approx(mean, abs=1e-12)
        assert error == pytest.approx(spread, rel=1e-12)
    else:
        assert abs(found - mean) < 3 * spread


def test_rewards_that_are_scaled_scale_the_estimate(name):
    feedback = log()
    found, error = value(name, feedback)
    scaled, scaled_error = value(name, replace(feedback, rewards=-7 * feedback.rewards))
    assert scaled == pytest.approx(-7 * found, abs=1e-10)
    assert scaled_error == pytest.approx(7 * error, abs=1e-10)


def test_rewards_that_are_shifted_shift_the_estimate_or_leave_a_known_gap(name):
    feedback = log()
    found, error = value(name, feedback)
    shifted, shifted_error = value(name, replace(feedback, rewards=feedback.rewards + 1000))
    ratio = feedback.targets / feedback.propensities
    if name in SHIFTS or name in DOUBLY_ROBUST:
        assert shifted - 1000 == pytest.approx(found, abs=1e-8)
        assert shifted_error == pytest.approx(error, rel=1e-8)
    else:
        kept = np.minimum(ratio, np.sqrt(len(feedback))) if name == "clipped_ips" else ratio
        assert shifted - found == pytest.approx(1000 * kept.mean(), abs=1e-8)


def test_the_order_of_rows_does_not_matter(name, one):
    feedback = log()
    order = np.random.default_rng(3).permutation(len(feedback))
    fields = ("target", "behaviour", "batch", "unit", "step", "position", "time")
    shuffled = Feedback(
        feedback.actions[order],
        feedback.rewards[order],
        feedback.propensities[order],
        **{field: getattr(feedback, field)[order] for field in fields},
    )
    weights = np.random.default_rng(4).integers(1, 4, (3, 120)).astype(float)
    here, there = one(feedback, weights), one(shuffled, weights[:, order])
    assert here[0] == pytest.approx(there[0], abs=1e-10)
    assert here[1] == pytest.approx(there[1], abs=1e-10)


def test_the_names_of_actions_do_not_matter(name, one):
    feedback = log()
    renamed = np.random.default_rng(3).permutation(5)
    tables = {field: getattr(feedback, field)[:, renamed] for field in ("target", "behaviour")}
    other = replace(feedback, actions=np.argsort(renamed)[feedback.actions], target_propensities=None, **tables)
    assert one(other, all_ones(other))[0] == pytest.approx(one(feedback, all_ones(feedback))[0], abs=1e-10)


@pytest.mark.parametrize("word", [*sorted(DOUBLY_ROBUST), "cadr"])
def test_without_residuals_doubly_robust_is_the_direct_method(word):
    feedback = log(200)
    predictions = np.random.default_rng(1).normal(size=(200, 5))
    exact = replace(feedback, predictions=predictions, rewards=predictions[np.arange(200), feedback.actions])
    if word == "cadr":  # it weighs rows by their deviation: a model that is right and flat leaves nothing to weigh
        exact = replace(exact, predictions=np.full((200, 5), 2.0), rewards=np.full(200, 2.0))
    assert value(word, exact)[0] == pytest.approx(value("direct_method", exact)[0], abs=1e-12)


@pytest.mark.parametrize("word", sorted(EXACT & DOUBLY_ROBUST | {"direct_method", "ips"}))
@pytest.mark.parametrize("broken", ["model", "propensities"])
def test_doubly_robust_survives_either_nuisance_being_wrong_and_its_parts_do_not(word, broken):
    rng = np.random.default_rng(8)
    truth = bandit(rng, m=12, k=4)
    right = np.repeat(truth.means, 4, axis=0)
    feedback, chance = truth.everything(predictions=right + (1.5 if broken == "model" else 0), unit=None)
    if broken == "propensities":
        feedback = replace(feedback, behaviour=None, propensities=np.full(48, 0.5))
    found, _ = value(word, feedback, chance[None] * 48)
    survives = word in DOUBLY_ROBUST or (word == "ips") == (broken == "model")
    assert (abs(found - truth.value) < 1e-12) == survives


def test_several_rows_of_a_unit_are_no_more_than_one(name, one):
    """Each row twice in its unit: the same value, and no smaller error."""
    if name in ORDERED | {"set_ips", "pdis"}:
        pytest.skip("rows of a unit are a batch or a campaign to it")
    predictions = np.random.default_rng(5).normal(size=(60, 5))
    feedback = log(60, predictions=predictions)
    twice = np.repeat(np.arange(60), 2)
    doubled = Feedback(
        feedback.actions[twice],
        feedback.rewards[twice],
        feedback.propensities[twice],
        feedback.target[twice],
        unit=twice,
        predictions=predictions[twice],
    )
    one = load_estimator(OPEN.get(name, name))
    here, there = one(feedback, all_ones(feedback)), one(doubled, all_ones(doubled))
    assert here[0] == pytest.approx(there[0], abs=1e-12)
    assert here[1] == pytest.approx(there[1], rel=1e-9)


def test_what_needs_the_whole_target_says_so(name, one):
    feedback = log()
    scalar = replace(feedback, target=None)
    if name in {"ips", "clipped_ips", "snips", "set_ips", "pdis"}:
        assert value(name, scalar) == value(name, feedback)
    else:
        with pytest.raises(DiscoverError, match=r"target is needed \(the target's probability of every action\)"):
            one(scalar, all_ones(scalar))


def test_a_users_own_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(USER_FILE)
    feedback = log()
    assert value(f"{path}:halved,share=0.25", feedback)[0] == pytest.approx(value("ips", feedback)[0] / 4)
    assert load_estimator(f"{path}:halved,share=0.25").name == "halved,share=0.25"
    for word, message in (("bare", "must return values"), ("broken", "failed: AttributeError")):
        with pytest.raises(DiscoverError, match=message):
            value(f"{path}:{word}", feedback)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("snip", "did you mean 'snips'"),
        ("snips,power=2", "has no option 'power'"),
        ("clipped_ips,ceiling=0", "ceiling must be more than 0, found 0"),
        ("clipped_ips,ceiling=much", "ceiling must be a finite number or null, found 'much'"),
        ("dros,shrinkage=-1", "shrinkage must be 0 or more, found -1"),
        ("dros,shrinkage=.inf", "shrinkage must be a finite number or null, found inf"),
        ("cadr,burn_in=2.5", "burn_in must be a whole number, found 2.5"),
        ("cadr,burn_in=true", "burn_in must be a whole number, found True"),
        ("cadr,burn_in=120", "burn_in must be at least 2 and less than the 120 rows"),
    ],
)
def test_a_wrong_word_or_option_gets_one_clear_line(word, message):
    with pytest.raises(DiscoverError, match=message) as caught:
        value(word, log())
    assert "\n" not in str(caught.value)
