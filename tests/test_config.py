"""The config: what is refused, and what the one line says."""

import json
from pathlib import Path

import pytest
import yaml

from discover.config import load_config, read_settings, save_config, validate
from discover.errors import DiscoverError
from discover.plugins import split
from discover.policy.config import PolicyConfig

CONFIGS = Path(__file__).parent.parent / "configs"
MINIMAL = "label: {classes: [a, b]}\n"
EMPTY = "crawl:\nquery:\n  # batch: 7\n  candidates:\n  options:\nloop:\n  arms:\n  # - margin\n"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (MINIMAL + "laern: {}", "unknown key 'laern': did you mean 'learn'?"),
        (MINIMAL + "query: {stratgy: margin}", "unknown key 'query.stratgy': did you mean 'strategy'?"),
        (MINIMAL + "crawl: {strat: []}", "unknown key 'crawl.strat': did you mean 'start'?"),
        (MINIMAL + "query: {candidates: {qqq: 1}}", "known keys: count, uniform, neighbours, uncertain, newest"),
        (MINIMAL + "query: {batch: many}", "'query.batch'"),
        (MINIMAL + "pool: {min_characters: 9, max_characters: 5}", "found 9 and 5, which no document fits"),
        (MINIMAL + "query: {candidates: {uniform: 0.5}}", "must be 1, they are 0.9"),
        (
            MINIMAL + "query: {batch: 70, candidates: {count: 60}}",
            "candidates.count must be at least batch, 70, found 60",
        ),
        ("label: {classes: [a, b], budget: 0}", "'label.budget'"),
        ("label: {classes: [only]}", "at least two classes are needed to learn anything, found 1"),
        ("seed: 1", "key 'label' is needed"),
        ("label:", "key 'label' is needed"),
        (MINIMAL + "query: {batch: }", "'query.batch': Input should be a valid integer, got None"),
        (MINIMAL + "seed: -1", "'seed': Input should be greater than or equal to 0"),
        (MINIMAL + "learn: {folds: 1}", "'learn.folds': a lone fold leaves nothing to learn from"),
        (MINIMAL + "learn: {rank: 100000}", "'learn.rank': Input should be less than or equal to 1024"),
        (MINIMAL + "learn: {head_penalty: 1.0e-30}", "'learn.head_penalty': Input should be greater than or equal to"),
        ("label: {classes: [a, null]}", "YAML reads this one as None: write it in quotes"),
        ("label: {classes: a b}", "a list of names is expected, or `name: what belongs there` for each, got 'a b'"),
        ('label: {classes: [a, "\\u200b"]}', "every class needs a name, found an empty one"),
        ("label: {classes: [a, e\u0301te\u0301]}", r"the class 'e\u0301te\u0301' must be written '\xe9t\xe9'"),
        ("label: {classes: [a, b, a]}", "the class 'a' is listed twice"),
        (MINIMAL + "label: {classes: [c, d]}", "the key 'label' stands there twice"),
        (MINIMAL + "crawl: {allow_private: [foo]}", "host:port is expected, like 127.0.0.1:8000, found 'foo'"),
        (MINIMAL + "crawl: {allowed_domains: ['http://a.org/']}", "host names are expected, like example.org"),
        (MINIMAL + "crawl: {allowed_domains: ['a.org:8000']}", "found 'a.org:8000'"),
        (MINIMAL + "crawl: {allowed_domains: ['*.a.org']}", "found '*.a.org'"),
        (MINIMAL + "crawl: {allowed_domains: ['.a.org']}", "found '.a.org'"),
        ("label: {budget: 3}", "key 'label.classes' is needed"),
        ("just a sentence", "must hold keys and values, found str"),
        ("a: [", "must be YAML"),
        ("label: {classes: [a, 2024-13-45]}", "month must be in 1..12: write in quotes what is text"),
        (MINIMAL + 'name: "x\\ud83d"', "holds half a character"),
        ("label: &it {classes: [a, b], options: {x: *it}}", "Circular reference"),
    ],
)
def test_a_bad_config_gets_one_line_that_names_the_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DiscoverError) as caught:
        load_config(write(tmp_path, text))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "mine.yaml" in str(caught.value)


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(DiscoverError, match="cannot be read"):
        load_config(tmp_path / "absent.yaml")
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DiscoverError, match="cannot be read"):
        load_config(binary)


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "caf\udce9.yaml"
    path.write_text(MINIMAL)
    with pytest.raises(DiscoverError, match="'name': it stands in files that are UTF-8, and is not: set another"):
        load_config(path)
    assert load_config(path, ["name=cafe"]).name == "cafe"


