"""Importance ratios by pick, batch and campaign; set and per-decision estimators, exact by enumeration."""

import itertools

import numpy as np
import pytest

from discover.errors import DiscoverError
from discover.ope import ratios
from discover.ope.estimator import load_estimator
from discover.ope.feedback import Feedback
from discover.query.propensity import ordered_log_propensities, set_log_propensity


def value(word, feedback, chance):
    return float(load_estimator(word)(feedback, chance[None] * len(feedback))[0][0])


def every_batch(k=4, size=2, seed=0):
    """All ordered batches of `size` of k candidates with rewards of the set alone: feedback, chances, the truth."""
    rng = np.random.default_rng(seed)
    logged, wanted = rng.normal(size=k), rng.normal(size=k) * 2
    worth = {chosen: rng.normal() for chosen in itertools.combinations(range(k), size)}
    fields = {name: [] for name in ("actions", "rewards", "propensities", "target_propensities", "batch")}
    sets, targets, chances, truth = [], [], [], 0.0
    for number, order in enumerate(itertools.permutations(range(k), size)):
        behaviour, target = ordered_log_propensities(logged, order), ordered_log_propensities(wanted, order)
        reward = worth[tuple(sorted(order))]
        truth += np.exp(target.sum()) * reward
        fields["actions"] += order
        fields["rewards"] += [reward] * size
        fields["propensities"] += np.exp(behaviour).tolist()
        fields["target_propensities"] += np.exp(target).tolist()
        fields["batch"] += [number] * size
        sets += [set_log_propensity(logged, order)] * size
        targets += [set_log_propensity(wanted, order)] * size
        chances += [np.exp(behaviour.sum())] * size
    feedback = Feedback(**fields, set_log_propensities=sets, set_log_targets=targets)
    return feedback, np.array(chances), truth


@pytest.mark.parametrize("seed", range(3))
def test_set_ips_is_exact_over_every_batch(seed):
    feedback, chance, truth = every_batch(seed=seed)
    assert value("set_ips", feedback, chance) == pytest.approx(truth, abs=1e-10)


def test_set_ips_is_exact_where_picks_have_no_reward_and_sets_no_probability():
    whole, chance, truth = every_batch(seed=1)
    pairs = whole.actions.reshape(-1, 2)
    unknown = np.repeat(pairs.min(axis=1) > 0, 2)  # of both orders of a set
    kept = ~unknown | (whole.position == 1)
    ratio = np.log(whole.targets / whole.propensities)
    fields = {name: getattr(whole, name) for name in ("actions", "rewards", "propensities", "position", "batch")}
    fields |= {"target_propensities": whole.targets, "set_log_targets": whole.set_log_targets}
    fields["set_log_propensities"] = np.where(unknown, np.nan, whole.set_log_propensities)
    fields["skipped"] = np.where(unknown, np.repeat(ratio[::2], 2), 0)
    feedback = Feedback(**{name: values[kept] for name, values in fields.items()})
    assert 0 < unknown.sum() < len(whole) and len(feedback) == kept.sum()
    assert value("set_ips", feedback, chance[kept]) == pytest.approx(truth, abs=1e-10)


@pytest.mark.parametrize("sets", [True, False])
def test_pdis_is_exact_over_every_campaign_by_sets_and_by_orders(sets):
    """Two rounds of two picks; the second round's policies and rewards depend on the first set."""
    first, chance, _ = every_batch(seed=5)
    fields = {
        name: [] for name in ("actions", "rewards", "propensities", "target_propensities", "batch", "unit", "step")
    }
    logs = {"set_log_propensities": [], "set_log_targets": []}
    weights, truth = [], 0.0
    for begin in range(0, len(first), 2):
        then, later, _ = every_batch(seed=sum(10 ** int(action) for action in first.actions[begin : begin + 2]))
        for end in range(0, len(then), 2):
            unit = len(fields["unit"]) // 4
            reached = 1.0
            for step, (log, row) in enumerate(((first, begin), (then, end))):
                rows = slice(row, row + 2)
                for name in ("actions", "rewards", "propensities", "target_propensities"):
                    fields[name] += getattr(log, name)[rows].tolist()
                for name in logs:
                    logs[name] += getattr(log, name)[rows].tolist()
                fields["batch"] += [2 * unit + step] * 2
                fields["unit"] += [unit] * 2
                fields["step"] += [step] * 2
                reached *= log.targets[rows].prod()
            truth += reached * (first.rewards[begin] + then.rewards[end])
            weights += [chance[begin] * later[end]] * 4
    feedback = Feedback(**fields, **(logs if sets else {}))
    assert value("pdis", feedback, np.array(weights)) == pytest.approx(truth, abs=1e-10)


