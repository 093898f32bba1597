"""The penalty of the head, chosen by the answers themselves."""

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
    chosen = penalty.choose(vectors, classes, prior, Categorical())
    assert chosen == pytest.approx(wanted) if wanted == Categorical.penalties[0] else chosen >= wanted

    def right(strength: float) -> float:
        return float((head.logits(tested, *head.fit(vectors, classes, prior, strength)).argmax(1) == truth).mean())

    assert right(chosen) == max(right(one) for one in (chosen, Categorical.penalties[0], 100 * chosen))
    assert wanted == Categorical.penalties[0] or right(chosen) > right(Categorical.penalties[0]) + 0.02
