"""Files in and out of the pool."""

import csv
import gzip
import json
import os
from pathlib import Path

import pytest
from pyarrow import parquet

from discover.db import Database
from discover.errors import DiscoverError
from discover.pool.config import PoolConfig
from discover.pool.document import Document, clean
from discover.pool.files import WRITE, export_rows, import_files, read_documents
from discover.pool.labels import Multiclass
from discover.pool.pool import Pool
from discover.tables import rejection
from tests.real_data import DATA

KINDS = ["jsonl", "jsonl.gz", "csv", "csv.gz", "parquet"]
ROW = {
    "id": "0" * 32,
    "text": "a text that is long enough",
    "label": "yes",
    "split": "train",
    "url": "https://a.example",
}


@pytest.fixture
def pool(database: Database) -> Pool:
    return Pool(database, PoolConfig())


def read(path: Path) -> tuple[list[Document], list[tuple[int, str]]]:
    bad: list[tuple[int, str]] = []
    documents = list(read_documents(path, lambda line, reason: bad.append((line, reason))))
    return documents, bad


def places(pool: Pool) -> set[tuple[str, str]]:
    with pool.database.read() as connection:
        return {(Path(row.address).name, row.reason) for row in connection.execute(rejection.select())}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_read_back(kind: str, tmp_path: Path):
    texts = [
        "=SUM(A1) is what it says",
        "'=already quoted",
        "''-twice quoted",
        "'an apostrophe alone",
        '"quoted", with, commas',
        "two\nlines, and\n\na third",
        "ünïcödé 漢字 \U0001f600",
        "@someone said so",
        "-12 degrees",
        "+49 30 123",
    ]
    rows = [dict(ROW, text=text, label=label) for text, label in zip(texts, ["-1", None] * 5, strict=True)]
    path = tmp_path / f"out.{kind}"
    assert export_rows(iter(rows), path) == 10
    documents, bad = read(path)
    assert bad == []
    assert [document.text for document in documents] == texts
    assert [document.label for document in documents] == ["-1", None] * 5
    assert {document.address for document in documents} == {"https://a.example"}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_of_an_exported_csv_starts_a_formula(start: str, tmp_path: Path):
    export_rows([dict(ROW, text=f"{start}cmd|' /C calc'!A0", label=f"{start}1")], tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as handle:
        cells = [cell for row in csv.reader(handle) for cell in row]
    assert not [cell for cell in cells if cell[:1] in "=+-@\t\r"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_export_without_rows_is_a_readable_file(kind: str, tmp_path: Path):
    assert export_rows([], tmp_path / f"out.{kind}") == 0
    assert read(tmp_path / f"out.{kind}") == ([], [])


def test_an_export_without_rows_has_its_columns(tmp_path: Path):
    for kind in ("csv", "parquet"):
        assert export_rows([], tmp_path / f"out.{kind}", ("id", "text")) == 0
        assert read(tmp_path / f"out.{kind}") == ([], [])
    assert (tmp_path / "out.csv").read_text() == "id,text\n"
    assert parquet.read_schema(tmp_path / "out.parquet").names == ["id", "text"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_failed_export_leaves_the_old_file_and_nothing_else(kind: str, tmp_path: Path):
    path = tmp_path / f"out.{kind}"
    export_rows([ROW], path)
    before = path.read_bytes()

    def rows():
        yield from [ROW] * 5000
        raise KeyError("a row could not be made")

    with pytest.raises(KeyError):
        export_rows(rows(), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_a_rows_own_id_comes_along_for_joining(kind: str, pool: Pool, tmp_path: Path):
    path = tmp_path / f"in.{kind}"
    export_rows([{"id": one, "text": f"a text that is long enough, {one}"} for one in ("ticket-7", "8", "")], path)
    assert [document.given_id for document in read(path)[0]] == ["ticket-7", "8", ""]
    import_files(pool, [path], Multiclass())
    pool.intake()
    assert {document.given_id for document in pool.documents()} >= {"8", "ticket-7"}


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_what_pandas_lacks_is_not_said(kind: str, tmp_path: Path):
    """A column of floats has NaN where it lacks one, in JSON and in Parquet."""
    names = ("id", "label", "split", "url", "title", "language", "date")
    with (tmp_path / f"in.{kind}").open("wb") as handle:
        WRITE[kind]([{"text": "a text", **dict.fromkeys(names, float("nan"))}], handle)
    documents, bad = read(tmp_path / f"in.{kind}")
    assert (documents, bad) == ([Document("a text", f"{(tmp_path / f'in.{kind}').as_posix()}:1")], [])
    (tmp_path / "in.jsonl").write_text('{"text": NaN}\n{"text": "a text", "tokens": NaN, "tags": NaN}\n')
    documents, bad = read(tmp_path / "in.jsonl")
    assert [one.text for one in documents] == ["a text"] and bad == [(1, "no text")]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_whole_numbers_among_missing_ones_are_whole(kind: str, tmp_path: Path):
    rows = [{"text": f"text {number}", "id": number, "date": 2020.0} for number in (0.0, 1e15, float("nan"), 0.5)]
    with (tmp_path / f"in.{kind}").open("wb") as handle:
        WRITE[kind](rows, handle)
    documents, bad = read(tmp_path / f"in.{kind}")
    assert [one.given_id for one in documents] == ["0", "1000000000000000", "", "0.5"] and not bad
    assert {one.date for one in documents} == {"2020"}


def test_bytes_that_are_text_are_read_as_that(tmp_path: Path):
    with (tmp_path / "in.parquet").open("wb") as handle:
        WRITE["parquet"](
            [{"text": f"text {one!r}", "id": one} for one in (b"ticket-7", "größe".encode(), b"\xff")], handle
        )
    documents, bad = read(tmp_path / "in.parquet")
    assert [one.given_id for one in documents] == ["ticket-7", "größe"]
    assert bad == [(3, r"id is not UTF-8: b'\xff'; write it as text")]
    with (tmp_path / "in.parquet").open("wb") as handle:
        WRITE["parquet"]([{"text": "größe".encode(), "label": b"a"}], handle)
    assert [(one.text, one.label) for one in read(tmp_path / "in.parquet")[0]] == [("größe", "a")]


@pytest.mark.parametrize("kind", KINDS)
def test_half_a_character_in_a_rows_own_id_is_dropped(kind: str, tmp_path: Path):
    (tmp_path / "in.jsonl").write_text('{"text": "a text", "id": "7\\ud83d"}\n')
    (document,), _ = read(tmp_path / "in.jsonl")
    export_rows([{"id": document.public_id, "given_id": document.given_id}], tmp_path / f"out.{kind}")
    assert document.given_id == "7"


def test_row_ids_never_leave_as_numbers(tmp_path: Path):
    with pytest.raises(TypeError, match="ids leave as text"):
        export_rows([dict(ROW, id=7)], tmp_path / "out.jsonl")


def test_the_same_rows_give_the_same_bytes(tmp_path: Path):
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        export_rows([ROW] * 3, tmp_path / name)
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()


def test_an_export_to_nowhere_is_one_line(tmp_path: Path):
    for path in (tmp_path / "missing" / "out.csv", tmp_path / "out.xlsx"):
        with pytest.raises(DiscoverError, match=r"out\.(csv cannot be written|xlsx must end in)"):
            export_rows([ROW], path)
    (tmp_path / "file").write_text("")
    with pytest.raises(DiscoverError, match="cannot be written"):
        export_rows([ROW], tmp_path / "file" / "out.jsonl")


def test_bad_lines_are_counted_with_their_numbers_and_the_rest_is_imported(pool: Pool, tmp_path: Path):
    path = tmp_path / "mixed.jsonl"
    good = [json.dumps({"text": f"a good line, number {n} of them", "label": "yes"}).encode() for n in range(3)]
    lines = [
        b"\xef\xbb\xbf" + good[0],
        b'{"text": "broken',
        b'{"text": "not UTF-8: \xff\xfe and more text"}',
        b"",
        b"[1, 2]",
        b'{"text": 12}',
        b'{"text": "  \\u200b "}',
        b'{"text": "a lone \\ud800 surrogate is dropped"}',
        json.dumps({"text": "a label that nobody asked for", "label": "maybe"}).encode(),
        json.dumps({"text": "a split that is not a split", "split": "dev"}).encode(),
        json.dumps({"text": "a label that is a list", "label": ["yes"]}).encode(),
        b"[" * 100_000,
        good[1],
        json.dumps({"text": "word " * 2_500_000}).encode(),  # 12 MB
        b'{"text": "short"}',
        good[2],  # no newline at the end
    ]
    path.write_bytes(b"\n".join(lines))
    said: list[str] = []
    counts = import_files(pool, [path], Multiclass(("yes", "no")), said.append)
    assert counts == {
        "new": 4,
        "not JSON": 3,
        "not UTF-8": 1,
        "no text": 2,
        "label not in the list": 1,
        "split is not train or test": 1,
        "label is not text": 1,
        "long": 1,
        "short": 1,
    }
    assert places(pool) == {
        ("mixed.jsonl:2", "not JSON"),
        ("mixed.jsonl:3", "not UTF-8"),
        ("mixed.jsonl:5", "not JSON"),
        ("mixed.jsonl:6", "no text"),
        ("mixed.jsonl:7", "no text"),
        ("mixed.jsonl:9", "label not in the list"),
        ("mixed.jsonl:10", "split is not train or test"),
        ("mixed.jsonl:11", "label is not text"),
        ("mixed.jsonl:12", "not JSON"),
        ("mixed.jsonl:14", "long"),
        ("mixed.jsonl:15", "short"),
    }
    assert len(said) == 9 and f"{path}:2: not JSON" in said[0]
    assert import_files(pool, [path], Multiclass(("yes", "no")))["seen"] == 4
    assert len(places(pool)) == 11


def test_a_line_without_end_does_not_fill_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("discover.pool.formats.LINE_BYTES", 1000)
    path = tmp_path / "long.jsonl"
    path.write_text('{"text": "' + "x" * 5500 + '"}\n{"text": "the next one"}\n')
    documents, bad = read(path)
    assert [document.text for document in documents] == ["the next one"]
    assert bad == [(1, "line too long")]
    path = tmp_path / "long.csv"
    path.write_text(f"text,label\n{'x,' * 2750}\nthe next one,a\n")
    documents, bad = read(path)
    assert [(document.text, document.address.rpartition(":")[2]) for document in documents] == [("the next one", "3")]
    assert bad == [(2, "bad CSV row: line too long")]


def test_csv_with_odd_quoting(tmp_path: Path):
    path = tmp_path / "odd.csv"
    path.write_bytes(
        b"\xef\xbb\xbflabel,text, split \r\n"
        b'yes,"a ""quoted"" word, and a comma",test\r\n'
        b'no,"two\r\nlines",train\r\n'
        b'yes,"never closed,train\r\n'
        b'no,"closed ""too"" late" here,train\r\n'
        b'yes,a "quote" inside is fine,\r\n'
        b"no,too,many,cells\r\n"
        b"no,\xff\xfe,train\r\n"
        b"\r\n"
        b"no,a short row\r\n"
        b'yes,"nor is this one closed,train\r\n'
        b"no,a row of its own,train\r\n"
        b"or a text that was cut off with its file\r\n"
    )
    documents, bad = read(path)
    assert [(document.text, document.label, document.split) for document in documents] == [
        ('a "quoted" word, and a comma', "yes", "test"),
        ("two\nlines", "no", "train"),
        ('a "quote" inside is fine', "yes", "train"),
        ("a short row", "no", "train"),
        ("a row of its own", "no", "train"),
    ]
    assert [line for line, _ in bad] == [5, 6, 8, 9, 12, 14]
    assert "'\"'" in bad[0][1] and "unexpected end" in bad[4][1] and "1 cells under 3 columns" in bad[5][1]
    assert documents[3].address.endswith("odd.csv:11")


def test_a_stray_quote_costs_its_own_row(tmp_path: Path):
    path = tmp_path / "stray.csv"
    lines = [f"the text of row {number},yes" for number in range(300)]
    for stray in (7, 150):
        lines[stray] = '"' + lines[stray]
    lines[299] = '"' + lines[299]
    path.write_text("\n".join(["text,label", *lines]))
    documents, bad = read(path)
    assert [int(one.text.split()[-1]) for one in documents] == sorted(set(range(300)) - {7, 150, 299})
    assert [line for line, _ in bad] == [9, 152, 301] and documents[-1].address.endswith(":300")


def test_blank_lines_before_the_columns_of_a_csv_are_passed_over(tmp_path: Path):
    path = tmp_path / "blank.csv"
    path.write_text("\n\ntext,label\nan ordinary line,yes\n")
    documents, bad = read(path)
    assert [(document.text, document.label) for document in documents] == [("an ordinary line", "yes")]
    assert not bad and documents[0].address.endswith("blank.csv:4")


def test_a_cell_of_ten_megabytes_is_long_not_an_error(pool: Pool, tmp_path: Path):
    path = tmp_path / "long.csv"
    path.write_text("text\n" + "word " * 2_500_000 + "\nan ordinary line of text\n")
    assert import_files(pool, [path], Multiclass()) == {"new": 1, "long": 1}


def test_parquet_types(tmp_path: Path):
    import pyarrow as pa
    from pyarrow import parquet

    path = tmp_path / "types.parquet"
    raw = pa.array([b"fine", b"\xff\xfe", b"fine too", None], pa.binary())
    text = pa.Array.from_buffers(pa.string(), 4, raw.buffers(), null_count=1)
    table = pa.table({"text": text, "label": pa.array([1, 2, None, 4]), "unused": [[1], [2], [3], [4]]})
    parquet.write_table(table, path)
    documents, bad = read(path)
    assert [(document.text, document.label) for document in documents] == [("fine", "1"), ("fine too", None)]
    assert bad == [(2, "not UTF-8"), (4, "no text")]
    dates = pa.array([0, 2**62, None], pa.timestamp("us"))
    parquet.write_table(pa.table({"text": ["old", "far off", "undated"], "date": dates}), path)
    documents, bad = read(path)
    assert [document.date for document in documents] == ["1970-01-01 00:00:00", ""]
    assert bad == [(2, "out of range: date value out of range")]
    dates = pa.array([0, None], pa.timestamp("us", "Middle/Earth"))
    parquet.write_table(pa.table({"text": ["far off", "undated"], "date": dates}), path)
    documents, bad = read(path)
    assert [document.text for document in documents] == ["undated"]
    assert bad == [(1, "unknown time zone: 'Middle/Earth'")]


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_without_the_column_or_damaged_is_one_line(kind: str, tmp_path: Path):
    path = tmp_path / f"in.{kind}"
    with pytest.raises(DiscoverError, match=r"cannot be read \(No such file"):
        read(path)
    export_rows([dict(ROW, text=f"{os.urandom(500).hex()} {n}") for n in range(2000)], path)
    if kind in ("jsonl", "csv"):
        return
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"this is something else entirely", b"PAR1" * 9):
        path.write_bytes(content)
        with pytest.raises(DiscoverError, match="is damaged after line"):
            read(path)


@pytest.mark.parametrize("late", [["billing"], [{"start": 0, "end": 1, "label": "place"}], [{"words": [[0, 1, 0.5]]}]])
def test_parquet_types_of_what_is_empty_at_first(late: list, tmp_path: Path):
    from pyarrow import parquet

    rows = [None] * 1200 + [[]] * 1200 + [[{"words": []}] if "words" in late[0] else late] * 1200 + [late]
    export_rows([{"said": one, "never": None} for one in rows], tmp_path / "out.parquet")
    written = parquet.read_table(tmp_path / "out.parquet").to_pydict()
    assert written == {"said": rows, "never": [None] * len(rows)}


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_without_texts_is_refused(kind: str, tmp_path: Path):
    export_rows([{"content": "x", "label": "y"}], tmp_path / f"in.{kind}")
    with pytest.raises(DiscoverError, match="one column 'text' is expected, found 'content', 'label'"):
        read(tmp_path / f"in.{kind}")


def test_a_header_that_is_no_csv_is_one_line(tmp_path: Path):
    (tmp_path / "in.csv").write_text('"te"xt,label\nhello there,a\n')
    with pytest.raises(DiscoverError, match=r"in\.csv: line 1 must name the columns, but .* expected after"):
        read(tmp_path / "in.csv")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("names", [("text", "label", "text"), ("label", "text", "label"), ("text", "id", "id")])
def test_two_columns_of_one_name_are_refused(names: tuple[str, ...], kind: str, tmp_path: Path):
    import pyarrow as pa
    from pyarrow import parquet

    path = tmp_path / f"in.{kind}"
    if kind == "csv":
        path.write_text(f"{','.join(names)}\na,b,c\n")
    else:
        parquet.write_table(pa.Table.from_arrays([pa.array([letter]) for letter in "abc"], names), path)
    listed = ", ".join(map(repr, names))
    with pytest.raises(DiscoverError, match=f"one column '{names[-1]}' is expected, found {listed}: rename the others"):
        read(path)


def test_nothing_usable_is_refused_and_says_why(pool: Pool, tmp_path: Path):
    empty, bad = tmp_path / "empty.jsonl", tmp_path / "bad.csv"
    empty.write_text("")
    bad.write_text("text,label\nsomething to read here,maybe\n")
    with pytest.raises(DiscoverError, match="nothing usable"):
        import_files(pool, [empty], Multiclass())
    with pytest.raises(DiscoverError, match=r"bad\.csv:2: label not in the list: 'maybe'"):
        import_files(pool, [empty, bad], Multiclass(("yes",)))
    for name in ("empty.csv", "folder.jsonl", "words.txt"):
        path = tmp_path / name
        path.mkdir() if name.startswith("folder") else path.write_text("")
        with pytest.raises(DiscoverError):
            import_files(pool, [path], Multiclass())


def test_a_missing_file_is_noticed_before_anything_is_imported(pool: Pool, tmp_path: Path):
    export_rows([ROW], tmp_path / "in.jsonl")
    with pytest.raises(DiscoverError, match="missing"):
        import_files(pool, [tmp_path / "in.jsonl", tmp_path / "missing.jsonl"], Multiclass())
    assert pool.counts()["found"] == 0


def test_an_imported_test_split_stays_test(pool: Pool, tmp_path: Path):
    near = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen {}"
    rows = [dict(ROW, text=near.format(n), split="test" if n == "z" else "train") for n in "abcz"]
    export_rows(rows, tmp_path / "in.jsonl")
    import_files(pool, [tmp_path / "in.jsonl"], Multiclass(("yes",)))
    pool.intake()
    assert [document.text[-1] for document in pool.documents(split=None)] == ["z"]
    assert [document.text[-1] for document in pool.documents(split="test")] == ["z"]


@pytest.mark.parametrize(("name", "rows", "classes"), [("trec6", 5452, 6), ("banking77", 10003, 77)])
def test_real_files(name: str, rows: int, classes: int, database: Database):
    path = DATA / "text" / f"{name}.train.jsonl.gz"
    if not path.exists():
        pytest.skip(f"{path} is not there: set DISCOVER_DATA to the folder of data sets")
    with gzip.open(path, "rt") as handle:
        expected = [json.loads(line) for line in handle]
    pool = Pool(database, PoolConfig(min_characters=1))
    counts = import_files(pool, [path], Multiclass(tuple({row["label"] for row in expected})))
    assert len(expected) == rows == counts["new"] + counts["seen"]
    labels: dict[str, set[str]] = {}
    for row in expected:
        labels.setdefault(clean(row["text"]), set()).add(row["label"])
    assert counts["new"] == len(labels)
    assert counts["conflicting labels"] == sum(len(found) > 1 for found in labels.values())
    taken = pool.intake()
    assert taken["pool"] + taken["duplicate"] == len(labels)
    found = {document.text: document.label for document in pool.documents()}
    assert len({label for label in found.values() if label}) == classes
    assert all({label} == labels[text] for text, label in found.items() if label)


def test_test_documents_without_a_label_are_counted(database: Database, tmp_path: Path):
    path = tmp_path / "in.jsonl"
    rows = [
        {"text": "the first of the texts", "split": "test"},
        {"text": "the second of them", "split": "test", "label": "a"},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    counts = import_files(Pool(database, PoolConfig(min_characters=1)), [path], Multiclass(("a", "b")))
    assert counts == {"new": 2, "for testing, but without a label": 1}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"text;label\nhello;x\n", "columns must be parted by commas, found 'text;label'"),
        ("a.csv", b"text\tlabel\nhello\tx\n", "columns must be parted by commas"),
        ("a.csv", "text,label\nhello,x\n".encode("utf-16"), "its first line is not UTF-8: save it as UTF-8"),
        ("a.csv", "größe,wörter\n1,hello\n".encode("cp1252"), "its first line is not UTF-8"),
        ("a.jsonl", b'[\n {"text": "hello"}\n]\n', "one object a line is expected, found a list over several lines"),
    ],
)
def test_a_file_of_another_make_is_told_what_it_is(tmp_path: Path, name, content, said):
    (tmp_path / name).write_bytes(content)
    told: list[str] = []
    try:
        list(read_documents(tmp_path / name, lambda _, reason: told.append(reason)))
    except DiscoverError as error:
        told.append(str(error))
    assert said in told[0], told
