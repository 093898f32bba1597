"""`discover init`: what it asks, writes and refuses."""

from collections.abc import Callable
from pathlib import Path

import pytest

from discover.commands.init import init
from discover.config import load_config
from discover.errors import DiscoverError
from discover.loop import check


def answers(*lines: str) -> Callable[[str], str]:
    left = iter(lines)

    def ask(_prompt: str) -> str:
        try:
            return next(left)
        except StopIteration:
            raise EOFError from None

    return ask


def test_a_site_becomes_a_config_that_loads(tmp_path: Path) -> None:
    path = init(
        tmp_path / "mine",
        answers(
            "https://a.example/x https://b.example",
            "",
            'Is it a "recall"?',
            "yes: a product is called back: at once",
            "no",
            "",
            "120",
        ),
    )
    config = load_config(path)
    assert config.name == "mine"
    assert config.crawl is not None
    assert config.crawl.start == ["https://a.example/x", "https://b.example"]
    assert config.crawl.allowed_domains == ["a.example", "b.example"]
    assert config.label.classes == {"yes": "a product is called back: at once", "no": ""}
    assert (config.label.question, config.label.budget, config.label.oracle) == ('Is it a "recall"?', 120, "people")
    assert config.label.task == "multiclass"


@pytest.mark.parametrize(
    ("task", "labels", "asked"),
    [("multilabel", ("x", "y"), "Which labels fit?"), ("spans", ("person: has a name",), "What is named here?")],
)
def test_other_tasks_than_one_label_a_document(tmp_path: Path, task: str, labels: tuple[str, ...], asked: str) -> None:
    config = load_config(init(tmp_path / "mine", answers("https://a.example", task, "", *labels, "", "")))
    check(config)
    assert (config.label.task, config.label.question, len(config.label.classes)) == (task, asked, len(labels))


def test_files_need_no_crawl(tmp_path: Path) -> None:
    names = [tmp_path / "a.jsonl", tmp_path / "b c.csv"]
    for name in names:
        name.write_text("")
    path = init(tmp_path / "my own", answers(f"{names[0]} '{names[1]}'", "", "", "x", "y", "", ""))
    assert load_config(path).crawl is None
    assert f"discover import '{path}' {names[0]} '{names[1]}'" in path.read_text()


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (("nowhere.jsonl",), "there is no file 'nowhere.jsonl'"),
        (("a.jsonl 'b",), "a quotation mark is missing"),
        (("http://[::1",), "is no address like"),
        (("https://",), "is no address like"),
        ((str(Path(__file__)),), "must end in .jsonl, .csv"),
        (("https://a.example", "", "f\udcfcr?"), "answers must be UTF-8"),
        ((), "ended before they were answered"),
        (("",), "an address (https://…) or a file"),
        (("https://a.example b.jsonl", "", "q", "x", "y", "", "5"), "addresses or files, not both"),
        (("https://a.example", "entities"), "one of multiclass, multilabel, spans is expected, got 'entities'"),
        (("https://a.example", "", "q", "only", "", "5"), "at least two classes are needed"),
        (("https://a.example", "spans", "q", "B-person", "", "5"), "found the tag 'B-person'"),
        (("https://a.example", "", "q", "x", "y", "", "0"), "whole number above 0"),
        (("https://a.example", "", "q", "x", "y", "", "many"), "whole number above 0"),
        (("https://a.example", "", "q", "x", "y", "", "²"), "whole number above 0"),
    ],
)
def test_nothing_is_written_when_an_answer_does_not_do(tmp_path: Path, lines: tuple[str, ...], said: str) -> None:
    with pytest.raises(DiscoverError) as caught:
        init(tmp_path / "mine", answers(*lines))
    assert said in str(caught.value)
    assert not (tmp_path / "mine").exists()


def test_noughts_before_a_number_do_not_make_it_octal(tmp_path: Path) -> None:
    path = init(tmp_path / "mine", answers("https://a.example", "", "", "x", "y", "", "0300"))
    assert load_config(path).label.budget == 300


def test_a_label_needs_a_name_of_its_own(tmp_path: Path) -> None:
    path = init(
        tmp_path / "mine", answers("https://a.example", "", "", "x: first", "x: second", ": nothing", "y", "", "5")
    )
    assert load_config(path).label.classes == {"x": "first", "y": ""}


def test_answers_are_tidied_as_labels_are_when_they_are_read(tmp_path: Path) -> None:
    path = init(
        tmp_path / "mine",
        answers("https://a.example", "", "What\x07 fits?", "cafe\u0301  bar: a\x00 place", "y\u200b", "", ""),
    )
    config = load_config(path)
    assert config.label.question == "What fits?"
    assert config.label.classes == {"caf\u00e9 bar": "a place", "y": ""}


def test_a_folder_whose_name_no_comment_can_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DiscoverError, match="holds a character that a config cannot"):
        init(tmp_path / "a\nb", answers("https://a.example", "", "", "x", "y", "", ""))


def test_a_config_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("mine")
    with pytest.raises(DiscoverError, match="exists already"):
        init(tmp_path, answers())
    assert (tmp_path / "config.yaml").read_text() == "mine"
