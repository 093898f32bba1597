"""What a decision log must be: damage, disorder and names that do not fit are refused, with where and what to do."""

import shutil

import numpy as np
import pytest
from safetensors.numpy import save_file

from discover.errors import DiscoverError
from discover.ope.offline import ope, read
from discover.query.decisions import read_arrays
from tests.decision_logs import N, make_run, rewrite


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run", rounds=3, batch=3)


def feedback_of(log, target):
    return read(log, target, {}, "")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("logged,power=sharp", "power must be a finite number, found 'sharp'"),
        ("logged,power=.inf", "power must be a finite number, found inf"),
        ("margin,temperature=hot", "temperature must be a finite number or null, found 'hot'"),
        ("margin,floor=2", "floor must be a share from 0 to 1, found 2"),
    ],
)
def test_options_that_do_not_fit_are_named(run, target, message):
    with pytest.raises(DiscoverError, match=message):
        feedback_of(run.root, target)


def test_picks_in_another_order_than_drawn_are_refused(run):
    lines = run.decisions.read_text().splitlines()
    at = next(row for row, line in enumerate(lines) if '"margin-0002"' in line and '"document"' in line)
    lines[at], lines[at + 1] = lines[at + 1], lines[at]
    run.decisions.write_text("\n".join(lines) + "\n")
    with pytest.raises(DiscoverError, match="'margin-0002' must be those of its arrays, in the order of the draw"):
        feedback_of(run.root, "uniform")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask": None}, "found no 'mask'"),
        ({"log_propensities": [-1.0]}, r"found 'log_propensities' of the shape \(1,\) and float64 instead of \(3,\)"),
        ({"picked": [0.0, 1.0, 2.0]}, r"found 'picked' of the shape \(3,\) and float64 instead of"),
        ({"logits": [np.nan] * N}, "found logits that are not finite"),
        ({"picked": [0, 1, N]}, "found picks that are none of them"),
        ({"mask": [False] * N}, "found picks that are none of them"),
        ({"logits": [0.0]}, rf"found 'logits' of the shape \(1,\) and float64 instead of \({N},\)"),
        ({"generator": np.full(N, 9, np.uint8)}, "found unnamed generators"),
        ({}, "found no 'features'"),
    ],
)
def test_damaged_arrays_are_named(run, change, message):
    path = run.decision_arrays / "margin-0002.safetensors"
    arrays, metadata = read_arrays(path)
    changed = {
        name: np.array(change.get(name, array)) for name, array in arrays.items() if change.get(name, 0) is not None
    }
    save_file(changed, path, metadata if change else {})
    with pytest.raises(
        DiscoverError, match=rf"margin-0002\.safetensors must hold the candidates of a query, {message}"
    ):
        feedback_of(run.root, "uniform")


def test_a_temperature_that_is_no_number_is_named(run):
    path = run.decision_arrays / "margin-0002.safetensors"
    arrays, metadata = read_arrays(path)
    save_file({name: np.array(array) for name, array in arrays.items()}, path, metadata | {"temperature": "hot"})
    with pytest.raises(DiscoverError, match=r"found a temperature or a floor that is no number .*'hot'"):
        feedback_of(run.root, "uniform")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda line: {k: v for k, v in line.items() if k != "round"},
            "line 1: a query must have 'round', found query",
        ),
        (lambda line: None if "candidates" in line and line["round"] == 1 else line, "'margin-0001' must come first"),
        (lambda line: line | ({"item": 3} if "document" not in line else {}), ""),
        (lambda line: line | {"query": "margin-0000"}, "line 6: the query 'margin-0000' stands there twice"),
        (lambda line: line | ({"round": "2"} if "round" in line else {}), "line 1: 'round' cannot be '2': export"),
        (lambda line: line | ({"pick_reward": "high"} if "kind" in line else {}), "line 2: 'pick_reward' cannot be"),
        (lambda line: None if line.get("kind") == "policy" and line["query"] == "margin-0002" else line, "has 0 picks"),
    ],
    ids=["no round", "no query", "more keys", "twice", "a word", "no number", "no picks"],
)
def test_damaged_lines_are_named(run, change, message):
    rewrite(run, change)
    if not message:
        assert len(feedback_of(run.root, "uniform")[0]) == 9
        return
    with pytest.raises(DiscoverError, match=message):
        feedback_of(run.root, "uniform")


def test_other_lines_and_lost_arrays_are_named(run):
    text = run.decisions.read_text()
    run.decisions.write_text(text + '{"action": 1, "reward": 0}\n')
    with pytest.raises(DiscoverError, match=r"line 21: a query must have 'query', found action, reward: .*do not mix"):
        feedback_of(run.root, "uniform")
    run.decisions.write_text(text + "7\n")
    with pytest.raises(DiscoverError, match="line 21: an object is expected, found 7"):
        feedback_of(run.root, "uniform")
    run.decisions.write_bytes(text.encode() + b'"\xe9"\n')
    with pytest.raises(DiscoverError, match="line 21: JSON is expected"):
        feedback_of(run.root, "uniform")
    run.decisions.write_text(text + "{oops\n")
    with pytest.raises(DiscoverError, match="line 21: JSON is expected"):
        feedback_of(run.root, "uniform")
    run.decisions.write_text(text)
    (run.decision_arrays / "margin-0002.safetensors").unlink()
    with pytest.raises(DiscoverError, match=r"margin-0002\.safetensors, which is missing"):
        feedback_of(run.root, "uniform")


def test_a_log_that_was_exported_without_its_arrays_says_where_they_are(run, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    alone = shutil.copy(run.decisions, tmp_path / "elsewhere" / "log.jsonl")
    advice = r"log\.jsonl has the picks, and `decisions` of the run folder the candidates: name the run folder, or copy"
    with pytest.raises(DiscoverError, match=advice):
        feedback_of(alone, "uniform")
    shutil.copytree(run.decision_arrays, tmp_path / "elsewhere" / "decisions")
    assert len(feedback_of(alone, "uniform")[0]) == 9


def test_a_name_that_is_no_log_says_so(run, tmp_path):
    with pytest.raises(DiscoverError, match="must be a decision log, a run folder or a table, found none"):
        ope(tmp_path / "nothing", "uniform")
    with pytest.raises(DiscoverError, match="--columns are those of a table"):
        ope(run.root, "uniform", columns={"action": "a"})
    with pytest.raises(DiscoverError, match="did you mean 'margin'"):
        ope(run.root, "margn")
