"""What is said of a document: as a file writes it, as the database keeps it, and as an array.

The database keeps text: the name of a class; where a document may have several labels, their names as a JSON list in
alphabetical order, so that equal answers are equal texts. That none of the labels fits is an answer too, and said by
name (`NONE`), in files as in the database: an empty list may be an accident.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from discover.errors import DiscoverError
from discover.pool.document import clean

NONE = "none of these"
Task = Literal["multiclass", "multilabel"]


class Labels(Protocol):
    """The labels of a campaign, and what an answer is.

    Attributes:
        classes: c names; empty where any name will do.
    """

    @property
    def classes(self) -> tuple[str, ...]:
        """The names, in the order of the config."""

    @property
    def nothing(self) -> Any:
        """What files write where nothing is said."""

    def read(self, value: Any) -> str | None:
        """What a file or a caller says, as it is kept; None where it says nothing. What is kept stays as it is.

        Raises:
            DiscoverError: it says something that cannot be.
        """

    def knows(self, kept: str) -> bool:
        """Whether an answer is made of the names alone."""

    def names(self, kept: str) -> list[str]:
        """The labels that an answer gives."""

    def value(self, kept: str) -> Any:
        """An answer as files write it; `read` takes it back."""

    def array(self, kept: Sequence[str]) -> NDArray[np.int64]:
        """(m,) class indices, or (m, c) 0 and 1, of m answers."""

    def kept(self, y: NDArray[np.int64]) -> list[str]:
        """The m answers of an array."""


@dataclass(frozen=True)
class Multiclass:
    """One class a document."""

    classes: tuple[str, ...] = ()
    nothing: ClassVar[str] = ""

    def read(self, value: Any) -> str | None:
        """A text or a number."""
        if isinstance(value, list):
            raise DiscoverError("label is not text: list; several labels a document need label.task: multilabel")
        name = _name(value, "label is not text")
        return None if not name else _known(name, self.classes)

    def knows(self, kept: str) -> bool:
        """Whether it is one of the classes."""
        return not self.classes or kept in self.classes

    def names(self, kept: str) -> list[str]:
        """The one class."""
        return [kept]

    def value(self, kept: str) -> str:
        """Its name."""
        return kept

    def array(self, kept: Sequence[str]) -> NDArray[np.int64]:
        """(m,) class indices."""
        index = {name: number for number, name in enumerate(self.classes)}
        return np.array([index[one] for one in kept], np.int64)

    def kept(self, y: NDArray[np.int64]) -> list[str]:
        """Of (m,) class indices."""
        return [self.classes[one] for one in y.tolist()]


@dataclass(frozen=True)
class Multilabel:
    """Any number of labels a document."""

    classes: tuple[str, ...] = ()
    nothing: ClassVar[None] = None

    def read(self, value: Any) -> str | None:
        """A list of names, as a list or as JSON (a cell of a CSV file); a lone name is a list of one."""
        if isinstance(value, str) and value.lstrip().startswith("["):
            try:
                value = json.loads(value)
            except ValueError as error:
                raise DiscoverError(f"label is not a JSON list: {error}") from error
        if value is None or value == "":
            return None
        listed = value if isinstance(value, list | tuple) else [value]
        found = [_name(one, "label list holds no text") for one in listed]
        if not found:
            raise DiscoverError(f'empty label list: null says that nothing is known, ["{NONE}"] that no label fits')
        if not all(found):
            raise DiscoverError(f"label list holds an empty name: {value!r:.80}")
        if NONE in found and len(set(found)) > 1:
            raise DiscoverError(f"label list contradicts itself: {NONE!r} stands beside others, {value!r:.80}")
        advice = "" if listed is value else ' (several are a list, ["a", "b"])'
        return _listed({_known(name, self.classes, advice) for name in found if name != NONE})

    def knows(self, kept: str) -> bool:
        """Whether all of its labels are among the classes."""
        return not self.classes or set(self.names(kept)) <= set(self.classes)

    def names(self, kept: str) -> list[str]:
        """In alphabetical order."""
        return [name for name in json.loads(kept) if name != NONE]

    def value(self, kept: str) -> list[str]:
        """A list of names."""
        return list(json.loads(kept))

    def array(self, kept: Sequence[str]) -> NDArray[np.int64]:
        """(m, c) 0 and 1."""
        index = {name: number for number, name in enumerate(self.classes)}
        found = np.zeros((len(kept), len(self.classes)), np.int64)
        for row, one in enumerate(kept):
            found[row, [index[name] for name in self.names(one)]] = 1
        return found

    def kept(self, y: NDArray[np.int64]) -> list[str]:
        """Of (m, c) 0 and 1."""
        return [_listed({self.classes[one] for one in np.flatnonzero(row)}) for row in y]


KINDS: dict[Task, Callable[[tuple[str, ...]], Labels]] = {"multiclass": Multiclass, "multilabel": Multilabel}


def labels_of(task: Task, classes: Sequence[str] = ()) -> Labels:
    """The labels of a task."""
    return KINDS[task](tuple(classes))


def to_json(y: NDArray[np.int64]) -> list[Any]:
    """Answers as plain values: class indices, or for each the indices of its labels in a list."""
    return y.tolist() if y.ndim == 1 else [np.flatnonzero(row).tolist() for row in y]


def from_json(values: Sequence[Any], c: int) -> NDArray[np.int64]:
    """The m answers that `to_json` made plain, at least one, about c classes."""
    if not isinstance(values[0], list):
        return np.asarray(values, np.int64)
    found = np.zeros((len(values), c), np.int64)
    for row, one in enumerate(values):
        found[row, one] = 1
    return found


def agree(predicted: NDArray[np.int64], y: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n,) whether two answers are the same, with several labels in all of them."""
    alike = predicted == y
    return alike if alike.ndim == 1 else alike.all(axis=1)


def hashable(y: NDArray[np.int64]) -> list[Any]:
    """Answers as values that compare: class indices, or tuples of 0 and 1."""
    return [tuple(one) if isinstance(one, list) else one for one in y.tolist()]


def strata(y: NDArray[np.int64]) -> NDArray[np.int64]:
    """(m,) what answers are spread by, over folds or among neighbours: their class, of several labels the rarest.

    That of a document without any label is c. To begin with the rarest: Sechidis et al. 2011, "On the stratification
    of multi-label data".
    """
    if y.ndim == 1:
        return y
    often = np.append(y.sum(axis=0), len(y) + 1)
    given = np.pad(y, [(0, 0), (0, 1)], constant_values=1) > 0
    return np.asarray(np.where(given, often, len(y) + 2).argmin(axis=1), np.int64)


def _listed(names: set[str]) -> str:
    return json.dumps(sorted(names) or [NONE], ensure_ascii=False)


def _name(value: Any, complaint: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | None):
        raise DiscoverError(f"{complaint}: {type(value).__name__}")
    return "" if value is None else clean(str(value))


def _known(name: str, classes: tuple[str, ...], advice: str = "") -> str:
    if classes and name not in classes:
        raise DiscoverError(f"label not in the list: {name!r:.80}{advice}")
    return name
