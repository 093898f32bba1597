"""Known values, and the coverage that the intervals promise."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from discover.evaluate import audit, metrics


def test_accuracy_and_macro_f1_by_hand():
    y = [0, 0, 0, 1, 1, 3]
    predicted = [0, 0, 1, 1, 0, 1]
    assert metrics.accuracy(predicted, y) == pytest.approx(3 / 6)
    # Class 0: P 2/3, R 2/3. Class 1: P 1/3, R 1/2. Class 3: never predicted. Class 2 occurs nowhere.
    assert metrics.macro_f1(predicted, y) == pytest.approx((2 / 3 + 2 * (1 / 3) * (1 / 2) / (1 / 3 + 1 / 2) + 0) / 3)


def test_a_class_only_predicted_counts_in_macro_f1():
    assert metrics.macro_f1([0, 0, 2], [0, 0, 0]) == pytest.approx((0.8 + 0) / 2)


def test_several_labels_are_scored_as_scikit_learn_does():
    rng = np.random.default_rng(3)
    y, predicted = (rng.random((40, 6)) < 0.3).astype(int), (rng.random((40, 6)) < 0.4).astype(int)
    y[:, 4] = predicted[:, 4] = 0  # a label that occurs nowhere
    predicted[:8] = y[:8]
    assert metrics.accuracy(predicted, y) == accuracy_score(y, predicted) >= 0.2
    assert metrics.micro_f1(predicted, y) == f1_score(y, predicted, average="micro")
    assert metrics.macro_f1(predicted, y) == f1_score(
        y[:, [0, 1, 2, 3, 5]], predicted[:, [0, 1, 2, 3, 5]], average="macro"
    )
    table = metrics.per_class(predicted, y, list("abcdef"))
    assert table["e"] == {"precision": 0, "recall": 0, "f1": 0, "support": 0}
    assert (
        table["b"]["f1"] == pytest.approx(f1_score(y[:, 1], predicted[:, 1])) and table["b"]["support"] == y[:, 1].sum()
    )
    assert metrics.micro_f1(0 * y, 0 * y) == metrics.macro_f1(0 * y, 0 * y) == 0
    with pytest.raises(ValueError, match="same length"):
        metrics.micro_f1(predicted, y[:, :5])


def test_the_calibration_of_several_labels_is_that_of_each():
    rng = np.random.default_rng(4)
    p = rng.random((4000, 3))
    y = (rng.random(p.shape) < p).astype(int)
    assert metrics.calibration_error(p, y) < 0.03
    assert metrics.calibration_error(p**3, y) == pytest.approx(1 / 2 - 1 / 4, abs=0.03)


def test_minority_f1_by_hand():
    pool = [0] * 6 + [1] * 5 + [2] * 2 + [4]  # a mean of 3.5 documents a class
    assert metrics.minority(pool).tolist() == [4]
    assert metrics.minority([0] * 9 + [1] * 2 + [2]).tolist() == [1, 2]
    assert metrics.minority([0, 0, 0, 1, 1, 2, 2]).tolist() == [1, 2]  # none so rare: the rarest
    y, predicted = [0, 0, 1, 1, 2], [1, 0, 1, 0, 0]
    assert metrics.minority_f1(predicted, y, [1, 2]) == pytest.approx((1 / 2 + 0) / 2)
    assert metrics.minority_f1(predicted, y, [1, 3]) == pytest.approx(1 / 2)  # the truth has no 3
    assert metrics.minority_f1(predicted, y, [3]) == 0


def test_per_class_covers_every_class_of_the_config():
    table = metrics.per_class([0, 0, 1], [0, 1, 1], ["a", "b", "never"])
    assert table["a"] == pytest.approx({"precision": 0.5, "recall": 1.0, "f1": 2 / 3, "support": 1})
    assert table["b"]["recall"] == 0.5
    assert table["never"] == {"precision": 0, "recall": 0, "f1": 0, "support": 0}


def test_confusion_has_truth_in_rows():
    assert metrics.confusion([1, 1, 0], [0, 0, 2], 3).tolist() == [[0, 2, 0], [0, 0, 0], [1, 0, 0]]


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_against_newcombe(successes, n, low, high):
    assert metrics.wilson(successes, n) == pytest.approx((low, high), abs=6e-5)


def test_wilson_at_the_ends():
    assert metrics.wilson(0, 0) == (0.0, 1.0)
    assert metrics.wilson(5, 5)[1] == 1.0
    with pytest.raises(ValueError, match="between 0 and n = 3, got 4"):
        metrics.wilson(4, 3)


@pytest.mark.parametrize(("n", "p"), [(20, 0.05), (30, 0.5), (80, 0.7), (400, 0.93)])
def test_wilson_covers_about_95_percent(n, p):
    rng = np.random.default_rng(7)
    draws = rng.binomial(n, p, 4000)
    covered = [low <= p <= high for low, high in (metrics.wilson(int(k), n) for k in draws)]
    assert 0.92 <= np.mean(covered) <= 0.985


def test_calibration_error_by_hand():
    # Three bins with documents: 0.95 twice (one right), 0.55 once (right), 0.65 once (wrong).
    top = np.array([0.95, 0.95, 0.55, 0.65])
    probabilities = np.stack([top, 1 - top], axis=1)
    expected = (2 * abs(0.5 - 0.95) + abs(1 - 0.55) + abs(0 - 0.65)) / 4
    assert metrics.calibration_error(probabilities, [0, 1, 0, 1], bins=10) == pytest.approx(expected)


@pytest.mark.parametrize("n", [200, 2000])
def test_error_by_chance_is_what_honest_predictions_show(n):
    rng = np.random.default_rng(0)
    shown, expected = [], []
    for _ in range(300):
        confidence = rng.beta(2, 1, n)
        shown.append(metrics.confidence_error(confidence, rng.random(n) < confidence))
        expected.append(metrics.error_by_chance(confidence))
    assert np.mean(shown) == pytest.approx(np.mean(expected), rel=0.05)
    assert metrics.error_by_chance([]) == metrics.error_by_chance([0.0, 1.0]) == 0


def test_calibration_error_pools_within_a_bin():
    top = np.array([0.91, 0.99])  # one bin: mean confidence 0.95, half right
    assert metrics.calibration_error(np.stack([top, 1 - top], 1), [0, 1], bins=10) == pytest.approx(0.45)


def test_perfect_calibration_is_near_zero_and_bins_are_15_by_default():
    rng = np.random.default_rng(3)
    top = rng.uniform(0.5, 1, 40_000)
    y = (rng.uniform(size=len(top)) > top).astype(int)
    assert metrics.calibration_error(np.stack([top, 1 - top], 1), y) < 0.015
    assert all(b.high - b.low == pytest.approx(1 / 15) for b in metrics.reliability(top, y == 0))


def test_reliability_puts_edges_in_the_lower_bin_and_keeps_zero():
    bins = metrics.reliability([0.0, 0.5, 1.0], [0, 1, 1], bins=2)
    assert [(b.low, b.n) for b in bins] == [(0.0, 2), (0.5, 1)]


@pytest.mark.parametrize("function", [metrics.accuracy, metrics.macro_f1])
def test_scores_refuse_nothing_and_mismatch(function):
    with pytest.raises(ValueError, match="same length"):
        function([], [])
    with pytest.raises(ValueError, match="same length"):
        function([1], [1, 2])


def _ids(n):
    return [f"{value:032x}" for value in np.random.default_rng(5).integers(0, 2**62, n)]


def test_audit_parts_are_stable_balanced_and_depend_on_the_seed():
    ids = _ids(2000)
    parts = [audit.part(each, seed=1) for each in ids]
    assert [audit.part(each, seed=1) for each in ids] == parts
    assert 900 < parts.count("report") < 1100
    same = sum(a == b for a, b in zip(parts, (audit.part(each, seed=2) for each in ids), strict=True))
    assert 900 < same < 1100


def test_audit_estimate_is_a_share_with_its_interval():
    found = audit.estimate([False, True, True])
    assert (found.n, found.value) == (3, pytest.approx(2 / 3))
    assert (found.low, found.high) == metrics.wilson(2, 3)
    assert audit.estimate([False, True, True], level=0.5).low > found.low


def test_audit_estimate_of_nothing_claims_nothing():
    assert audit.estimate([]) == audit.Estimate(0, None, 0.0, 1.0)


def test_fewer_documents_than_classes_is_no_reason_to_warn():
    y = np.arange(24)  # the suite turns warnings into errors
    assert metrics.macro_f1(y, y) == 1.0
    assert metrics.per_class(y, y, [str(name) for name in y])["3"]["f1"] == 1.0
    assert metrics.confusion(y, y, 24).trace() == 24
