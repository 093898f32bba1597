"""A killed run goes on and ends as if nobody had killed it."""

import random
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kills import Server, decisions_of, metrics_without_times, write_inputs

STEPS = ("intake", "query", "collect", "teach", "evaluate")
POINTS = ["embed", *(f"{moment}_{step}" for step in STEPS for moment in ("before", "during", "within", "after"))]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


@pytest.fixture(scope="module")
def begun(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a config and a run into which the documents are imported, and an unkilled run beside it."""
    folder = tmp_path_factory.mktemp("resume")
    config = write_inputs(folder)
    run = folder / "unkilled"
    assert server.run(["import", str(config), str(folder / "documents.jsonl.gz"), "--run", str(run)])["status"] == 0
    shutil.copytree(run, folder / "imported")
    assert server.run(["run", str(config), "--run", str(run)])["status"] == 0
    return folder


def compare(begun: Path, run: Path) -> None:
    assert metrics_without_times(run) == metrics_without_times(begun / "unkilled")
    assert decisions_of(run) == decisions_of(begun / "unkilled")
    with sqlite3.connect(run / "discover.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        doubled = "SELECT arm, document_id FROM slot GROUP BY arm, document_id HAVING count(*) > 1"
        assert database.execute(doubled).fetchall() == []
        twice = "SELECT slot_id FROM answer WHERE action = 'answer' GROUP BY slot_id HAVING count(*) > 1"
        assert database.execute(twice).fetchall() == []
    database.close()


def test_killed_at_every_named_step(begun: Path, server: Server) -> None:
    run = begun / "named"
    shutil.copytree(begun / "imported", run)
    for point in POINTS:
        attempt = server.run(["run", str(begun / "kills.yaml"), "--run", str(run)], crash_at=point)
        assert attempt["status"] == -signal.SIGKILL, f"{point} was not reached"
    assert server.run(["run", str(begun / "kills.yaml"), "--run", str(run)])["status"] == 0
    compare(begun, run)


def test_killed_at_five_random_moments(begun: Path, server: Server) -> None:
    whole = begun / "timed"
    shutil.copytree(begun / "imported", whole)
    seconds = server.run(["run", str(begun / "kills.yaml"), "--run", str(whole)])["seconds"]
    rng = random.Random(11)
    run = begun / "random"
    shutil.copytree(begun / "imported", run)
    for _ in range(5):
        server.run(["run", str(begun / "kills.yaml"), "--run", str(run)], kill_after=rng.uniform(0.1, 0.6) * seconds)
    assert server.run(["run", str(begun / "kills.yaml"), "--run", str(run)])["status"] == 0
    compare(begun, run)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stop_is_clean_and_quick(begun: Path, server: Server, number: int, status: int) -> None:
    run = begun / f"stopped-{number}"
    shutil.copytree(begun / "imported", run)
    stopped = server.run(["run", str(begun / "kills.yaml"), "--run", str(run)], kill_after=1.0, signal_=number)
    assert stopped["status"] in (status, 0)  # 0: it had ended before
    assert stopped["seconds"] < 11
    assert server.run(["run", str(begun / "kills.yaml"), "--run", str(run)])["status"] == 0
    compare(begun, run)
