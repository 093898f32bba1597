"""The run folder: publishing, the lock, and folders that cannot be written to."""

import subprocess
import sys
from pathlib import Path

import pytest

from discover.errors import DiscoverError
from discover.run import RunFolder, publish


def test_a_failed_publication_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "metrics.jsonl"
    with publish(target) as scratch:
        scratch.write_text("old")
    with pytest.raises(ZeroDivisionError), publish(target) as scratch:
        scratch.write_text("ne")
        raise ZeroDivisionError
    assert target.read_text() == "old"
    RunFolder(tmp_path).sweep()
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


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
    assert "another process is running the loop" in held.stderr
    free = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert free.stdout == "held\n"


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DiscoverError, match="must be writable"):
        RunFolder(tmp_path / "file" / "run").create()
