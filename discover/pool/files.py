"""Files in and out: what a row must hold to be a document, what is skipped, and how an export is published.

A row's own ``id`` is kept as ``given_id``, for joining: a document's public id is a hash of its text.
"""

import csv
import itertools
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from discover.db import insert_new
from discover.errors import DiscoverError
from discover.pool import formats, spans
from discover.pool.adding import refusal
from discover.pool.document import Document, clean, missing
from discover.pool.formats import OnBad
from discover.pool.labels import Labels, Multiclass
from discover.pool.pool import Pool
from discover.progress import progress
from discover.run import publish
from discover.tables import rejection

ANY_CLASS = Multiclass()
UNLABELLED = "for testing, but without a label"
REMEMBERED = 10_000  # skipped lines of one file; the others are only counted
READ = {"jsonl": formats.read_jsonl, "csv": formats.read_csv, "parquet": formats.read_parquet}
WRITE = {"jsonl": formats.write_jsonl, "csv": formats.write_csv, "parquet": formats.write_parquet}


def read_documents(path: Path, on_bad: OnBad, labels: Labels | None = ANY_CLASS) -> Iterator[Document]:
    """Stream the documents of a file, their texts cleaned.

    Args:
        path: a .jsonl, .csv or .parquet file; the first two may end in .gz.
        on_bad: called with the line (of Parquet the row, both from 1) and the reason for each that is skipped.
        labels: what a document may be said to be; none: that is not looked at, nor is the split.

    Raises:
        DiscoverError: the file is missing, damaged, of an unknown kind, or has no column ``text`` (or ``tokens``).
    """
    return (found for _, found in _numbered(path, on_bad, labels))


def import_files(
    pool: Pool, paths: Sequence[Path], labels: Labels, report: Callable[[str], None] | None = None
) -> Counter[str]:
    """Add the documents of files; what is skipped is counted by reason, and kept with its line in `rejection`.

    Test documents without a label are held out, but measure nothing unless a simulated oracle knows them: they are
    counted besides.

    Args:
        pool: where they go.
        paths: files as for `read_documents`.
        labels: what a document may be said to be.
        report: called with ``file:line: reason`` for each line that is skipped.

    Raises:
        DiscoverError: a file cannot be read, or there is nothing usable in any of them.
    """
    for path in paths:
        check_readable(path)
    counts: Counter[str] = Counter()
    examples: list[str] = []
    for path in paths:
        skipped = _Skipped(path, report)
        counts += pool.add(progress(_usable(path, labels, skipped), None, f"importing {path.name}"))
        with pool.database.write() as connection:
            insert_new(connection, rejection, skipped.rows)
        counts += skipped.counts
        examples += skipped.first
    if not counts["new"] + counts["seen"]:
        why = examples[0] if examples else ", ".join(counts) or "no rows"
        raise DiscoverError(
            f"nothing usable in {', '.join(map(str, paths))} ({why}): a row needs a `text`, and a `label`, "
            "where it has one, that label.classes lists"
        )
    return counts


def check_readable(path: Path) -> str:
    """The kind of a file that can be read, as `formats.kind_of` has it.

    Raises:
        DiscoverError: the kind is unknown, or the file cannot be opened.
    """
    kind = formats.kind_of(path)
    try:
        path.open("rb").close()
    except OSError as error:
        raise DiscoverError(f"{path} cannot be read ({error.strerror}): check its name and place") from error
    return kind


def export_rows(rows: Iterable[Mapping[str, Any]], path: Path, columns: Sequence[str] = ()) -> int:
    """Write rows to a .jsonl, .csv or .parquet file, which appears whole or not at all; returns how many there were.

    Args:
        rows: each with the same keys; an ``id`` is a public id, text.
        path: the first two kinds may end in .gz.
        columns: those keys, for a file without rows.

    Raises:
        DiscoverError: the kind is unknown, or the file cannot be written.
    """
    write = WRITE[formats.kind_of(path)]
    written = itertools.count()
    numbered = zip(map(_with_text_id, rows), written, strict=False)
    try:
        with publish(path) as scratch, formats.opened(scratch, "wb", path.suffix.lower() == ".gz") as handle:
            write((row for row, _ in numbered), handle, columns)
    except OSError as error:
        raise DiscoverError(f"{path} cannot be written ({error.strerror or error}): choose another place") from error
    return next(written)


