"""The penalty of the head, its strength and its directions, chosen by the answers themselves."""

import numpy as np
import pytest

from discover.learn import head, penalty
from discover.learn.likelihood import Categorical

CLASSES, DIMENSION = 3, 64


def drawn(count: int, spread: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors around three corners, as far from them as told, and their classes."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(CLASSES, size=count)
    vectors = np.eye(DIMENSION)[classes] + spread * rng.normal(size=(count, DIMENSION))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), classes


@pytest.mark.parametrize(("spread", "wanted"), [(0.1, 0.2), (0.5, 5.4)])
def test_overlapping_classes_ask_for_more_of_it_and_predict_better_with_it(spread: float, wanted: float) -> None:
    (vectors, classes), (tested, truth) = drawn(300, spread, 0), drawn(2000, spread, 1)
    prior = np.zeros((CLASSES, DIMENSION), np.float32)
    nobody = np.empty((0, DIMENSION), np.float32)
    chosen, power = penalty.choose(vectors, classes, prior, Categorical(), nobody, Categorical.penalties, (1.0, 0.0))
    assert power == 0, "without documents to compare with, all directions are the same"
    assert chosen == pytest.approx(wanted) if wanted == Categorical.penalties[0] else chosen >= wanted

    def right(strength: float) -> float:
        fitted = head.fit(vectors, classes, prior, head.Penalty(strength))
        return float((head.logits(tested, *fitted).argmax(1) == truth).mean())

    assert right(chosen) == max(right(one) for one in (chosen, Categorical.penalties[0], 100 * chosen))
    assert wanted == Categorical.penalties[0] or right(chosen) > right(Categorical.penalties[0]) + 0.02


@pytest.mark.parametrize(("apart", "wanted"), [("most", 1.0), ("least", 0.0)])
def test_the_directions_of_the_documents_are_kept_to_where_that_helps(apart: str, wanted: float) -> None:
    """Classes lie apart where documents differ most, or where they differ least."""
    rng = np.random.default_rng(0)
    deviations = np.geomspace(1, 0.1, DIMENSION)
    centres = np.zeros((CLASSES, DIMENSION))
    here = slice(0, 4) if apart == "most" else slice(-4, None)
    centres[:, here] = rng.normal(size=(CLASSES, 4)) * deviations[here] * 3

    def some(count: int) -> tuple[np.ndarray, np.ndarray]:
        classes = rng.integers(CLASSES, size=count)
        vectors = centres[classes] + deviations * rng.normal(size=(count, DIMENSION))
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), classes

    (vectors, classes), (around, _), (tested, truth) = some(60), some(1000), some(2000)
    prior = np.zeros((CLASSES, DIMENSION), np.float32)

    def right(strength: float, power: float) -> float:
        fitted = head.fit(vectors, classes, prior, head.Penalty(strength, head.root_of(around, power)))
        return float((head.logits(tested, *fitted).argmax(1) == truth).mean())

    chosen = penalty.choose(vectors, classes, prior, Categorical(), around, Categorical.penalties, (1.0, 0.5, 0.0))
    assert chosen[1] == wanted
    other = max(right(strength, 1 - wanted) for strength in Categorical.penalties)
    assert right(*chosen) > other + 0.02


@pytest.mark.parametrize("few", [1, 2, 5, 30])
def test_a_handful_of_unanswered_documents_does_not_hold_the_head_to_their_directions(few: int) -> None:
    (vectors, classes), (around, _), (tested, truth) = drawn(60, 0.3, 0), drawn(few, 0.3, 1), drawn(2000, 0.3, 2)
    prior = np.zeros((CLASSES, DIMENSION), np.float32)

    def right(one: head.Penalty) -> float:
        return float((head.logits(tested, *head.fit(vectors, classes, prior, one)).argmax(1) == truth).mean())

    assert right(penalty.paid(0.2, 1.0, vectors, around)) > right(head.Penalty(0.2)) - 0.02


def test_without_unanswered_documents_all_directions_are_the_same_and_a_fixed_power_stays() -> None:
    vectors, classes = drawn(120, 0.3, 0)
    nobody, prior = np.empty((0, DIMENSION), np.float32), np.zeros((CLASSES, DIMENSION), np.float32)
    assert penalty.paid(0.2, 1.0, vectors, nobody) == head.Penalty(0.2)
    assert penalty.choose(vectors, classes, prior, Categorical(), nobody, (0.2, 0.6), (1.0,))[1] == 1.0
