"""A run folder: the names of its files, its lock, and how an artefact is published.

Publishing follows the classic recipe: write aside, fsync, rename, fsync the folder. A reader sees the old file or the
new one, never half of either; what a killed process left behind ends in ``.partial`` and is swept at the next start.
"""

import fcntl
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from discover.errors import DiscoverError

PARTIAL = ".partial"


class RunFolder:
    """Where a run keeps its things; the layout is part of the public interface."""

    def __init__(self, root: Path | str):
        self.root = Path(root)
        self.config = self.root / "config.yaml"
        self.database = self.root / "discover.db"
        self.metrics = self.root / "metrics.jsonl"
        self.decisions = self.root / "decisions.jsonl"
        self.decision_arrays = self.root / "decisions"
        self.report = self.root / "report.html"
        self.learning_curve = self.root / "learning_curve.png"
        self.models = self.root / "models"
        self.vectors = self.root / "vectors"

    def create(self) -> None:
        """Make the folder and check that it can be written to.

        Raises:
            DiscoverError: the folder cannot be made or is read-only.
        """
        try:
            for folder in (self.root, self.decision_arrays, self.models, self.vectors):
                folder.mkdir(parents=True, exist_ok=True)
            probe = self.root / f"probe{PARTIAL}"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise DiscoverError(
                f"the run folder {self.root} must be writable, but {error.strerror or error}: choose another with --run"
            ) from error

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run: one loop a folder.

        Raises:
            DiscoverError: another process holds it.
        """
        with (self.root / "run.lock").open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise DiscoverError(
                    f"another process is running the loop in {self.root}: wait for it, or stop it, then try again"
                ) from error
            yield

    def sweep(self) -> None:
        """Remove what a killed process left half written."""
        for leftover in self.root.rglob(f"*{PARTIAL}"):
            if leftover.is_dir():
                shutil.rmtree(leftover)
            else:
                leftover.unlink()


@contextmanager
def publish(path: Path) -> Iterator[Path]:
    """Yield a scratch path beside ``path``; on success it takes the place of ``path``, durably and atomically.

    The body may create a file or a folder there. A folder that already stands at ``path`` is replaced.
    """
    scratch = path.with_name(path.name + PARTIAL)
    if scratch.is_dir():
        shutil.rmtree(scratch)
    yield scratch
    for item in sorted(scratch.rglob("*")) if scratch.is_dir() else []:
        _sync(item)
    _sync(scratch)
    if scratch.is_dir() and path.exists():
        shutil.rmtree(path)
    scratch.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def crashpoint(name: str) -> None:
    """Die as by ``kill -9`` where ``DISCOVER_CRASH_AT`` says so: how the suite proves that a killed run goes on."""
    if os.environ.get("DISCOVER_CRASH_AT") == name:
        os.kill(os.getpid(), signal.SIGKILL)
