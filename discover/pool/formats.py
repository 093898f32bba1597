"""Rows of JSONL, CSV and Parquet files: read line by line, written in a stream.

In CSV a cell that a spreadsheet would take for a formula gets an apostrophe in front, and loses it again when read.
"""

import csv
import gzip
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, cast

from discover.errors import DiscoverError

LINE_BYTES = 1 << 26  # a longer line is skipped, so that memory stays bounded
BATCH = 1000
COLUMNS = ("text", "label", "tokens", "tags", "id", "url", "split", "title", "language", "date")  # what is looked at
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_UNDECODED = re.compile("[\udc80-\udcff]")  # what Python makes of bytes that are not UTF-8

OnBad = Callable[[int, str], None]
Rows = Iterator[tuple[int, Mapping[str, Any]]]


class BadColumns(Exception):
    """A file whose columns cannot be read, include neither ``text`` nor ``tokens``, or one that is looked at twice."""


def kind_of(path: Path) -> str:
    """The kind of file that the name stands for: ``jsonl``, ``csv`` or ``parquet``.

    Raises:
        DiscoverError: none of them.
    """
    name = path.name.lower()
    for kind in ("jsonl", "csv", "parquet"):
        if name.endswith(f".{kind}") or (name.endswith(f".{kind}.gz") and kind != "parquet"):
            return kind
    raise DiscoverError(f"{path} must end in .jsonl, .csv (either also .gz) or .parquet: convert or rename it")


def read_jsonl(handle: IO[bytes], on_bad: OnBad) -> Rows:
    """One object a line; blank lines are passed over."""
    for line, raw in enumerate(iter(lambda: handle.readline(LINE_BYTES), b""), start=1):
        if len(raw) == LINE_BYTES and not raw.endswith(b"\n"):
            while (rest := handle.readline(LINE_BYTES)) and not rest.endswith(b"\n"):
                pass
            on_bad(line, "line too long")
            continue
        try:
            text = raw.decode("utf-8-sig" if line == 1 else "utf-8").strip()
            row = json.loads(text) if text else {}
        except UnicodeDecodeError as error:
            on_bad(line, f"not UTF-8: byte {error.start + 1} of the line")
            continue
        except (ValueError, RecursionError) as error:
            found = "one object a line is expected, found a list over several lines" if text == "[" else error
            on_bad(line, f"not JSON: {found}")
            continue
        if not isinstance(row, dict):
            on_bad(line, f"not JSON: an object is expected, found {type(row).__name__}")
        elif text:
            yield line, row


def read_csv(handle: IO[bytes], on_bad: OnBad) -> Rows:
    """Commas and double quotes, a header line; a row whose quotes do not match is skipped, not read as a longer one.

    The lines that it seemed to go on with are rows of their own, where they have as many cells as there are columns.
    """
    with io.TextIOWrapper(handle, "utf-8-sig", errors="surrogateescape", newline="") as text:
        csv.field_size_limit(max(csv.field_size_limit(), LINE_BYTES))
        yield from _csv_rows(_Lines(text), on_bad)


class _Lines:
    """Lines of a text, as `csv.reader` asks for them; what is longer than `LINE_BYTES` is an error, and passed over.

    Attributes:
        number: of the last line.
        given: of the last line that is given once more.
        row: lines since the last `begin`.
    """

    def __init__(self, text: IO[str]):
        self.text, self.number, self.given = text, 0, 0
        self.row: list[str] = []
        self._again: list[str] = []  # lines that are given once more, the first one last

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._again.pop() if self._again else self.text.readline(LINE_BYTES)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) == LINE_BYTES and line[-1] not in "\r\n":
            while (rest := self.text.readline(LINE_BYTES)) and rest[-1] not in "\r\n":
                pass
            raise csv.Error("line too long")
        self.row.append(line)
        return line

    def begin(self) -> int:
        """The next line begins a row; returns its number."""
        self.row.clear()
        return self.number + 1

    def back(self) -> None:
        """Give all lines of the row but its first once more."""
        again = self.row[:0:-1]
        self._again += again
        self.given = max(self.given, self.number)
        self.number -= len(again)


def _csv_rows(lines: _Lines, on_bad: OnBad) -> Rows:
    reader = csv.reader(lines, strict=True)
    header = [name.strip() for name in next(filter(None, reader), [])]  # blank lines before it are passed over
    if {"text", "tokens"}.isdisjoint(header):
        _check_make(header)
    check_columns(header)
    while True:
        line = lines.begin()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            on_bad(line, f"bad CSV row: {error}")
            lines.back()  # a stray quote has swallowed them
            continue
        if len(cells) > len(header) or (cells and line <= lines.given and len(cells) < len(header)):
            on_bad(line, f"bad CSV row: {len(cells)} cells under {len(header)} columns")
        elif any(_UNDECODED.search(cell) for cell in cells):
            on_bad(line, "not UTF-8")
        elif cells:
            yield line, dict(zip(header, (_plain(cell) for cell in cells), strict=False))


def _check_make(header: list[str]) -> None:
    """Say so where no column is found because the file is another kind of CSV."""
    if any(_UNDECODED.search(name) for name in header):
        raise BadColumns("its first line is not UTF-8: save it as UTF-8")
    if len(header) == 1 and re.search("[;\t|]", header[0]):
        raise BadColumns(f"columns must be parted by commas, found {header[0]!r}: save it so")


