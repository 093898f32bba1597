"""Named entities as files write them and as the database keeps them, through cleaning; and what no file may say."""

import gzip
import json
import random
import unicodedata
from pathlib import Path

import pytest

from discover.db import Database
from discover.errors import DiscoverError
from discover.label.config import LabelConfig
from discover.pool.answers import agree, from_json, hashable, strata, to_json
from discover.pool.config import PoolConfig
from discover.pool.document import clean
from discover.pool.files import export_rows, import_files, read_documents
from discover.pool.labels import NO_ENTITY, Multiclass, Spans, labels_of
from discover.pool.pool import Pool
from discover.pool.spans import joined
from discover.tables import rejection
from tests.real_data import DATA

TEXT = "Ada Lovelace lived in London, near St James's."
LABELS = Spans(("person", "location"))
ADA = {"start": 0, "end": 12, "label": "person"}
LONDON = {"start": 22, "end": 28, "label": "location"}
WNUT = DATA / "text"


def span(start, end, label="person", **more) -> dict:
    return {"start": start, "end": end, "label": label, **more}


@pytest.mark.parametrize("said", [[ADA, LONDON], [LONDON, ADA], (ADA, LONDON), json.dumps([LONDON, ADA])])
def test_what_is_said_is_kept_by_start_and_read_again(said) -> None:
    kept = LABELS.read(said, TEXT)
    assert kept == json.dumps([ADA, LONDON]) and LABELS.value(kept) == [ADA, LONDON]
    assert LABELS.read(kept, TEXT) == LABELS.read(LABELS.value(kept), TEXT) == kept
    assert LABELS.names(kept) == ["person", "location"] and LABELS.knows(kept)
    assert not Spans(("person",)).knows(kept) and Spans().knows(kept)
    assert LABELS.spoken(kept, TEXT) == ["Ada Lovelace (person)", "London (location)"]


def test_no_entity_is_an_answer_and_nothing_is_none() -> None:
    assert LABELS.read([], TEXT) == LABELS.read("[]", TEXT) == "[]" and LABELS.knows("[]")
    assert LABELS.spoken("[]", TEXT) == [NO_ENTITY]
    assert [LABELS.read(said, TEXT) for said in (None, "", "null")] == [None, None, None]


def test_answers_are_arrays_and_plain_values() -> None:
    kept = [json.dumps([ADA, LONDON]), "[]", json.dumps([LONDON])]
    y = LABELS.array(kept)
    assert y.tolist() == [((0, 12, 0), (22, 28, 1)), (), ((22, 28, 1),)] and LABELS.kept(y) == kept
    plain = to_json(y)
    assert json.loads(json.dumps(plain)) == plain and LABELS.kept(from_json(plain, 2)) == kept
    assert agree(y, LABELS.array([kept[0], kept[2], kept[2]])).tolist() == [True, False, True]
    assert len(set(hashable(y))) == 3 and strata(y).tolist() == [0, -1, 1]
    assert LABELS.array([]).shape == (0,) and agree(y[:0], y[:0]).tolist() == []


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ("person", "label is not a JSON list"),
        ("{}", "label is not a list of spans: dict"),
        (7, "label is not a list of spans: int"),
        ([[0, 3]], "span lacks start, end or label"),
        ([[0, "3", "person"]], "span bound is no whole number: '3'"),
        ([{"start": 0, "end": 3}], "span lacks start, end or label"),
        ([span(0, 3.0)], "span bound is no whole number: 3.0"),
        ([span(False, 3)], "span bound is no whole number: False"),
        ([span("0", 3)], "span bound is no whole number: '0'"),
        ([span(0, None)], "span bound is no whole number: None"),
        ([span(-1, 3)], "span out of range: -1 to 3, the text has 46 characters"),
        ([span(0, 47)], "span out of range: 0 to 47"),
        ([span(3, 3)], "empty span: 3 to 3"),
        ([span(9, 4)], "span ends before it begins: 9 to 4"),
        ([span(3, 4)], "span of blanks: 3 to 4"),
        ([span(0, 4)], r"span has a blank at its edge: 'Ada ' \(0 to 4\)"),
        ([span(3, 12)], "span has a blank at its edge"),
        ([ADA, span(4, 12)], r"spans overlap: 'Ada Lovelace' \(0 to 12\) and 'Lovelace' \(4 to 12\)"),
        ([ADA, ADA], "spans overlap"),
        ([span(0, 3, "hail")], "label not in the list: 'hail'"),
        ([span(0, 3, "B-person")], "label not in the list: 'B-person'"),
        ([span(0, 3, 1.5)], "span label is not text: float"),
        ([span(0, 3, True)], "span label is not text: bool"),
        ([span(0, 3, "")], "label not in the list: ''"),
        ([span(0, 3, text="Adã")], r"span does not hold its text: 'Ada' \(0 to 3\) is said to be 'Adã'"),
    ],
)
def test_what_cannot_be_is_refused_in_a_few_words(said, complaint: str) -> None:
    with pytest.raises(DiscoverError, match=complaint) as refused:
        LABELS.read(said, TEXT)
    assert len(str(refused.value).partition(": ")[0]) <= 32, "the reason fits its column"


