"""The run folder: publishing, the lock, and folders that cannot be written to."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from discover.errors import DiscoverError
from discover.run import RunFolder, keep_settings, publish


def test_a_failed_publication_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "metrics.jsonl"
    with publish(target) as scratch:
        scratch.write_text("old")
    with pytest.raises(ZeroDivisionError), publish(target) as scratch:
        scratch.write_text("ne")
        raise ZeroDivisionError
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_two_processes_publish_one_file_and_each_has_its_own_scratch(tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    program = f"""
from pathlib import Path
from discover.run import publish
with publish(Path({str(target)!r})) as scratch:
    scratch.write_text("theirs")
"""
    with publish(target) as scratch:
        scratch.write_text("ours")
        subprocess.run([sys.executable, "-c", program], check=True)
        assert target.read_text() == "theirs"
    assert target.read_text() == "ours"


def test_a_sweep_takes_what_was_half_written_and_nothing_of_the_user(tmp_path: Path) -> None:
    names = (
        "metrics.jsonl",
        "policy",
        "imitated",
        "models/margin-0001",
        "vectors/v/manifest.json",
        "vectors/v/index/files",
    )
    halves = [tmp_path / f"{name}.4194304.partial" for name in names]
    kept = [
        tmp_path / name for name in ("film.partial", "film.7.partial", "downloads/film.7.partial", "models/a.partial")
    ]
    for path in (*halves, *kept):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("half")
    RunFolder(tmp_path).sweep()
    assert not any(path.exists() for path in halves)
    assert all(path.exists() for path in kept)


def test_a_kill_while_a_folder_is_replaced_loses_nothing(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from discover.run import publish
for content in ("one", "two"):
    with publish(Path(sys.argv[1]) / "models" / "m") as scratch:
        scratch.mkdir(parents=True)
        (scratch / content).write_text(content)
"""
    environment = {**os.environ, "DISCOVER_CRASH_AT": "publish"}
    killed = subprocess.run([sys.executable, "-c", program, tmp_path], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    RunFolder(tmp_path).sweep()
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == [
        "models",
        "models/m",
        "models/m/one",
    ]


def test_a_folder_is_published_whole_and_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "model"
    for content in ("one", "two"):
        with publish(target) as scratch:
            scratch.mkdir()
            (scratch / content).write_text(content)
        assert [path.name for path in target.iterdir()] == [content]


def test_one_loop_a_folder(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    program = f"from discover.run import RunFolder\nwith RunFolder({str(tmp_path)!r}).lock(): print('held')"
    with folder.lock():
        held = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "another process is at work" in held.stderr
    free = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert free.stdout == "held\n"


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DiscoverError, match="must be writable"):
        RunFolder(tmp_path / "file" / "run").create()


def test_a_replacement_that_fails_puts_the_old_folder_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "model"
    target.mkdir()
    (target / "card.json").write_text("old")

    def refuse(_name: str) -> None:
        raise OSError("no")

    monkeypatch.setattr("discover.run.crashpoint", refuse)  # it stands between moving the old aside and the new in
    with pytest.raises(OSError, match="no"), publish(target) as scratch:
        scratch.mkdir()
        (scratch / "card.json").write_text("new")
    assert (target / "card.json").read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("damaged", [b'{"passes": 3', b"\xff", b"3"])
def test_damaged_settings_of_a_work_under_way_are_told(tmp_path, damaged):
    path = tmp_path / "settings.json"
    keep_settings(path, {"passes": 3})
    keep_settings(path, {"passes": 3})
    path.write_bytes(damaged)
    with pytest.raises(DiscoverError, match=r"settings.json .* is damaged .*: remove .* to begin anew"):
        keep_settings(path, {"passes": 3})
