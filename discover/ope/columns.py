"""The named columns of a table: read whole, each value checked as it is asked for, errors with row and field."""

import csv
import difflib
import fnmatch
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover.errors import DiscoverError
from discover.ope.feedback import Floats
from discover.pool import formats

ROLES = ("action", "reward", "propensity", "position", "context", "target", "unit", "step", "batch", "time")
NEEDED = ("action", "reward", "propensity")
MISSING = ("", "na", "n/a", "nan", "null", "none")  # among numbers, as R, pandas and others write it
INTEGER = re.compile(r"0|-?[1-9]\d{0,999}", re.ASCII)  # as it is written; 007 is a name
DIGITS = 1000  # of a whole number: Python refuses those of several thousand
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
ENDING = re.compile(r"(\d{1,9})$", re.ASCII)  # of a numbered column's name
WHOLE = re.compile(r"-?\d+\.0+")  # as pandas writes whole numbers into CSV where one of them is missing


@dataclass(frozen=True, eq=False)
class Columns:
    """A table by columns.

    Attributes:
        path: where it was read, for messages.
        names: what the table calls each role.
        values: of each column, one a row, as read.
    """

    path: Path
    names: Mapping[str, str]
    values: Mapping[str, list[Any]]

    @classmethod
    def read(cls, path: Path, names: Mapping[str, str], needed: tuple[str, ...] = NEEDED) -> "Columns":
        """Read a file; `names` says what it calls a role, by default as the role is called.

        Raises:
            DiscoverError: it cannot be read, is empty, a row lacks a column, or a role or needed column does not exist.
        """
        for role in names:
            if role not in (*ROLES, *needed):
                close = difflib.get_close_matches(role, ROLES, n=1)
                raise DiscoverError(f"columns are {', '.join(ROLES)}, found {role!r}{_meant(close)}")
        values = _read(path)
        found = cls(path, {**{role: role for role in (*ROLES, *needed) if role in values}, **names}, values)
        for role in needed:
            found.column(found.names.get(role, role), role)
        return found

    def __contains__(self, role: str) -> bool:
        return role in self.names

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))

    def column(self, name: str, role: str = "") -> list[Any]:
        """One column's values.

        Raises:
            DiscoverError: there is none of this name.
        """
        if name not in self.values:
            close = difflib.get_close_matches(name, self.values, n=1)
            how = f", or say which it is: --columns {role}=…" if role else ""
            raise DiscoverError(
                f"{self.path} has no column {name!r}{_meant(close)}: it has {', '.join(self.values)}{how}"
            )
        return self.values[name]

    def expand(self, words: str, *, ordered: bool) -> list[str]:
        """The columns of ``a+b`` or ``a_*``, those of a pattern in the table's order.

        Args:
            words: names and patterns.
            ordered: whether a column's place means something: then numbered ones must stand in their order.

        Raises:
            DiscoverError: one matches no column, or they are in another order.
        """
        found: list[str] = []
        for word in words.split("+"):
            matching = [name for name in self.values if fnmatch.fnmatchcase(name, word)]
            numbers = [int(number[1]) for name in matching if (number := ENDING.search(name))]
            if ordered and len(numbers) == len(matching) and numbers != sorted(numbers):
                raise DiscoverError(
                    f"{self.path}: the columns of {word!r} must stand in the order of their numbers, found "
                    f"{', '.join(matching)}: name them in their order, a_0+a_1+…, or write the table so"
                )
            found += matching or [word]
            self.column(found[-1])
        return found

    def labels(self, role: str) -> NDArray[np.str_]:
        """(n,) values as words; whole numbers are written without a point.

        Raises:
            DiscoverError: one is missing.
        """
        name = self.names.get(role, role)
        return np.array([self._label(name, row, value) for row, value in enumerate(self.column(name, role), start=1)])

    def numbers(self, role: str) -> Floats:
        """(n,) values as numbers.

        Raises:
            DiscoverError: one is missing, or no number.
        """
        return self.numbers_of(self.names.get(role, role))

    def numbers_of(self, name: str) -> Floats:
        """The same of a column by its own name."""
        return np.array([self._number(name, row, value) for row, value in enumerate(self.column(name), start=1)])

    def codes(self, role: str) -> NDArray[np.int64]:
        """(n,) whole numbers as they are; names, of which 3.1 and 3.10 are two, are numbered.

        Raises:
            DiscoverError: one is missing.
        """
        labels = self.labels(role).tolist()
        return _ranked([int(label) for label in labels] if all(map(INTEGER.fullmatch, labels)) else labels)

    def order(self, role: str) -> NDArray[np.int64]:
        """(n,) whole numbers as they are; fractions, or dates and times, are numbered in their order.

        Raises:
            DiscoverError: one is missing, or a word, which does not tell its place.
        """
        labels = self.labels(role).tolist()
        kind = _instant if _number(labels[0]) is None else _number
        found = [kind(label) for label in labels]
        if None in found:
            row, wanted = found.index(None), "a number in each row, or a date and time in each (2026-01-31 12:00)"
            raise self._wrong(self.names.get(role, role), row + 1, labels[row], wanted)
        return _ranked(found)

    def lists_of(self, name: str) -> Floats | None:
        """(n, k) numbers of a column of lists, NaN where a list or a number is missing; None of any other column.

        Raises:
            DiscoverError: one is no list, of another length, or holds what is no number.
        """
        values = [_unpacked(value) for value in self.column(name)]
        first = next((row for row, value in enumerate(values) if not missing(value)), 0)
        if not isinstance(values[first], list):
            return None
        k = len(values[first])
        for row, value in enumerate(values, start=1):
            if not missing(value) and (not isinstance(value, list) or len(value) != k):
                raise self._wrong(name, row, value, f"a list of {k} numbers, as in row {first + 1}")
        lists = ([None] * k if missing(value) else value for value in values)
        return np.array(
            [
                [np.nan if missing(x) else self._number(name, row, x) for x in one]
                for row, one in enumerate(lists, start=1)
            ]
        )

    def _label(self, name: str, row: int, value: Any) -> str:
        if value is None or value == "" or value != value:
            raise self._wrong(name, row, value, "a value")
        word = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
        return word.partition(".")[0] if WHOLE.fullmatch(word) else word

    def _number(self, name: str, row: int, value: Any) -> float:
        try:
            if isinstance(value, str | int | float | Decimal):
                return float(value)
        except (ValueError, OverflowError):
            pass
        raise self._wrong(name, row, value, "a number")

    def _wrong(self, name: str, row: int, value: Any, wanted: str) -> DiscoverError:
        said = "nothing" if value is None or value == "" else f"{value!r:.80}"
        return DiscoverError(
            f"{self.path}, row {row}: {name} must be {wanted}, found {said}: mend the row or leave it out"
        )


