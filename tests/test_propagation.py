import numpy as np
import pytest

from discover.learn.propagation import propagate


def two_moons(n: int) -> np.ndarray:
    """Two arcs on a sphere: neighbours lie on one arc, but half of each arc is nearer to the other's answer."""
    angle = np.linspace(0, 2.4, n)
    arcs = [np.stack([np.cos(angle), np.sin(angle), np.full(n, height)], 1) for height in (0.25, -0.25)]
    vectors = np.concatenate(arcs)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_one_answer_an_arc_is_enough():
    vectors = two_moons(60)
    truth = np.repeat([0, 1], 60)
    beliefs = np.full((120, 2), 0.5)
    beliefs[0], beliefs[119] = [1, 0], [0, 1]  # at opposite ends
    found = propagate(vectors, beliefs, neighbours=4)
    assert found.shape == (120, 2) and np.allclose(found.sum(1), 1)
    reached = np.abs(found[:, 0] - 0.5) > 1e-9
    assert reached.sum() > 30 and (found.argmax(1) == truth)[reached].all()


def test_answers_stay_and_a_lone_document_keeps_its_belief():
    vectors = np.eye(4, dtype=np.float32)
    beliefs = np.array([[1, 0], [0, 1], [0.3, 0.7], [0.6, 0.4]])
    assert propagate(vectors, beliefs).argmax(1).tolist() == [0, 1, 1, 0]
    assert propagate(vectors[:1], beliefs[:1]) == pytest.approx(np.array([[1.0, 0.0]]))
