"""Answers as arrays: class indices, (m,); with several labels 0 and 1, (m, c); of entities tuples of spans, (m,).

Which of the three it is, an array says itself, by its shape and type.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Span = tuple[int, int, int]  # first character, the one after the last, class index


def to_json(y: NDArray[Any]) -> list[Any]:
    """Answers as plain values: class indices; for each the indices of its labels in a list; or `spans`, each a list."""
    if y.dtype == object:
        return [{"spans": [list(span) for span in one]} for one in y]
    return y.tolist() if y.ndim == 1 else [np.flatnonzero(row).tolist() for row in y]


def from_json(values: Sequence[Any], c: int) -> NDArray[Any]:
    """The m answers that `to_json` made plain, at least one, about c classes."""
    if isinstance(values[0], dict):
        return spans_array([tuple(map(tuple, one["spans"])) for one in values])
    if not isinstance(values[0], list):
        return np.asarray(values, np.int64)
    found = np.zeros((len(values), c), np.int64)
    for row, one in enumerate(values):
        found[row, one] = 1
    return found


def agree(predicted: NDArray[Any], y: NDArray[Any]) -> NDArray[np.bool_]:
    """(n,) whether two answers are the same, with several labels or entities in all of them."""
    alike = predicted == y
    return alike if alike.ndim == 1 else alike.all(axis=1)


def hashable(y: NDArray[Any]) -> list[Any]:
    """Answers as values that compare: class indices, tuples of 0 and 1, or tuples of spans."""
    return [tuple(one) if isinstance(one, list) else one for one in y.tolist()]


def stacked(answers: Sequence[Any]) -> NDArray[Any]:
    """The array of m answers, at least one, that `hashable` made values of."""
    if isinstance(answers[0], tuple) and not any(isinstance(part, int) for one in answers for part in one):
        return spans_array(answers)
    return np.array(answers, np.int64)


def spans_array(answers: Sequence[tuple[Span, ...]]) -> NDArray[np.object_]:
    """(m,) of answers by entities; numpy would make more dimensions of tuples that are equally long."""
    found = np.empty(len(answers), object)
    for row, one in enumerate(answers):
        found[row] = one
    return found


def present(y: NDArray[np.object_], c: int) -> NDArray[np.int64]:
    """(m, c) 0 and 1: whether an answer by entities has any of each class."""
    found = np.zeros((len(y), c), np.int64)
    for row, one in enumerate(y):
        found[row, [label for *_, label in one]] = 1
    return found


def answered(y: NDArray[np.int64], c: int) -> NDArray[np.bool_]:
    """(c,) whether a class, or a label, has an answer at all."""
    return np.asarray(np.bincount(y, minlength=c) if y.ndim == 1 else y.sum(axis=0)) > 0


def strata(y: NDArray[Any]) -> NDArray[np.int64]:
    """(m,) what answers are spread by, over folds or among neighbours: their class, of several labels the rarest.

    That of a document without any label is c, of one without entities -1. To begin with the rarest: Sechidis et al.
    2011, "On the stratification of multi-label data".
    """
    if y.dtype == object:
        types = [{label for *_, label in one} for one in y]
        often = Counter(label for one in types for label in one)
        return np.array([min(one, key=lambda label: (often[label], label), default=-1) for one in types], np.int64)
    if y.ndim == 1:
        return y
    often_given = np.append(y.sum(axis=0), len(y) + 1)
    given = np.pad(y, [(0, 0), (0, 1)], constant_values=1) > 0
    return np.asarray(np.where(given, often_given, len(y) + 2).argmin(axis=1), np.int64)