def test_the_ratio_of_a_set_varies_less_than_that_of_its_order():
    feedback, chance, _ = every_batch(k=5, size=3)
    batches = ratios.by_batch(feedback)
    ordered = np.multiply.reduceat(ratios.of_picks(feedback), np.arange(0, len(feedback), 3))
    weights = chance[batches.rows]
    assert weights @ batches.ratio == pytest.approx(1, abs=1e-10)
    assert weights @ ordered == pytest.approx(1, abs=1e-10)
    assert weights @ batches.ratio**2 < weights @ ordered**2


def campaigns(rounds, units=3, **more):
    n = rounds * units
    step = np.tile(np.arange(rounds), units)
    unit = np.repeat(np.arange(units), rounds)
    return Feedback(
        np.zeros(n), np.ones(n), np.full(n, 0.5), target_propensities=np.full(n, 0.5), unit=unit, step=step, **more
    )


def test_long_campaigns_are_refused_and_rounds_need_an_order():
    ones = np.ones((1, 60))
    assert load_estimator("pdis")(campaigns(20), ones)[0][0] == pytest.approx(20)
    with pytest.raises(DiscoverError, match="at most 20 rounds, unit 0 has 21: judge its first 20"):
        load_estimator("pdis")(campaigns(21), np.ones((1, 63)))
    tied = Feedback([0, 0], [1, 1], [0.5, 0.5], target_propensities=[0.5, 0.5], unit=[4, 4], step=[1, 1])
    with pytest.raises(DiscoverError, match="row 2 has step 1 twice in unit 4"):
        load_estimator("pdis")(tied, np.ones((1, 2)))


def test_rounds_are_taken_by_their_step_whatever_order_they_come_in():
    rng = np.random.default_rng(0)
    unit, step = np.repeat(np.arange(5), 4), np.tile(np.arange(4), 5)
    fields = {
        "actions": np.zeros(20),
        "rewards": rng.normal(size=20),
        "propensities": rng.uniform(0.2, 1, 20),
        "target_propensities": rng.uniform(0, 1, 20),
        "unit": unit,
        "step": step,
    }
    order = rng.permutation(20)
    here = load_estimator("pdis")(Feedback(**fields), np.ones((1, 20)))
    there = load_estimator("pdis")(Feedback(**{k: v[order] for k, v in fields.items()}), np.ones((1, 20)))
    assert here[0] == pytest.approx(there[0]) and here[1] == pytest.approx(there[1])


def test_batches_without_set_propensities_are_refused_by_set_ips_alone():
    feedback, _, _ = every_batch()
    bare = Feedback(
        feedback.actions,
        feedback.rewards,
        feedback.propensities,
        target_propensities=feedback.targets,
        batch=feedback.batch,
    )
    with pytest.raises(DiscoverError, match=r"set_log_propensities is needed .*Gumbel top-k"):
        load_estimator("set_ips")(bare, np.ones((1, len(bare))))


@pytest.mark.parametrize("size", [1, 2])
def test_a_ratio_that_numbers_cannot_hold_is_refused(size):
    """Four rounds, or two of two picks, each of which the log took for all but impossible."""
    feedback = Feedback(
        actions=np.zeros(4),
        rewards=np.ones(4),
        propensities=np.full(4, 1e-90),
        target_propensities=np.full(4, 0.5),
        batch=np.arange(4) // size,
        unit=np.zeros(4),
        step=np.arange(4) // size,
    )
    with pytest.raises(
        DiscoverError, match=r"must be at most 1e\+150, that of the batch or campaign at row \d is larger"
    ):
        load_estimator("pdis")(feedback, np.ones((1, 4)))