def test_spans_may_be_lists_as_doccano_exports_them() -> None:
    assert LABELS.read([[0, 12, "person"], [22, 28, "location"]], TEXT) == LABELS.read(
        [span(0, 12), span(22, 28, "location")], TEXT
    )


def test_neighbours_may_touch_and_a_span_may_say_its_text() -> None:
    assert LABELS.read([span(0, 3, text="Ada"), span(3, 6, "location")], "AdaOslo") is not None


@pytest.mark.parametrize(
    ("raw", "written", "held"),
    [
        ("  It  was \r\n\r\n\r\n\r\n Ada\u200b  Lovelace .", "Ada\u200b  Lovelace", "Ada Lovelace"),
        ("\ufeffAda", "Ada", "Ada"),
        ("\ufeffAda", "\ufeffAda", "Ada"),
        ("Cafe\u0301  Zoe\u0308 x", "Zoe\u0308", "Zoë"),
        ("👩\u200d🚀\u200b met  😀Ada", "Ada", "Ada"),  # the joiner between woman and rocket stays
        ("👩\u200d🚀\u200b met", "👩\u200d🚀", "👩\u200d🚀"),
        ("\u202bעדה\u202c גרה  בלונדון", "בלונדון", "בלונדון"),
        ("\ue000 \ue001  Ada", "Ada", "Ada"),
    ],
)
def test_offsets_go_through_cleaning(raw: str, written: str, held: str) -> None:
    start = raw.index(written)
    (found,) = LABELS.value(LABELS.read([span(start, start + len(written))], raw))
    assert clean(raw) != raw and clean(raw)[found["start"] : found["end"]] == held


@pytest.mark.parametrize(
    ("raw", "start", "end", "complaint"),
    [
        ("Cafe\u0301 x", 0, 4, "span is cut by cleaning: 'Cafe'"),  # between a letter and its accent
        ("a\r\nb", 2, 4, "span has a blank at its edge"),
        ("a  Ada", 2, 6, "span has a blank at its edge"),
        ("x\u200b Ada", 1, 6, "span has a blank at its edge"),
        ("Ada\u200b x", 3, 4, "empty span"),
    ],
)
def test_what_cleaning_has_no_place_for_is_refused(raw: str, start: int, end: int, complaint: str) -> None:
    with pytest.raises(DiscoverError, match=complaint):
        LABELS.read([span(start, end)], raw)


def test_of_many_spans_the_one_that_cleaning_cuts_is_named() -> None:
    raw = "  ".join(["Ada"] * 500 + ["Zoe\u0308"] + ["Ada"] * 500)
    said = [span(at, at + 3) for at in range(0, len(raw), 5) if at < 2500] + [span(2506, 2509)]
    assert len(LABELS.value(LABELS.read(said, raw))) == 501
    with pytest.raises(DiscoverError, match=r"cut by cleaning: 'Zoe' \(2500 to 2503\)"):
        LABELS.read([*said, span(2500, 2503)], raw)


def test_random_texts_never_shift_a_span() -> None:
    rng = random.Random(5)
    signs = [
        "a",
        "e",
        "\u0301",
        "\u0323",
        " ",
        "  ",
        "\n",
        "\r\n",
        "\u200b",
        "\u202e",
        "😀",
        "א",
        "가",
        "ᄀ",
        "ᅡ",
        "\u3000",
        "\x07",
    ]
    kept, refused = 0, 0
    for _ in range(3000):
        raw = "".join(rng.choices(signs, k=rng.randrange(1, 14)))
        start, end = sorted(rng.choices(range(len(raw) + 1), k=2))
        try:
            found = LABELS.value(LABELS.read([span(start, end)], raw))
        except DiscoverError:
            refused += 1
            continue
        kept += 1
        ((a, b),) = [(one["start"], one["end"]) for one in found]
        text = clean(raw)
        assert text[a:b] == clean(raw[start:end]) and unicodedata.normalize("NFC", text[a:b]) == text[a:b]
        assert text[:a].split() == clean(raw[:start]).split() and text[b:].split() == clean(raw[end:]).split()
    assert kept > 500 and refused > 500


TOKENS = ["@Ada", "in", "New", "York", "London"]


