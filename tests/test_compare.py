"""Paired differences, areas and the last sentence, against values worked out by hand and against simulation."""

from dataclasses import replace

import numpy as np
import pytest

from discover.evaluate.compare import Course, area_difference, aulc, compare, labels_to_reach, paired
from discover.evaluate.verdict import single_line, summary_line


def course(name, labels, accuracies, n=100, offset=0):
    """Round r has its first accuracies[r] · n documents right, counted from ``offset``."""
    order = np.roll(np.arange(n), offset)
    correct = np.zeros((len(labels), n), bool)
    for row, share in enumerate(accuracies):
        correct[row, order[: round(share * n)]] = True
    return Course(name, np.array(labels), correct)


def test_paired_by_hand():
    a = np.array([1] * 10 + [1] * 9 + [0] * 2 + [0] * 4, bool)
    b = np.array([1] * 10 + [0] * 9 + [1] * 2 + [0] * 4, bool)
    found = paired(a, b)
    assert found.mean == pytest.approx(7 / 25)
    # Exact McNemar: 2 or fewer of 11 fair coins, twice.
    assert found.p == pytest.approx(2 * (1 + 11 + 55) / 2**11)
    shares = 10 / 27, 3 / 27
    half = 1.959964 * np.sqrt((sum(shares) - (shares[0] - shares[1]) ** 2) / 27)
    assert (found.low, found.high) == pytest.approx((7 / 27 - half, 7 / 27 + half), abs=1e-6)


def test_paired_without_disagreement_still_has_an_interval():
    same = paired(np.ones(50, bool), np.ones(50, bool))
    assert (same.mean, same.p) == (0, 1)
    assert same.low < 0 < same.high
    assert not same.clear


@pytest.mark.parametrize(
    ("n", "only_a", "only_b"), [(100, 0.12, 0.05), (100, 0.02, 0.02), (800, 0.08, 0.05), (40, 0.2, 0.1)]
)
def test_paired_interval_covers_about_95_percent(n, only_a, only_b):
    rng = np.random.default_rng(11)
    covered = 0
    for _ in range(2000):
        draw = rng.uniform(size=n)
        first, second = draw < only_a, (draw >= only_a) & (draw < only_a + only_b)
        found = paired(~second, ~first)
        covered += found.low <= only_a - only_b <= found.high
    assert 0.93 <= covered / 2000 <= 0.999  # wide where disagreements are few


def test_aulc_by_hand():
    # Trapezoids (0.5+0.7)/2·10 and (0.7+0.8)/2·30, over a span of 40.
    assert aulc([10, 20, 50], [0.5, 0.7, 0.8]) == pytest.approx((6 + 22.5) / 40)
    assert aulc([7], [0.4]) == 0.4
    assert aulc([1, 5, 9], [0.3, 0.3, 0.3]) == pytest.approx(0.3)
    with pytest.raises(ValueError, match="rising"):
        aulc([2, 2], [0.1, 0.2])


def test_area_difference_equals_the_difference_of_areas():
    a, b = course("a", [10, 20, 40], [0.5, 0.7, 0.9]), course("b", [10, 20, 40], [0.5, 0.6, 0.7], offset=30)
    found = area_difference(a, b, np.random.default_rng(0))
    assert found.mean == pytest.approx(aulc(a.labels, a.accuracy) - aulc(b.labels, b.accuracy))
    assert found.low < found.mean < found.high
    assert found == area_difference(a, b, np.random.default_rng(0))


def test_area_difference_over_the_labels_that_both_cover():
    a = course("a", [10, 30, 50], [0.5, 0.7, 0.9])
    b = course("b", [20, 40], [0.6, 0.8])
    # Over 20 to 40 both curves are the same straight line.
    assert area_difference(a, b, np.random.default_rng(0)).mean == pytest.approx(0)
    with pytest.raises(ValueError, match="no number of labels in common"):
        area_difference(a, course("c", [60, 70], [0.1, 0.2]), np.random.default_rng(0))


def test_area_interval_covers_about_95_percent():
    rng = np.random.default_rng(17)
    labels, n, covered = np.array([50, 100, 200, 400]), 150, 0
    chance_a, chance_b = np.array([0.4, 0.5, 0.65, 0.7]), np.array([0.4, 0.48, 0.55, 0.62])
    truth = aulc(labels, chance_a) - aulc(labels, chance_b)
    for _ in range(120):
        # One difficulty a document, shared by rounds and arms: strongly dependent, as test documents are.
        difficulty = rng.uniform(size=n)
        a, b = (
            Course(name, labels, difficulty < chance[:, None]) for name, chance in (("a", chance_a), ("b", chance_b))
        )
        found = area_difference(a, b, rng)
        covered += found.low <= truth <= found.high
    assert 0.88 <= covered / 120 <= 0.99


