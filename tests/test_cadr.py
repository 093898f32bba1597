"""CADR on logs whose policy changes while it logs: exact over all histories, and its interval covers."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from discover.ope.estimators.cadr import cadr
from discover.ope.evaluation import evaluate
from discover.ope.feedback import Feedback
from tests.adaptive import epsilon_greedy
from tests.bandits import bandit


def test_a_score_is_unbiased_whatever_the_past():
    """Given any two rows before, the third row's score, summed over its actions, is the target's value: 1e-12."""
    means, target = np.array([0.3, 1.1, -0.4]), np.array([0.2, 0.5, 0.3])
    for past in itertools.product(range(3), repeat=3):
        later = np.full(3, 0.2) + 0.4 * np.eye(3)[past[-1]]  # the policy follows what came before
        behaviour = np.vstack([np.full((3, 3), 1 / 3), later])
        total = 0.0
        for action in range(3):
            actions = np.r_[past, action]
            log = Feedback(
                actions, means[actions], behaviour[np.arange(4), actions], np.tile(target, (4, 1)), behaviour=behaviour
            )
            total += later[action] * cadr(log, np.ones((1, 4)), burn_in=3)[0][0]  # one row counts: the last
        assert total == pytest.approx(target @ means, abs=1e-12)


def test_its_interval_covers_on_adaptive_logs():
    covered = 0
    for seed in range(80):
        feedback, truth = epsilon_greedy(300, np.random.default_rng(seed))
        (found,) = evaluate(feedback, ["cadr"]).estimates
        covered += found.low <= truth <= found.high
    assert covered / 80 >= 0.88  # 93 % less what 80 logs may miss by chance


def test_rows_that_only_teach_make_no_interval_narrower():
    """Of 22 rows two count, for Student's t of one degree; of 21 one, which has no interval."""
    made = bandit(np.random.default_rng(0), m=1, k=3)
    found = [evaluate(made.log(22, np.random.default_rng(seed)), ["cadr"]).estimates[0] for seed in range(60)]
    assert np.mean([one.low <= made.value <= one.high for one in found]) >= 0.88  # as above; 60 % without
    (lone,) = evaluate(made.log(21, np.random.default_rng(0)), ["cadr"]).estimates
    assert (lone.low, lone.high, lone.verdict) == (-np.inf, np.inf, "warn")


def test_what_comes_later_does_not_change_how_earlier_rows_count():
    feedback, _ = epsilon_greedy(200, np.random.default_rng(0))
    only_first = np.zeros((1, 200))
    only_first[0, :60] = 1  # rows up to 60, of which the first 20 only teach
    changed = replace(feedback, rewards=np.r_[feedback.rewards[:60], feedback.rewards[60:] + 50])
    assert cadr(feedback, only_first)[0] == pytest.approx(cadr(changed, only_first)[0], abs=1e-12)


def test_policies_that_are_replayed_on_earlier_contexts_are_used():
    feedback, truth = epsilon_greedy(300, np.random.default_rng(1))
    played = feedback.behaviour[:, feedback.actions]
    contexts = np.zeros((300, 1))  # says nothing, but a log with contexts cannot be replayed from its own rows
    with_contexts = replace(feedback, contexts=contexts)
    same = cadr(replace(with_contexts, replayed=played), np.ones((1, 300)))
    assert same[0] == pytest.approx(cadr(feedback, np.ones((1, 300)))[0], abs=1e-12)
    as_logged = cadr(with_contexts, np.ones((1, 300)))
    assert abs(as_logged[0][0] - truth) < 5 * as_logged[1][0]


def test_rows_of_a_unit_neither_teach_about_each_other_nor_count_as_many():
    """Each row five times over: the same as once, but that no row may look at its own copies."""
    feedback, _ = epsilon_greedy(200, np.random.default_rng(2))
    rows = np.repeat(np.arange(200), 5)
    tables = {name: getattr(feedback, name)[rows] for name in ("target", "behaviour")}
    logged = (feedback.actions[rows], feedback.rewards[rows], feedback.propensities[rows])
    copies = Feedback(*logged, **tables, unit=rows)
    here = cadr(replace(feedback, predictions=np.zeros((200, 3))), np.ones((1, 200)))
    there = cadr(replace(copies, predictions=np.zeros((1000, 3))), np.ones((1, 1000)), burn_in=100)
    assert there[0] == pytest.approx(here[0], abs=1e-9) and there[1] == pytest.approx(here[1], rel=1e-6)


def test_where_every_reward_is_alike_there_is_nothing_to_weigh():
    feedback, _ = epsilon_greedy(100, np.random.default_rng(1))
    values, errors = cadr(replace(feedback, rewards=np.full(100, 2.5)), np.ones((1, 100)))
    assert values[0] == pytest.approx(2.5, abs=1e-12) and errors[0] == pytest.approx(0, abs=1e-12)


def test_a_policy_that_gives_up_an_action_counts_for_nothing():
    feedback, _ = epsilon_greedy(100, np.random.default_rng(1))
    behaviour = feedback.behaviour.copy()
    behaviour[50:] = np.eye(3)[feedback.actions[50:]]
    deterministic = replace(
        feedback,
        behaviour=behaviour,
        propensities=behaviour[np.arange(100), feedback.actions],
        target_propensities=None,
    )
    moved = replace(deterministic, rewards=np.r_[feedback.rewards[:50], np.full(50, 99.0)])
    ones = np.ones((1, 100))
    assert cadr(moved, ones)[0] == pytest.approx(cadr(deterministic, ones)[0], abs=1e-9)


def test_where_the_past_holds_nothing_that_is_still_asked_no_row_is_weighed_by_it():
    """A policy that changes to what it never took, and a target that wants that alone."""
    actions = np.r_[np.arange(50) % 2, np.full(50, 2)]
    behaviour = np.r_[np.tile([0.5, 0.5, 0.0], (50, 1)), np.tile([0.0, 0.0, 1.0], (50, 1))]
    target = np.tile([0.0, 0.0, 1.0], (100, 1))
    chosen = behaviour[np.arange(100), actions]
    log = Feedback(actions, np.where(actions == 2, 0.7, 0.1), chosen, target, behaviour=behaviour)
    values, _ = cadr(replace(log, predictions=np.full((100, 3), 0.7)), np.ones((1, 100)))
    assert values[0] == pytest.approx(0.7)
