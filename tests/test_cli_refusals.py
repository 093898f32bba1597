"""Commands that need no run: the one line where something cannot be done, wrong usage, a stop."""

import io
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from discover.cli import main
from discover.config import load_config
from discover.start import start_run
from tests.commands import assert_one_line
from tests.commands import command as run
from tests.conftest import mounted
from tests.kills import write_inputs


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "absent.yaml"], "cannot be read"),
        (["status", "--run", "absent"], "is no run folder"),
        (["run", "{config}", "--set", "label.budget=0"], ".yaml --set label.budget=0: 'label.budget'"),
        (["run", "{config}", "--set", "query.strategy=margn"], "did you mean 'margin'?"),
        (["run", "{config}", "--set", "loop.arms=[margin, rndom]"], "did you mean 'random'?"),
        (["run", "{config}", "--set", "label.oracle=file_lables"], "did you mean 'file_labels'?"),
        (["run", "{config}", "--set", "pool.url=mysql://x"], "pool.url must be like"),
        (["run", "{config}", "--set", "pool.url=sqlite:////nowhere/at/all.db"], "cannot be used"),
        (["run", "{config}", "--set", "encoder.model=no/such-model"], "no/such-model"),
        (["run", "{config}", "--set", "name=../elsewhere"], "one name without a slash"),
        (["run", "{config}", "--set", "learn.learning_rate=.inf"], "learn.learning_rate"),
        (["run", "{config}"], "the pool is empty, since there is no run in"),
        (["pretrain", "{config}"], "the pool is empty, since there is no run in"),
        (["crawl", "{config}"], "needs a section `crawl`"),
        (["import", "{config}", "absent.jsonl"], "absent.jsonl"),
        (["import", "{config}", "{folder}/bad.csv"], "line 1 must name the columns"),
        (["import", "{config}", "{folder}/other.csv"], "one column 'text' is expected, found 'words'"),
        (["run", "{config}", "--set", "label.oracle=people"], "with people there is one arm"),
    ],
)
def test_one_line_when_it_cannot_be_done(tmp_path: Path, arguments: list[str], said: str) -> None:
    config = write_inputs(tmp_path, documents=5)
    (tmp_path / "bad.csv").write_text('"te"xt,label\nhello there,a\n')
    (tmp_path / "other.csv").write_text("words\nhello there\n")
    filled = [argument.format(config=config, folder=tmp_path) for argument in arguments]
    run_folder = ["--run", tmp_path / "run"] if arguments[0] in ("run", "crawl", "import", "pretrain") else []
    assert_one_line(run(*filled, *run_folder), said)
    nothing = ("did you mean", "people", "pool.url", "cannot be used", "crawl", "absent.jsonl", "column", "empty")
    if any(part in said for part in nothing):
        assert not (tmp_path / "run").exists(), "a config that is refused leaves nothing behind"


def test_an_empty_run_that_is_there_stays(tmp_path: Path) -> None:
    config = write_inputs(tmp_path, documents=5)
    start_run(load_config(config), tmp_path / "run").close()
    assert_one_line(run("run", config, "--run", tmp_path / "run"), "nothing to learn from")
    assert_one_line(run("pretrain", config, "--run", tmp_path / "run"), "too small to pretrain on")
    assert (tmp_path / "run" / "discover.db").is_file()


def test_documents_without_an_answer_are_not_called_an_empty_pool(tmp_path: Path) -> None:
    config, folder = write_inputs(tmp_path, documents=5), ["--run", tmp_path / "run"]
    (tmp_path / "unlabelled.csv").write_text("text\nan ordinary line of text without a label\n")
    assert run("import", config, tmp_path / "unlabelled.csv", *folder).returncode == 0
    assert_one_line(run("run", config, *folder), "no single one for any, so that all are set")
    people = [word for key in ("oracle=people", "seed=0") for word in ("--set", f"label.{key}")]
    done = run("run", config, *folder, *people, "--set", "loop.arms=[]", "--rounds", 1)
    assert done.returncode == 0 and "0 labels" in done.stdout, done.stderr