@pytest.mark.parametrize(
    ("tags", "held"),
    [
        (["B-person", "O", "B-location", "I-location", "B-location"], ["@Ada", "New York", "London"]),
        (["I-person", "O", "I-location", "I-location", "I-location"], ["@Ada", "New York London"]),
        (["B-person", "I-location", "I-location", "O", "I-person"], ["@Ada", "in New", "London"]),
        (["O"] * 5, []),
    ],
)
def test_tags_become_spans_of_joined_tokens(tags: list[str], held: list[str]) -> None:
    text, spans = joined(TOKENS, tags)
    assert text == "@Ada in New York London" and [text[one["start"] : one["end"]] for one in spans] == held
    assert joined(json.dumps(TOKENS), json.dumps(tags)) == (text, spans) and joined(TOKENS, None) == (text, None)


BAD_TAGS = [
    ({"tokens": TOKENS, "tags": ["O"] * 4}, "tokens and tags differ in length: 5 and 4"),
    ({"tokens": ["a"], "tags": ["person"]}, "tag is none of B-x, I-x and O: 'person'"),
    ({"tokens": ["a"], "tags": ["B-"]}, "tag is none of B-x, I-x and O: 'B-'"),
    ({"tokens": ["a"], "tags": ["o"]}, "tag is none of B-x, I-x and O: 'o'"),
    ({"tokens": ["a"], "tags": [None]}, "tags are not a list of text: [None]"),
    ({"tokens": ["a"], "tags": "O"}, "tags are not a JSON list"),
    ({"tokens": "a b", "tags": ["O", "O"]}, "tokens are not a JSON list"),
    ({"tokens": [1], "tags": ["O"]}, "tokens are not a list of text: [1]"),
    ({"tokens": ["a"], "tags": ["B-hail"]}, "label not in the list: 'hail'"),
    ({"tokens": ["", "a"], "tags": ["B-person", "O"]}, "empty span: 0 to 0"),
    ({"tokens": [], "tags": []}, "no text"),
    ({"text": TEXT, "label": [span(0, 99)]}, "span out of range: 0 to 99"),
    ({"text": TEXT, "tokens": ["a"], "tags": ["O"]}, "tags do not fit the text: it is not its tokens"),
    ({"tokens": ["a"], "label": [span(0, 1)]}, "label without text: spans count its characters"),
]


def test_each_bad_line_is_told_counted_and_kept_and_the_others_stay(database: Database, tmp_path: Path) -> None:
    path, said = tmp_path / "in.jsonl", []
    good = [{"text": TEXT, "label": [ADA]}, {"tokens": TOKENS, "tags": ["B-person", *"OOOO"]}]
    rows = [good[0], *(row for row, _ in BAD_TAGS), good[1]]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    pool = Pool(database, PoolConfig(min_characters=1))
    counts = import_files(pool, [path], LABELS, said.append)
    assert counts["new"] == 2 and sum(counts.values()) == 2 + len(BAD_TAGS)
    for number, (line, (_, complaint)) in enumerate(zip(said, BAD_TAGS, strict=True), start=2):
        assert line.startswith(f"{path.as_posix()}:{number}: {complaint}")
    with database.read() as connection:
        kept = connection.execute(rejection.select()).all()
    assert {f"{row.address}: {row.reason}" for row in kept} == {": ".join(line.split(": ")[:2]) for line in said}
    pool.intake()
    assert {one.text: one.label for one in pool.documents()} == {
        TEXT: json.dumps([ADA]),
        "@Ada in New York London": json.dumps([span(0, 4)]),
    }


ROWS = [
    {"text": TEXT, "label": [ADA, LONDON]},
    {"text": "nobody and nowhere", "label": []},
    {"text": "nobody has said what this is", "label": None},
    {"text": "😀 Zoë was in Kraków", "label": [span(2, 5), span(13, 19, "location")]},
]


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_spans_and_tags_go_through_files_of_every_kind(tmp_path: Path, kind: str) -> None:
    export_rows(ROWS, tmp_path / f"in.{kind}")
    export_rows([{"tokens": TOKENS, "tags": ["B-person", *"OOOO"]}], tmp_path / f"tags.{kind}")
    seen: list[str] = []
    found, tagged = (
        list(read_documents(tmp_path / f"{name}.{kind}", lambda line, why: seen.append(why), LABELS))
        for name in ("in", "tags")
    )
    assert [(one.text, one.label) for one in found] == [
        (row["text"], LABELS.read(row["label"], row["text"])) for row in ROWS
    ]
    assert [(one.text, one.label) for one in tagged] == [("@Ada in New York London", json.dumps([span(0, 4)]))]
    assert seen == []
    assert list(read_documents(tmp_path / f"tags.{kind}", lambda line, why: seen.append(why), Multiclass())) == []
    assert seen == ["no text: tokens and tags are named entities, which need label.task: spans"]