def test_labels_to_reach():
    labels, scores = [10, 20, 30, 40], [0.4, 0.6, 0.5, 0.7]
    assert labels_to_reach(labels, scores, 0.5) == pytest.approx(15)
    assert labels_to_reach(labels, scores, 0.5, lasting=True) == pytest.approx(15)
    assert labels_to_reach(labels, scores, 0.55, lasting=True) == pytest.approx(32.5)
    assert labels_to_reach(labels, scores, 0.3) == 10
    assert labels_to_reach(labels, scores, 0.3, lasting=True) == 10
    assert labels_to_reach(labels, scores, 0.9) is None
    assert labels_to_reach(labels, [0.4, 0.8, 0.8, 0.6], 0.7, lasting=True) is None


def test_a_clear_gain_is_said_with_labels_saved():
    strategy = course("margin", [100, 200, 300], [0.5, 0.7, 0.8], n=500)
    control = course("random", [100, 200, 300], [0.5, 0.6, 0.7], n=500)
    found = compare(strategy, control, np.random.default_rng(0))
    assert (found.labels, found.control_needs, found.strategy_needs) == (300, None, 200)
    line = summary_line(found)
    assert line.startswith("At 300 labels, margin beat random: 80.0% against 70.0% of 500 test documents, +10.0 points")
    assert "from 200 labels on, 100 fewer" in line
    assert "no clear" not in line


def test_a_loss_is_said_too():
    strategy = course("margin", [100, 200, 300], [0.5, 0.55, 0.6], n=500)
    control = course("random", [100, 200, 300], [0.5, 0.6, 0.7], n=500)
    line = summary_line(compare(strategy, control, np.random.default_rng(0)))
    assert "margin lost to random" in line
    assert "-10.0 points" in line
    assert "random was at margin's final accuracy with 200 labels, 100 fewer" in line


def test_labels_are_saved_against_when_the_other_arm_was_there_itself():
    at = [100, 200, 300, 400]
    flat, quick = course("random", at, [0.5, 0.6, 0.7, 0.7]), course("margin", at, [0.5, 0.7, 0.7, 0.7])
    same = summary_line(compare(replace(flat, name="margin"), flat, np.random.default_rng(0)))
    assert same.endswith("margin saved no labels.")
    line = summary_line(compare(quick, flat, np.random.default_rng(0)))
    assert line.endswith(
        "margin was at random's final accuracy from 200 labels on, random itself from 300 on, 100 fewer."
    )
    low = course("margin", at, [0.5, 0.65, 0.65, 0.65])
    line = summary_line(compare(low, flat, np.random.default_rng(0)))
    assert line.endswith(
        "margin saved no labels."
    )  # random was where margin stayed from 250 labels on, margin from 200


def test_an_interval_over_zero_is_called_no_clear_difference():
    strategy = course("margin", [100, 200], [0.5, 0.62])
    control = course("random", [100, 200], [0.5, 0.60], offset=50)
    line = summary_line(compare(strategy, control, np.random.default_rng(0)))
    assert "no clear difference in accuracy between margin and random" in line
    assert "beat" not in line
    assert line.count("no clear difference") == 2


def test_arms_that_end_at_different_labels_are_compared_where_both_have_been():
    strategy = course("margin", [100, 190, 290], [0.5, 0.6, 0.9])
    control = course("random", [100, 200], [0.5, 0.6])
    found = compare(strategy, control, np.random.default_rng(0))
    assert (found.labels, found.strategy_accuracy) == (200, 0.6)


def test_a_single_round_can_be_compared():
    one = course("margin", [100], [0.5])
    line = summary_line(compare(one, course("random", [100], [0.5]), np.random.default_rng(0)))
    assert "no clear difference" in line
    assert "margin saved no labels" in line


def test_single_line_for_tests_audits_and_nothing():
    assert single_line(None) == "No round has been measured yet."
    row = {"strategy": "margin", "labels": 40, "source": "test", "accuracy": 0.5, "low": 0.4, "high": 0.6}
    assert "50.0% of the test documents right (95% interval 40.0% to 60.0%)" in single_line(row)
    row = {"strategy": "margin", "labels": 40, "source": "audit", "accuracy": None, "audit": None}
    assert "nothing can be said" in single_line(row)
    row["audit"] = {"n": 10, "accuracy": 0.8, "low": 0.49, "high": 0.94}
    line = single_line(row)
    assert "an estimated 80.0% of what nobody has been asked about, judged by 10 audit answers" in line
    assert line.endswith("(95% interval 49.0% to 94.0%).")
    assert single_line(row | {"words": 307}).startswith("After 40 labels (307 words), the model is right on")
    assert single_line(row | {"words": 307, "source": "test", "accuracy": 0.5, "low": 0.4, "high": 0.6}).startswith(
        "After 40 labels (307 words), margin has 50.0%"
    )
    assert single_line(row | {"entity_f1": 0.4, "micro_f1": None}).endswith("to 94.0%); entity F1 0.400.")