def _read(path: Path) -> dict[str, list[Any]]:
    kind = formats.kind_of(path)
    try:
        if kind == "parquet":
            from pyarrow import ArrowException, parquet

            try:
                values = {name: list(column) for name, column in parquet.read_table(path).to_pydict().items()}
            except (ArrowException, OverflowError, KeyError) as error:  # a date out of range; an unknown time zone
                raise OSError(" ".join(str(error).split())) from error
        else:
            with formats.opened(path, "rb", path.suffix.lower() == ".gz") as handle:
                lines = io.StringIO(handle.read().decode("utf-8-sig"), newline=None).readlines()
            values = _by_column(path, _jsonl(path, lines) if kind == "jsonl" else _csv(path, lines))
    except (OSError, UnicodeDecodeError) as error:
        raise DiscoverError(f"{path} cannot be read ({error}): check the name and the file") from error
    if not values or not len(next(iter(values.values()))):
        raise DiscoverError(f"{path} must hold at least one row, found none: log decisions first")
    return values


def _jsonl(path: Path, lines: list[str]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for line in lines:
        if line.strip():
            try:
                row = json.loads(line, object_pairs_hook=_once)
            except (ValueError, RecursionError) as error:
                raise DiscoverError(f"{path}, row {len(rows) + 1}: JSON is expected, {error}: mend the row") from error
            if not isinstance(row, dict):
                raise DiscoverError(f"{path}, row {len(rows) + 1}: an object is expected, found {row!r}: mend the row")
            rows.append(row)
    return rows


def _csv(path: Path, lines: list[str]) -> list[dict[str, Any]]:
    csv.field_size_limit(max(csv.field_size_limit(), formats.LINE_BYTES))
    reader = csv.reader(lines, strict=True)  # or an open quote would swallow the rows that follow
    rows: list[dict[str, Any]] = []
    try:
        header = [name.strip() for name in next(filter(None, reader), [])]
        twice = next((name for at, name in enumerate(header) if name in header[:at]), None)
        if twice is not None:
            raise DiscoverError(f"{path}: the header has the column {twice!r} twice: rename one of them")
        for cells in filter(None, reader):
            if len(cells) != len(header):
                raise DiscoverError(
                    f"{path}, row {len(rows) + 1}: {len(header)} cells are expected as in the header, found "
                    f"{len(cells)}: mend the row, or do not mix tables"
                )
            rows.append(dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        raise DiscoverError(f"{path}, row {len(rows) + 1}: CSV is expected, {error}: mend the row") from error
    return rows


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, each key of which is there once."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} is there twice")
    return found


def _by_column(path: Path, rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    names = list(rows[0]) if rows else []
    for number, row in enumerate(rows, start=1):
        if row.keys() != rows[0].keys():
            differing = sorted(row.keys() ^ rows[0].keys())
            raise DiscoverError(
                f"{path}, row {number}: the columns of row 1 are expected, and {', '.join(map(repr, differing))} "
                f"{'is' if len(differing) == 1 else 'are'} in one of them only: do not mix tables"
            )
    return {name: [row[name] for row in rows] for name in names}


def _number(label: str) -> int | float | None:
    """What a word says; None where it is no number. Python itself would read 1_11 as one."""
    if not NUMBER.fullmatch(label):
        return None
    return int(label) if label.lstrip("+-").isdigit() and len(label) < DIGITS else float(label)


def _instant(label: str) -> float | None:
    """Seconds since 1970 of a date and time as ISO 8601 writes them, without a zone in UTC; None of any other word."""
    try:
        found = datetime.fromisoformat(label)
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _ranked(values: Any) -> NDArray[np.int64]:
    """(n,) whole numbers as they are, where 64 bits hold them; others numbered in their order."""
    if all(isinstance(value, int) and abs(value) < 2**63 for value in values):
        return np.array(values, np.int64)
    return np.unique(np.array(values, object), return_inverse=True)[1].astype(np.int64)


def _unpacked(value: Any) -> Any:
    """A list that CSV holds as JSON."""
    if isinstance(value, str) and value.startswith("["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def missing(value: Any) -> bool:
    """Whether a cell says that it has no value."""
    return value is None or value != value or (isinstance(value, str) and value.strip().lower() in MISSING)


def _meant(close: list[str]) -> str:
    return f", did you mean {close[0]!r}?" if close else ""
