"""The audit sample: answers drawn uniformly and blind, which never train the model that they judge.

They serve two masters that must not share them: the loop's own decisions (when to stop, which temperature) and the
figure that is reported. A decision made on a sample makes that sample's figure optimistic, so each audit document
belongs to one part for good, by a seeded hash of its public id. What counts is the first answer, which is given before
the model's guess is shown (`Queue.audited`).
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from discover.evaluate.metrics import wilson
from discover.label.questions import Labelled

DECIDE, REPORT = "decide", "report"


@dataclass(frozen=True)
class Estimate:
    """A share with its interval: ``value`` of ``n`` answers; None while n is 0, and then the interval is (0, 1)."""

    n: int
    value: float | None
    low: float
    high: float


def part(public_id: str, seed: int) -> str:
    """The part of one audit document, ``decide`` or ``report``, with even odds over seeds and ids."""
    return (DECIDE, REPORT)[hashlib.sha256(f"audit:{seed}:{public_id}".encode()).digest()[0] & 1]


def answers(audited: Iterable[Labelled], part: str) -> list[Labelled]:
    """Those of an arm's audit answers (`Queue.audited`) that are of a part."""
    return [one for one in audited if one.part == part]


def estimate(correct: ArrayLike, level: float = 0.95) -> Estimate:
    """Accuracy from audit answers, with Wilson's interval.

    Args:
        correct: (n,) whether the model was right on each audit document.
        level: of the interval.
    """
    right = np.asarray(correct, bool)
    n, successes = len(right), int(right.sum())
    low, high = wilson(successes, n, level)
    return Estimate(n, successes / n if n else None, low, high)
