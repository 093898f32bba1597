"""The harness of `make bench`: rows are checked, written with date and machine, and a failure is told."""

import json
import sys

import pytest

from tests.benchmarks import __main__ as harness

GOOD = """
def measure():
    return [{"name": "speed", "value": 3.5, "unit": "docs/s", "peer": "slow", "peer_value": 1, "ratio": 3.5, "goal": 3,
             "holds": True}]
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of made-up benchmarks: a function that writes one."""
    folder = tmp_path / "some_benchmarks"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield lambda name, text: (folder / f"{name}.py").write_text(text)
    for name in [name for name in sys.modules if name.startswith("some_benchmarks")]:
        del sys.modules[name]


def test_rows_are_written_with_date_and_machine(package, tmp_path, capsys):
    package("speed", GOOD)
    package("silent", "x = 1")
    results = tmp_path / "bench" / "results.jsonl"
    assert harness.run(["silent", "speed"], results, "some_benchmarks")
    (row,) = [json.loads(line) for line in results.read_text().splitlines()]
    assert set(harness.KEYS) <= set(row)
    assert row["benchmark"] == "speed"
    assert row["machine"]["cores"] >= 1
    assert "numpy" in row["machine"]["versions"]
    assert "3.5 docs/s" in capsys.readouterr().out
    harness.run(["speed"], results, "some_benchmarks")
    assert len(results.read_text().splitlines()) == 2


def test_one_that_does_not_hold_or_fails_is_told_and_the_rest_still_run(package, tmp_path, capsys):
    package("speed", GOOD)
    package("missed", GOOD.replace("True", "False"))
    package("broken", "def measure():\n    raise RuntimeError('no peer')")
    results = tmp_path / "results.jsonl"
    assert not harness.run(["broken", "speed"], results, "some_benchmarks")
    assert not harness.run(["missed"], results, "some_benchmarks")
    assert len(results.read_text().splitlines()) == 2
    assert "no peer" in capsys.readouterr().err


def test_a_row_without_its_keys_is_refused(package, tmp_path):
    package("short", "def measure():\n    return [{'name': 'x'}]")
    with pytest.raises(ValueError, match="must give name, value"):
        harness.run(["short"], tmp_path / "results.jsonl", "some_benchmarks")


def test_benchmarks_are_found_by_their_files():
    assert "round" in harness.names()
    assert "__main__" not in harness.names()