def read_parquet(handle: IO[bytes], on_bad: OnBad) -> Rows:
    """Row groups one after the other; only the columns that are looked at."""
    import pyarrow
    from pyarrow import parquet

    row = 0
    try:
        table = parquet.ParquetFile(handle)
        names = table.schema_arrow.names
        check_columns(names)
        for batch in table.iter_batches(BATCH, columns=[name for name in COLUMNS if name in names]):
            for offset in range(batch.num_rows):
                row += 1
                try:
                    found = {name: batch.column(name)[offset].as_py() for name in batch.schema.names}
                except UnicodeDecodeError:
                    on_bad(row, "not UTF-8")
                except OverflowError as error:  # a date that Python cannot hold
                    on_bad(row, f"out of range: {error}")
                except KeyError as error:  # of Arrow's, when it looks for the zone of a date
                    on_bad(row, f"unknown time zone: {error}")
                else:
                    yield row, found
    except pyarrow.ArrowException as error:
        raise OSError(" ".join(str(error).split())) from error


def check_columns(names: Iterable[str]) -> None:
    """Refuse columns that hold no texts, or leave open which is meant; a file without any is merely empty.

    Raises:
        BadColumns: there is no ``text`` and no ``tokens``, or two of a name that is looked at.
    """
    found = list(names)
    listed = ", ".join(map(repr, found))
    twice = next((name for name in COLUMNS if found.count(name) > 1), None)
    if twice is not None:
        raise BadColumns(f"one column {twice!r} is expected, found {listed}: rename the others")
    if found and not {"text", "tokens"} & set(found):
        raise BadColumns(f"one column 'text' is expected, found {listed}: rename the column that holds the texts")


def write_jsonl(rows: Iterable[Mapping[str, Any]], handle: IO[bytes], columns: Sequence[str] = ()) -> None:
    """One object a line, UTF-8 as it is; columns are for the other kinds, each object names its own."""
    for row in rows:
        handle.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")


def write_csv(rows: Iterable[Mapping[str, Any]], handle: IO[bytes], columns: Sequence[str] = ()) -> None:
    """The first row's keys are the header, or without rows the columns; lists and objects are written as JSON."""
    text = io.TextIOWrapper(handle, "utf-8", newline="")
    writer = csv.writer(text)
    rows = iter(rows)
    first = list(islice(rows, 1))
    if names := list(first[0] if first else columns):
        writer.writerow(names)
    for row in chain(first, rows):
        writer.writerow([_cell(row[name]) for name in names])
    text.flush()
    text.detach()


def write_parquet(rows: Iterable[Mapping[str, Any]], handle: IO[bytes], columns: Sequence[str] = ()) -> None:
    """Types come from the first thousand rows, or more while something is empty in all; what stays empty is text.

    Without rows these columns are there, empty.
    """
    import pyarrow
    from pyarrow import parquet

    rows = iter(rows)
    first = list(islice(rows, BATCH))
    schema = pyarrow.Table.from_pylist(first or [dict.fromkeys(columns)]).schema
    while any(_of_nothing(f.type) for f in schema) and (more := list(islice(rows, len(first)))):
        first += more
        schema = pyarrow.Table.from_pylist(first).schema
    text = [pyarrow.field(f.name, _of_text(f.type)) for f in schema]
    with parquet.ParquetWriter(handle, pyarrow.schema(text)) as writer:
        batches = chain([first], iter(lambda: list(islice(rows, BATCH)), []))
        for batch in batches:
            writer.write_table(pyarrow.Table.from_pylist(batch, pyarrow.schema(text)))


@contextmanager
def opened(path: Path, mode: str, packed: bool) -> Iterator[IO[bytes]]:
    """The file, unpacked or packed by gzip where asked; the same content gives the same bytes."""
    with path.open(mode) as raw:
        if packed:
            with gzip.GzipFile(filename="", fileobj=raw, mode=mode, mtime=0) as handle:
                yield cast(IO[bytes], handle)
        else:
            yield cast(IO[bytes], raw)


def _of_nothing(kind: Any) -> bool:
    """Whether nothing was in a part of an Arrow type: text may follow there, or lists."""
    import pyarrow

    if pyarrow.types.is_list(kind):
        return _of_nothing(kind.value_type)
    if pyarrow.types.is_struct(kind):
        return any(_of_nothing(part.type) for part in kind)
    return bool(pyarrow.types.is_null(kind))


def _of_text(kind: Any) -> Any:
    """An Arrow type with text where nothing says what it is, in lists and objects too."""
    import pyarrow

    if pyarrow.types.is_list(kind):
        return pyarrow.list_(_of_text(kind.value_type))
    if pyarrow.types.is_struct(kind):
        return pyarrow.struct([pyarrow.field(part.name, _of_text(part.type)) for part in kind])
    return pyarrow.string() if pyarrow.types.is_null(kind) else kind


def _plain(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def _cell(value: Any) -> Any:
    if isinstance(value, list | tuple | dict):
        return json.dumps(value, ensure_ascii=False)
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value