def test_tags_beside_a_text_are_spans_of_it_and_no_matter_to_what_needs_texts_alone(tmp_path: Path) -> None:
    tagged = {"tokens": ["Ada", "met", "Bob", "."], "tags": ["B-person", "O", "O", "O"]}
    rows = [
        {"text": "Ada met  Bob .", **tagged},
        {"text": "Ada met Bob .", **tagged, "label": [span(8, 11)]},
        {"text": "Ada met Bob .", **tagged, "tags": None},
        {"text": "Ada met Bob.", **tagged},
        {**tagged, "tags": ["O"]},
        {"text": "", "tokens": ["Ada"], "label": [span(0, 3)]},
        {"text": "", "tokens": [7]},
    ]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    seen: list[str] = []
    found = list(read_documents(tmp_path / "in.jsonl", lambda line, why: seen.append(f"{line}: {why}"), LABELS))
    said = [json.dumps([span(0, 3)]), json.dumps([span(8, 11)]), None]
    assert [(one.text, one.label) for one in found] == [("Ada met Bob .", label) for label in said]
    assert [line[0] for line in seen] == list("4567")
    seen.clear()
    texts = list(read_documents(tmp_path / "in.jsonl", lambda line, why: seen.append(f"{line}: {why}"), None))
    assert [one.text for one in texts] == ["Ada met Bob ."] * 3 + ["Ada met Bob.", "Ada met Bob .", "Ada"]
    assert seen == ["7: tokens are not a list of text: [7]"] and {one.label for one in texts} == {None}


def test_spans_after_thousands_of_empty_answers_are_written(tmp_path: Path) -> None:
    rows = [{"text": f"Ada, and text {i}", "label": [] if i < 2500 else [span(0, 3)]} for i in range(4100)]
    export_rows(rows, tmp_path / "out.parquet")
    export_rows(rows[:1200], tmp_path / "empty.parquet")
    full, empty = (list(read_documents(tmp_path / name, print, LABELS)) for name in ("out.parquet", "empty.parquet"))
    assert [one.label for one in full] == ["[]"] * 2500 + [json.dumps([span(0, 3)])] * 1600
    assert [one.label for one in empty] == ["[]"] * 1200


def test_a_text_said_twice_with_other_entities_has_no_answer(database: Database, tmp_path: Path) -> None:
    rows = [{"text": TEXT, "label": [LONDON, ADA]}, {"text": TEXT, "label": [ADA, LONDON]}]
    export_rows(rows, tmp_path / "in.jsonl")
    export_rows([{"text": TEXT, "label": []}], tmp_path / "other.jsonl")
    pool = Pool(database, PoolConfig(min_characters=1))
    assert "conflicting labels" not in import_files(pool, [tmp_path / "in.jsonl"], LABELS)
    assert import_files(pool, [tmp_path / "other.jsonl"], LABELS)["conflicting labels"] == 1


@pytest.mark.skipif(not WNUT.is_dir(), reason="NO REAL ENTITIES ARE READ: set DISCOVER_DATA to the data sets")
def test_every_real_sentence_is_read_and_its_tags_come_back() -> None:
    seen: list[str] = []
    with gzip.open(WNUT / "wnut17.test.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    documents = list(
        read_documents(WNUT / "wnut17.test.jsonl.gz", lambda line, why: seen.append(why), labels_of("spans"))
    )
    assert len(documents) == len(rows) == 1287 and seen == []
    for row, one in zip(rows, documents, strict=True):
        expected, at, tags = row["tags"], 0, []
        spans = json.loads(one.label)
        for token in row["tokens"]:
            token = clean(token)
            inside = [s for s in spans if s["start"] <= at < s["end"]]
            tags += [f"{'B' if inside[0]['start'] == at else 'I'}-{inside[0]['label']}" if inside else "O"]
            assert one.text[at : at + len(token)] == token
            at += len(token) + 1
        assert tags == expected


@pytest.mark.parametrize("names", [["B-person", "I-person", "O"], ["person", "O"], {"I-person": "a human"}])
def test_tags_are_no_classes(names) -> None:
    with pytest.raises(ValueError, match="types of entities"):
        LabelConfig(task="spans", classes=names)
    assert LabelConfig(task="spans", classes=["person"]).classes == {"person": ""}
    with pytest.raises(ValueError, match="at least one class is needed"):
        LabelConfig(task="spans", classes=[])
    with pytest.raises(ValueError, match="at least two classes are needed"):
        LabelConfig(classes=["person"])