def test_overrides_replace_nested_values(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, MINIMAL), ["query.batch=7", "label.budget=9", "loop.arms=[margin, random]"])
    assert (config.query.batch, config.label.budget, config.loop.arms) == (7, 9, ["margin", "random"])
    with pytest.raises(DiscoverError, match=r"takes a\.b=value"):
        load_config(write(tmp_path, MINIMAL), ["query.batch"])
    with pytest.raises(DiscoverError, match="not a section"):
        load_config(write(tmp_path, MINIMAL + "seed: 1"), ["seed.x=1"])


def test_a_section_with_every_line_commented_out_is_as_if_it_were_not_there(tmp_path: Path) -> None:
    plain = load_config(write(tmp_path, MINIMAL))
    path = write(tmp_path, MINIMAL + EMPTY)
    assert load_config(path) == plain
    assert load_config(path, ["query.batch=7", "query.candidates.count=50"]).query.batch == 7


def test_allowed_domains_are_hosts_as_addresses_have_them(tmp_path: Path) -> None:
    named = '["Bücher.example", "xn--bcher-kva.example", "[::1]", "::1", "127.0.0.1", "a_b.example"]'
    config = load_config(write(tmp_path, MINIMAL + f"crawl: {{allowed_domains: {named}}}"))
    assert config.crawl is not None
    assert config.crawl.allowed_domains == [
        *("xn--bcher-kva.example", "xn--bcher-kva.example", "::1", "::1", "127.0.0.1", "a_b.example"),
    ]


def test_classes_may_be_numbers_and_need_no_description(tmp_path: Path) -> None:
    for text, found in (
        ("{1: one star, 2: two stars}", {"1": "one star", "2": "two stars"}),
        ("{a: , b: }", {"a": "", "b": ""}),
        ("[1, 2.5]", {"1": "", "2.5": ""}),
        ("[010, 12:30, 1_000, 0x10]", {"010": "", "12:30": "", "1_000": "", "0x10": ""}),
    ):
        config = load_config(write(tmp_path, f"label: {{classes: {text}}}\n"))
        save_config(config, tmp_path / "config.yaml")
        assert config.label.classes == found == load_config(tmp_path / "config.yaml").label.classes


def test_json_is_read_as_it_is_meant(tmp_path: Path) -> None:
    settings = {"label": {"classes": {"a": "", "b": "😀 and 𐐷"}, "question": "Which 😀?"}}
    config = load_config(write(tmp_path, json.dumps(settings)))
    assert config.label.question == "Which 😀?" and config.label.classes == settings["label"]["classes"]


def test_a_number_may_have_an_exponent_alone_and_stays_one(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, MINIMAL + "query: {options: {power: 1e-3, word: '1e-3', other: -.5E+2}}"))
    save_config(config, tmp_path / "config.yaml")
    for read in (config, load_config(tmp_path / "config.yaml")):
        assert read.query.options == {"power": 0.001, "word": "1e-3", "other": -50.0}
    assert split("some,C=1e-3,layers=[1,2],name=x") == ("some", {"C": 0.001, "layers": [1, 2], "name": "x"})


def test_the_saved_config_is_the_resolved_one(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, MINIMAL))
    saved = tmp_path / "config.yaml"
    save_config(config, saved)
    assert load_config(saved) == config
    assert yaml.safe_load(saved.read_text())["query"]["candidates"]["uniform"] == config.query.candidates.uniform


@pytest.mark.parametrize("path", sorted(set(CONFIGS.glob("*.yaml")) - {CONFIGS / "policy.yaml"}), ids=lambda p: p.name)
def test_every_config_of_ours_loads(path: Path) -> None:
    assert load_config(path).label.classes


def test_our_config_of_a_policy_loads() -> None:
    assert validate(PolicyConfig, read_settings(CONFIGS / "policy.yaml"), "").synthetic


def test_an_unknown_key_in_a_list_of_sections_is_named_like_any_other() -> None:
    with pytest.raises(DiscoverError, match=r"mine\.yaml: unknown key 'corpora\.0\.tset': did you mean 'test'\?"):
        validate(PolicyConfig, {"corpora": [{"train": "a.jsonl", "test": "b.jsonl", "tset": "c.jsonl"}]}, "mine.yaml")
