"""`discover bench`: the files it leaves, that finished cells are kept, and what it refuses."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from discover.bench import workers
from discover.bench.output import table
from discover.cli import main
from discover.evaluate.compare import aulc
from discover.pool.document import Document
from tests.kills import CLASSES, curves_of
from tests.labelled_files import LEARNER, rows, write, write_pair

SMALL = ("--seeds", "2", "--initial", "10", "--batch", "10", "--budget", "30", "--candidates", "60", "--jobs", "1")


@pytest.fixture(autouse=True)
def one_thread():
    """Threads of a busy machine wait for each other; these campaigns are too small to gain from several."""
    with threadpool_limits(1):
        yield


@pytest.fixture
def files(tmp_path):
    (tmp_path / "mine.py").write_text(LEARNER)
    return write_pair(tmp_path)


def command(files, output, *more, learner=None):
    train, test = files
    mine = learner or f"{train.parent / 'mine.py'}:hashed"
    return ["bench", "--train", str(train), "--test", str(test), "--learner", mine, "--output", str(output), *more]


def results_of(folder: Path) -> list[dict]:
    found = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if not key.endswith("seconds")} for row in found]


def cells_of(folder: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted((folder / "cells").iterdir())]


def test_what_a_bench_leaves(files, tmp_path, capsys):
    other = write_pair(tmp_path, 130, 50, "more")
    output = tmp_path / "out"
    more = ["--train", str(other[0]), "--test", str(other[1]), "--learner", "head,head_penalty=0.5"]
    assert main(command(files, output, *SMALL, *more, "--strategy", "margin", "entropy")) == 0
    shown = capsys.readouterr()
    assert "words: 150 documents to ask about, 60 to test on, 4 classes; left out: nothing" in shown.err
    assert "not those of the pool" not in shown.err
    rows_ = results_of(output)
    arms = {(row["dataset"], row["learner"], row["strategy"], row["seed"]) for row in rows_}
    assert len(arms) == 2 * 2 * (3 * 2 + 1)  # full supervision once
    assert set(rows_[0]) == {
        "dataset",
        "learner",
        "strategy",
        "seed",
        "labels",
        "effort",
        "accuracy",
        "macro_f1",
        "minority_f1",
        "ece",
    }
    assert {row["labels"] for row in rows_ if row["strategy"] == "margin"} == {10, 20, 30}
    assert {row["labels"] for row in rows_ if row["strategy"] == "full supervision"} == {150, 130}
    for cell in cells_of(output):
        assert len(cell["seed_documents"]) == (0 if cell["strategy"] == "full supervision" else 10)
    summary = json.loads((output / "summary.json").read_text())
    assert summary["datasets"]["more"]["pool"] == 130 and summary["datasets"]["more"]["class_shift"] < 0.2
    check_summary(summary, rows_)
    assert {path.name for path in (output / "curves").iterdir()} == {"words.png", "more.png"}
    arm = next(one for one in summary["arms"] if one["dataset"] == "more" and one["learner"].startswith("head"))
    shown_there = curves_of(output)[f"more/{arm['learner']}/{arm['strategy']}"]
    assert set(shown_there) == {"accuracy", "macro_f1", "minority_f1", "calibration_error"}
    means = [(step, pytest.approx(mean)) for step, mean in zip(arm["labels"], arm["ece"], strict=True)]
    assert shown_there["calibration_error"] == means
    lines = shown.out.splitlines()
    assert sum(line.lstrip().startswith(("head", "mine.py:")) for line in lines) == 2 * 2 * 4 + 2 * 2
    assert any(line.startswith("all datasets") for line in lines)


def test_test_documents_drawn_from_elsewhere_are_told(files, tmp_path, capsys):
    common = max(CLASSES, key=[row["label"] for row in rows(150, 1)].count)
    write(files[1], [row for row in rows(120, 2) if row["label"] != common])
    more = ["--seeds", "1", "--budget", "10", "--no-full"]
    assert main(command(files, tmp_path / "out", *SMALL, *more, "--strategy", "margin")) == 0
    shown, told = capsys.readouterr().err, json.loads((tmp_path / "out" / "summary.json").read_text())
    shift = told["datasets"]["words"]["class_shift"]
    assert shift > 0.3 and f"are not those of the pool (total variation {shift:.2f}" in shown


def test_arms_whose_files_have_one_name_are_told_apart(files, tmp_path, capsys):
    words = [f"{tmp_path / folder}/mine.py:hashed" for folder in ("one", "other")]
    for word in words:
        Path(word.partition(":")[0]).parent.mkdir()
        Path(word.partition(":")[0]).write_text(LEARNER)
    more = ["--seeds", "1", "--budget", "10", "--no-full", "--learner", words[1], f"{words[1]},C=1.0"]
    assert main(command(files, tmp_path / "out", *SMALL, *more, "--strategy", "margin", learner=words[0])) == 0
    named = {line.split()[0] for line in capsys.readouterr().out.splitlines() if "mine.py" in line}
    assert named == {*words, "mine.py:hashed,C=1.0"}
    shown = {word.replace("/", "_") for word in named}
    assert set(curves_of(tmp_path / "out")) == {f"words/{name}/{arm}" for name in shown for arm in ("random", "margin")}


def test_a_large_pool_is_told_to_the_last_document():
    arm = {"dataset": "large", "learner": "head", "strategy": "full supervision", "labels": [1234567], "seeds": 1}
    arm |= {"final_accuracy": 0.9, "half_width": [None]}
    assert " 1234567 " in list(table({"arms": [arm], "comparisons": [], "notes": [], "pooled": []}))[-1]


def check_summary(summary: dict, found: list[dict]) -> None:
    """Means, areas and differences, worked out anew from the rows."""

    def curve(arm, strategy, seed):
        same = [r for r in found if (r["dataset"], r["learner"], r["seed"]) == (arm["dataset"], arm["learner"], seed)]
        return [(row["labels"], row["accuracy"]) for row in same if row["strategy"] == strategy]

    for arm in summary["comparisons"]:
        areas = {
            strategy: [aulc(*zip(*curve(arm, strategy, seed), strict=True)) for seed in range(2)]
            for strategy in ("random", arm["strategy"])
        }
        gain = np.subtract(areas[arm["strategy"]], areas["random"])
        assert arm["aulc"]["mean"] == pytest.approx(gain.mean())
        assert arm["aulc"]["low"] < gain.mean() < arm["aulc"]["high"]
        assert arm["aulc"]["p"] in (0.5, 1)
        assert arm["aulc"]["p"] <= arm["aulc"]["p_holm"] <= 1
        mean = next(a for a in summary["arms"] if all(a[k] == arm[k] for k in ("dataset", "learner", "strategy")))
        finals = [curve(arm, arm["strategy"], seed)[-1][1] for seed in range(2)]
        assert mean["final_accuracy"] == mean["accuracy"][-1] == pytest.approx(np.mean(finals))
        assert mean["aulc"] == pytest.approx(np.mean(areas[arm["strategy"]]))
    pooled = next(row for row in summary["pooled"] if row["strategy"] == "margin" and row["learner"].startswith("head"))
    means = [
        row["aulc"]["mean"]
        for row in summary["comparisons"]
        if (row["learner"], row["strategy"]) == (pooled["learner"], "margin")
    ]
    assert pooled["aulc"]["mean"] == pytest.approx(np.mean(means))
    assert pooled["datasets"] == len(means) == 2


def test_finished_cells_are_kept_and_a_changed_setting_makes_new_ones(files, tmp_path, monkeypatch, capsys):
    output = tmp_path / "out"
    assert main(command(files, output, *SMALL)) == 0
    before = {path: path.stat().st_mtime_ns for path in (output / "cells").iterdir()}
    first = results_of(output)
    monkeypatch.setattr(workers.Stage, "play", lambda *_: pytest.fail("a finished cell was played again"))
    capsys.readouterr()
    assert main(command(files, output, *SMALL, "--json")) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((output / "summary.json").read_text())
    assert {path: path.stat().st_mtime_ns for path in (output / "cells").iterdir()} == before
    assert results_of(output) == first
    monkeypatch.undo()
    assert main(command(files, output, *SMALL, "--noise", "0.3")) == 0
    assert len(list((output / "cells").iterdir())) == 2 * len(before)
    noisy = results_of(output)
    assert noisy != first
    assert len(noisy) == len(first)  # only what this command asked for
    # Other options of the same word, and another version of the same file.
    mine = files[0].parent / "mine.py"
    assert main(command(files, output, *SMALL, learner=f"{mine}:hashed,C=1")) == 0
    mine.write_text(LEARNER + "\n")
    assert main(command(files, output, *SMALL)) == 0
    assert len(list((output / "cells").iterdir())) == 4 * len(before)


def test_the_head_and_flags_together(files, tmp_path):
    output = tmp_path / "out"
    more = (
        "--balanced",
        "--no-full",
        "--candidates",
        "0",
        "--test-limit",
        "20",
        "--target",
        "0.1",
        "--temperature",
        "0.1",
    )
    assert main(command(files, output, *SMALL, *more, "--seeds", "1", learner="head")) == 0
    by_id = {Document(row["text"]).public_id: row["label"] for row in rows(150, 1)}
    for cell in cells_of(output):
        assert cell["strategy"] != "full supervision"
        counts = np.unique([by_id[one] for one in cell["seed_documents"]], return_counts=True)[1]
        assert sorted(counts.tolist()) == [2, 2, 3, 3]
    summary = json.loads((output / "summary.json").read_text())
    for arm in summary["arms"]:
        assert (arm["target"], arm["standard_error"][0]) == (0.1, None)
        assert arm["accuracy"][-1] * 20 == pytest.approx(round(arm["accuracy"][-1] * 20))
    assert summary["comparisons"][0]["aulc"]["p"] is None


def test_a_runs_folder_is_no_place_for_a_bench(files, tmp_path, capsys):
    (tmp_path / "config.yaml").write_text("name: mine")
    assert main(command(files, tmp_path, *SMALL)) == 1
    assert "holds a run: name another" in capsys.readouterr().err and not (tmp_path / "cells").exists()


def test_arms_that_start_otherwise_are_refused(files, tmp_path, capsys):
    mine = files[0].parent / "mine.py"
    assert main(command(files, tmp_path / "out", *SMALL, learner=f"{mine}:Random")) == 1
    shown = capsys.readouterr().err.splitlines()[-1]
    assert shown.startswith("discover: on words with seed ")
    assert "all arms must start alike" in shown
    assert "a learner of your own needs a fixed seed" in shown


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--learner", "hed"], "the learner 'hed': 'method': Input should be 'head', 'top'"),
        (["--learner", "top,layer=3"], "unknown key 'layer': did you mean 'layers'?"),
        (["--learner", "top,layers"], "name,key=value,… is expected"),
        (["--learner", "no/such.py:one"], "which does not exist"),
        (["--learner", "{mine}:none"], "defines no 'none'"),
        (["--learner", "{mine}:number"], "a class or function that makes a learner, found int"),
        (["--learner", "{mine}:hashed,c=1"], "has no option 'c': known options: C"),
        (["--learner", "{mine}:Broken"], "failed in fit: ValueError: no such luck"),
        (["--learner", "{mine}:Renamed"], "must keep the labels it is given"),
        (["--learner", "{mine}:Wide"], "must give finite probabilities of shape"),
        (
            ["--learner", "{mine}:Percent"],
            "must give probabilities that sum to 1 for each text, found 100 for text 1 of",
        ),
        (["--strategy", "margn"], "did you mean 'margin'?"),
        (["--strategy", "margin", "committee"], "committee asks heads of our own, and"),
        (["--strategy", "margin,power=2"], "has no option 'power'"),
        (["--train", "more.jsonl"], "--train names 2 files and --test 1"),
        (["--train", "{train}", "--test", "{test}"], "two training files are called 'words'"),
        (["--initial", "400", "--budget", "500"], "--initial asks for 400 seed labels, words has 150 texts"),
        (["--budget", "5"], "discover bench: budget counts the seed labels, so it must be at least initial, 10"),
        (["--noise", "1"], "'noise': Input should be less than 1"),
        (["--output", "{mine}"], "mine.py must be writable, but File exists: choose another folder"),
        (["--seeds", "0"], "'seeds': Input should be greater than or equal to 1"),
    ],
)
def test_what_cannot_work_is_told_in_one_line(files, tmp_path, capsys, change, message):
    paths = {"mine": tmp_path / "mine.py", "train": files[0], "test": files[1]}
    change = [word.format(**paths) for word in change]
    assert main(command(files, tmp_path / "out", *SMALL, *change)) == 1
    shown = capsys.readouterr().err.splitlines()
    assert message in shown[-1]
    assert sum(line.startswith("discover: ") for line in shown) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("def mine(): ...\nraise SystemExit(0)", "mine.py fails on import: SystemExit: 0 (line 2 of "),
        ("def mine(): raise SystemExit(0)", "mine.py:mine' cannot be made: SystemExit: 0"),
    ],
)
def test_a_file_of_ones_own_that_ends_the_program_is_no_success(files, tmp_path, capsys, content, message):
    (tmp_path / "mine.py").write_text(content)
    assert main(command(files, tmp_path / "out", *SMALL, learner=f"{tmp_path / 'mine.py'}:mine")) == 1
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_a_lone_class_among_the_seed_labels(tmp_path):
    (tmp_path / "mine.py").write_text(LEARNER)
    train = write(
        tmp_path / "skewed.jsonl", [*rows(60, 1), *({"text": f"fish {n}", "label": "rare"} for n in range(2))]
    )
    test = write(tmp_path / "test.jsonl", rows(20, 2))
    small = (*SMALL, "--initial", "1", "--budget", "12")
    assert main(command((train, test), tmp_path / "out", *small)) == 0
    assert results_of(tmp_path / "out")[0]["labels"] == 1


MANY = ("--seeds", "6", "--initial", "10", "--batch", "4", "--budget", "50", "--strategy", "margin", "--jobs", "2")


def begin(files, output) -> subprocess.Popen:
    """The command in a process of its own, which has finished a cell and is playing others."""
    program = [sys.executable, "-m", "discover.cli", *command(files, output, *MANY)]
    running = subprocess.Popen(program, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    while not list(output.glob("cells/*.json")):
        assert running.poll() is None, running.communicate()
        time.sleep(0.05)
    return running


def workers_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
def test_killed_and_stopped_benches_go_on(files, tmp_path):
    output = tmp_path / "out"
    running = begin(files, output)
    children = workers_of(running.pid)
    running.kill()
    running.communicate()
    ended = time.monotonic()
    while any(map(alive, children)):
        assert time.monotonic() - ended < 10, "a worker outlived the bench"
        time.sleep(0.05)
    kept = len(list(output.glob("cells/*.json")))
    assert 0 < kept < 13

    for cell in list(output.glob("cells/*.json"))[1:]:
        cell.unlink()
    running = begin(files, output)
    while len(list(output.glob("cells/*.json"))) < 2:
        time.sleep(0.05)
    running.send_signal(signal.SIGTERM)
    _, told = running.communicate(timeout=10)
    assert running.returncode == 143
    assert told.splitlines()[-1].startswith("discover: stopped")
    assert "Traceback" not in told

    assert main(command(files, output, *MANY, "--jobs", "1")) == 0
    assert main(command(files, tmp_path / "unkilled", *MANY, "--jobs", "1")) == 0
    assert results_of(output) == results_of(tmp_path / "unkilled")
    assert not list(output.rglob("*.partial"))