def test_a_test_set_that_leaves_too_few_to_ask_about_is_refused(tmp_path: Path) -> None:
    config, folder = write_inputs(tmp_path, documents=60), ["--run", tmp_path / "run"]  # 12 of them to test on
    assert run("import", config, tmp_path / "documents.jsonl.gz", *folder).returncode == 0
    said = "41 test documents are wanted, and 20 others to ask about, but the pool has 60 for both"
    assert_one_line(run("run", config, *folder, "--set", "loop.test=41"), said)
    assert run("run", config, *folder, "--set", "loop.test=40", "--rounds", 1).returncode == 0


def test_weights_that_grow_without_bound_are_not_published(tmp_path: Path) -> None:
    config = write_inputs(tmp_path, documents=60, method="top")
    run("import", config, tmp_path / "documents.jsonl.gz", "--run", tmp_path / "run")
    wild = ["--set", "learn.learning_rate=1e20", "--set", "learn.head_learning_rate=1e30"]
    assert_one_line(run("run", config, "--run", tmp_path / "run", *wild), "lower learn.learning_rate")
    assert run("run", config, "--run", tmp_path / "run", "--rounds", 1).returncode == 0


def test_a_read_only_folder(tmp_path: Path) -> None:
    config = write_inputs(tmp_path, documents=5)
    with mounted("size=1m,ro") as folder:
        refused = run("import", config, tmp_path / "documents.jsonl.gz", "--run", folder / "run")
    assert_one_line(refused, "must be writable, but Read-only file system")


def test_a_run_folder_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    config = write_inputs(tmp_path, documents=5)
    refused = run("import", config, tmp_path / "documents.jsonl.gz", "--run", tmp_path / "file" / "run")
    assert_one_line(refused, "must be writable, but Not a directory")


@pytest.mark.parametrize(
    ("size", "said"), [("16k", "cannot be used (disk I/O error)"), ("2m", "free some space")], ids=["at once", "later"]
)
def test_a_full_disk(tmp_path: Path, size: str, said: str) -> None:
    config = write_inputs(tmp_path, documents=2000)
    with mounted(f"size={size}") as folder:
        assert_one_line(run("import", config, tmp_path / "documents.jsonl.gz", "--run", folder / "run"), said)


def test_wrong_usage_is_status_2() -> None:
    assert run("run").returncode == 2
    assert run("export", "everything").returncode == 2
    assert run().returncode == 2
    for minutes in ("-1", "nan", "0", "inf", "soon"):
        with pytest.raises(SystemExit) as ended:
            main(["search", "config.yaml", "--minutes", minutes])
        assert ended.value.code == 2
    assert run("--version").stdout.startswith("discover ")


@pytest.mark.parametrize(("name", "encoding"), [("ü", "ascii"), ("caf\udce9", "utf-8")])
def test_a_name_that_the_terminal_cannot_write_is_escaped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, encoding: str
) -> None:
    start_run(load_config(write_inputs(tmp_path, documents=5)), tmp_path / name).close()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding))
    assert main(["status", "--run", str(tmp_path / name)]) == 0
    assert ascii(name).strip("'").encode() in sys.stdout.buffer.getvalue()


def test_doctor_says_what_there_is() -> None:
    result = run("doctor")
    assert "torch" in result.stdout and "faiss" in result.stdout
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_in_a_finaliser_is_not_lost(number: int, status: int) -> None:
    program = f"""
import os, sys, time
from discover import cli

class Finalised:
    def __del__(self):
        os.kill(os.getpid(), {int(number)})
        time.sleep(0.01)

def command(options):
    Finalised()
    time.sleep(20)

cli._doctor = command
sys.exit(cli.main(["doctor"]))
"""
    started = time.monotonic()
    stopped = subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
    assert (stopped.returncode, stopped.stderr.count("\n")) == (status, 1), stopped.stderr
    assert time.monotonic() - started < 15