class _Skipped:
    """Counts and remembers the lines of one file that are not taken."""

    def __init__(self, path: Path, report: Callable[[str], None] | None):
        self.path, self.report = path, report
        self.counts: Counter[str] = Counter()
        self.rows: list[dict[str, Any]] = []
        self.first: list[str] = []

    def __call__(self, line: int, reason: str) -> None:
        name, _, detail = reason.partition(": ")
        place = f"{self.path.as_posix()}:{line}"
        self.counts[name] += 1
        if len(self.rows) < REMEMBERED:
            self.rows.append(refusal(place, name, detail))
        self.first = self.first or [f"{place}: {reason}"]
        if self.report:
            self.report(f"{place}: {reason}")


def _usable(path: Path, labels: Labels, on_bad: _Skipped) -> Iterator[Document]:
    for _, found in _numbered(path, on_bad, labels):
        if found.split == "test" and found.label is None:
            on_bad.counts[UNLABELLED] += 1
        yield found


def _numbered(path: Path, on_bad: OnBad, labels: Labels | None) -> Iterator[tuple[int, Document]]:
    read = READ[check_readable(path)]
    line = 0
    try:
        with formats.opened(path, "rb", path.suffix.lower() == ".gz") as handle:
            for line, row in read(handle, on_bad):
                found = _document(row, f"{path.as_posix()}:{line}", labels)
                if isinstance(found, str):
                    on_bad(line, found)
                else:
                    yield line, found
    except formats.BadColumns as error:
        raise DiscoverError(f"{path}: {error}") from error
    except csv.Error as error:  # of a later row: that one is skipped
        raise DiscoverError(
            f"{path}: line 1 must name the columns, but {error}: quote a name as a whole, or not at all"
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DiscoverError(f"{path} is damaged after line {line} ({reason}): give a whole file") from error


def _document(row: Mapping[str, Any], place: str, labels: Labels | None) -> Document | str:
    """The document that a row holds, or why it holds none."""
    try:
        row = {name: _decoded(name, value) for name, value in row.items() if not missing(value)}
        raw, said = _said(row, labels) if labels else (_unlabelled(row), None)
        if not isinstance(raw, str) or not (text := clean(raw)):
            return "no text"
        label = labels.read(said, raw) if labels else None
        url, title, language, date, given_id = (_plain(row, n) for n in ("url", "title", "language", "date", "id"))
    except DiscoverError as error:
        return str(error)
    split = row.get("split") if labels else None
    if split not in (None, "train", "test"):
        return f"split is not train or test: {split!r:.40}"
    return Document(text, url or place, title, language, date, label, split or "train", given_id=given_id)


def _decoded(name: str, value: Any) -> Any:
    """A value of a column, as text where a Parquet file has that as bytes."""
    try:
        return value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError as error:
        raise DiscoverError(f"{name} is not UTF-8: {value!r:.80}; write it as text") from error


def _plain(row: Mapping[str, Any], name: str) -> str:
    """What stands in a column, as text."""
    value = row.get(name, "")
    if isinstance(value, float) and value.is_integer():  # a column of whole numbers that lacks one, to pandas
        value = int(value)
    return clean(str(value))


def _said(row: Mapping[str, Any], labels: Labels) -> tuple[Any, Any]:
    """The text of a row, not cleaned, and what is said of it; from `tokens` and `tags` where there is no such thing."""
    text, tokens, tags, label = (row.get(n) for n in ("text", "tokens", "tags", "label"))
    if tokens is None or (text is not None and (labels.task != "spans" or label is not None or tags is None)):
        return text, label
    if labels.task != "spans":
        raise DiscoverError("no text: tokens and tags are named entities, which need label.task: spans")
    joined, found = spans.joined(tokens, tags)
    if text is None and found is None and label is not None:
        raise DiscoverError("label without text: spans count its characters, and tokens alone have none: give the text")
    if text is not None and clean(str(text)) != clean(joined):
        raise DiscoverError(
            "tags do not fit the text: it is not its tokens with a space between; leave one of both out"
        )
    return joined, found


def _unlabelled(row: Mapping[str, Any]) -> Any:
    """The text of a row, whatever is said of it."""
    text, tokens = row.get("text"), row.get("tokens")
    return text if text or tokens is None else spans.joined(tokens, None)[0]


def _with_text_id(row: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(row.get("id", ""), str):
        raise TypeError(f"ids leave as text, got {row['id']!r}: row ids stay inside")
    return row
