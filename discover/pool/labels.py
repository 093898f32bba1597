"""What is said of a document: as a file writes it, and as the database keeps it; `discover.pool.answers` has arrays.

The database keeps text: the name of a class; where a document may have several labels, their names as a JSON list in
alphabetical order; of named entities a JSON list of their spans, by start: so that equal answers are equal texts. That
none of several labels fits is an answer too, and said by name (`NONE`), in files as in the database: an empty list may
be an accident. Of entities it is the answer that there is none, as every file of entities writes it.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from discover.errors import DiscoverError
from discover.pool import spans
from discover.pool.answers import spans_array
from discover.pool.document import clean, missing

NONE = "none of these"
NO_ENTITY = "no entity"
Task = Literal["multiclass", "multilabel", "spans"]


class Labels(Protocol):
    """The labels of a campaign, and what an answer is.

    Attributes:
        task: what kind of answer it is.
        classes: c names; empty where any name will do.
    """

    @property
    def task(self) -> Task:
        """As a config names it."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The names, in the order of the config."""

    @property
    def nothing(self) -> Any:
        """What files write where nothing is said."""

    def read(self, value: Any, text: str) -> str | None:
        """What a file or a caller says, as it is kept; None where it says nothing. What is kept stays as it is.

        Args:
            value: what is said.
            text: of which text; spans count in it. It need not be cleaned, what is kept counts in the cleaned one.

        Raises:
            DiscoverError: it says something that cannot be.
        """

    def knows(self, kept: str) -> bool:
        """Whether an answer is made of the names alone."""

    def names(self, kept: str) -> list[str]:
        """The labels that an answer gives."""

    def value(self, kept: str) -> Any:
        """An answer as files write it; `read` takes it back."""

    def spoken(self, kept: str, text: str) -> list[str]:
        """What an answer says of its (cleaned) text, in words."""

    def array(self, kept: Sequence[str]) -> NDArray[Any]:
        """(m,) class indices; (m, c) 0 and 1; or (m,) tuples of (start, end, class index), of m answers."""

    def kept(self, y: NDArray[Any]) -> list[str]:
        """The m answers of an array."""


@dataclass(frozen=True)
class Multiclass:
    """One class a document."""

    classes: tuple[str, ...] = ()
    task: ClassVar[Task] = "multiclass"
    nothing: ClassVar[str] = ""

    def read(self, value: Any, text: str) -> str | None:
        """A text or a number."""
        if isinstance(value, list):
            raise DiscoverError(
                "label is not text: list; several labels a document need label.task: multilabel, entities spans"
            )
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

    def spoken(self, kept: str, text: str) -> list[str]:
        """Its name."""
        return [kept]

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
    task: ClassVar[Task] = "multilabel"
    nothing: ClassVar[None] = None

    def read(self, value: Any, text: str) -> str | None:
        """A list of names, as a list or as JSON (a cell of a CSV file); a lone name is a list of one."""
        if isinstance(value, str) and value.lstrip().startswith("["):
            value = _parsed(value)
        if missing(value):
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

    def spoken(self, kept: str, text: str) -> list[str]:
        """Each name, or that none fits."""
        return self.value(kept)

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


@dataclass(frozen=True)
class Spans:
    """Named entities: any number of spans of the text, each of one type, none overlapping another."""

    classes: tuple[str, ...] = ()
    task: ClassVar[Task] = "spans"
    nothing: ClassVar[None] = None

    def read(self, value: Any, text: str) -> str | None:
        """A list of objects with `start`, `end` and `label`, or that as JSON; an empty one says: no entity."""
        if isinstance(value, str) and value:
            value = _parsed(value)
        if missing(value):
            return None
        found = [(start, end, _name(name, "span label is not text")) for start, end, name in spans.placed(value, text)]
        return _spanned((start, end, _known(name, self.classes)) for start, end, name in found)

    def knows(self, kept: str) -> bool:
        """Whether all of its types are among the classes."""
        return not self.classes or set(self.names(kept)) <= set(self.classes)

    def names(self, kept: str) -> list[str]:
        """The types, in the order of the text; as often as they come."""
        return [one["label"] for one in self.value(kept)]

    def value(self, kept: str) -> list[dict[str, Any]]:
        """A list of `start`, `end` and `label`."""
        return list(json.loads(kept))

    def spoken(self, kept: str, text: str) -> list[str]:
        """Each entity with its type, or that there is none."""
        found = [f"{text[one['start'] : one['end']]} ({one['label']})" for one in self.value(kept)]
        return found or [NO_ENTITY]

    def array(self, kept: Sequence[str]) -> NDArray[np.object_]:
        """(m,) tuples, each of (start, end, class index)."""
        index = {name: number for number, name in enumerate(self.classes)}
        return spans_array(
            [tuple((span["start"], span["end"], index[span["label"]]) for span in self.value(one)) for one in kept]
        )

    def kept(self, y: NDArray[np.object_]) -> list[str]:
        """Of (m,) tuples."""
        return [_spanned((start, end, self.classes[label]) for start, end, label in one) for one in y]


KINDS: dict[Task, Callable[[tuple[str, ...]], Labels]] = {
    "multiclass": Multiclass,
    "multilabel": Multilabel,
    "spans": Spans,
}


def labels_of(task: Task, classes: Sequence[str] = ()) -> Labels:
    """The labels of a task."""
    return KINDS[task](tuple(classes))


def _parsed(value: str) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise DiscoverError(f"label is not a JSON list: {error}") from error


def _listed(names: set[str]) -> str:
    return json.dumps(sorted(names) or [NONE], ensure_ascii=False)


def _spanned(found: Iterable[tuple[int, int, str]]) -> str:
    return json.dumps([dict(zip(spans.KEYS, one, strict=True)) for one in found], ensure_ascii=False)


def _name(value: Any, complaint: str) -> str:
    if missing(value):
        return ""
    if isinstance(value, float) and value.is_integer():  # a column of whole numbers that lacks one, to pandas
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise DiscoverError(f"{complaint}: {type(value).__name__}")
    return clean(str(value))


def _known(name: str, classes: tuple[str, ...], advice: str = "") -> str:
    if classes and name not in classes:
        raise DiscoverError(f"label not in the list: {name!r:.80}{advice}")
    return name
