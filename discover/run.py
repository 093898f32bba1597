"""A run folder: the names of its files, its lock, and how an artefact is published.

Publishing follows the classic recipe: write aside, fsync, rename, fsync the folder. A reader sees the old file or the
new one, never half of either. What a killed process left behind ends in ``.PID.partial`` and is swept at the next
start; a folder that was about to be replaced ends in ``.PID.old.partial`` and is put back when its place is empty.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from discover.errors import DiscoverError

PARTIAL = ".partial"
_OLD = ".old"
_LEFTOVER = re.compile(rf"(?P<name>.+)\.\d+(?P<old>{re.escape(_OLD)})?{re.escape(PARTIAL)}")


class RunFolder:
    """Where a run keeps its things; the layout is part of the public interface."""

    def __init__(self, root: Path | str):
        self.root = Path(root)
        self.config = self.root / "config.yaml"
        self.database = self.root / "discover.db"
        self.id = self.root / "run.id"  # by which a database at pool.url knows this folder, wherever it is moved
        self.metrics = self.root / "metrics.jsonl"
        self.decisions = self.root / "decisions.jsonl"
        self.decision_arrays = self.root / "decisions"
        self.report = self.root / "report.html"
        self.learning_curve = self.root / "learning_curve.png"
        self.models = self.root / "models"
        self.vectors = self.root / "vectors"
        self.tensorboard = self.root / "tensorboard"
        self.encoder = self.root / "encoder"  # what `discover pretrain` makes
        self.pretraining = self.root / "pretraining"  # on the way to it
        self.pretrained_on = self.pretraining / "documents.json"  # the row ids of what is read, all there or none
        self.reembedding_log = self.root / "reembedding.log"
        self.search = self.root / "search"  # what `discover search` tried, and found
        self.cells = self.root / "cells"  # this and the rest: of a bench, or of policies that are judged
        self.curves = self.root / "curves"
        self.results = self.root / "results.jsonl"
        self.summary = self.root / "summary.json"

    def create(self, *parts: Path) -> None:
        """Make the folder, and parts of it (none given: those of a campaign), and check that it can be written to.

        Raises:
            DiscoverError: the folder cannot be made or is read-only.
        """
        try:
            for folder in (self.root, *(parts or (self.decision_arrays, self.models, self.vectors))):
                folder.mkdir(parents=True, exist_ok=True)
            probe = _aside(self.root / "probe")
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise DiscoverError(
                f"the run folder {self.root} must be writable, but {error.strerror or error}: choose another folder"
            ) from error

    def cell(self, name: str, depends: dict[str, Any]) -> Path:
        """The file of a finished piece of work; anything that it depends on (plain values) makes another."""
        digest = hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:16]
        name = re.sub(r"[^\w.=+-]+", "_", name)[-120:]
        return self.cells / f"{name}-{digest}.json"

    def discard(self) -> None:
        """Remove the folders that `create` makes, where nothing has been put into them yet."""
        for folder in (self.decision_arrays, self.models, self.vectors, self.root):
            with suppress(OSError):
                folder.rmdir()

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
                    f"another process is at work in {self.root}: wait for it, or stop it, then try again"
                ) from error
            yield

    def sweep(self) -> None:
        """Remove what a killed process left half written; the user's own files, in a run folder or not, stay."""
        whole = (
            self.id,
            self.metrics,
            self.decisions,
            self.report,
            self.learning_curve,
            self.results,
            self.summary,
            self.encoder,
            self.pretraining,
        )
        files = {"probe", "imitated", "policy", *(path.name for path in whole)}
        ours = [path for path in self.root.glob(f"*{PARTIAL}") if (_original(path) or path).name in files]
        for folder in (self.decision_arrays, self.models, self.cells, self.curves, self.pretraining, self.search):
            ours += folder.glob(f"*{PARTIAL}")
        for folder in (self.vectors, self.tensorboard):
            ours += folder.rglob(f"*{PARTIAL}")
        for path in ours:
            original = _original(path)
            if original and path.stem.endswith(_OLD) and not original.exists():
                path.replace(original)
            elif original:
                _remove(path)


@contextmanager
def publish(path: Path) -> Iterator[Path]:
    """Yield a scratch path beside ``path``; on success it takes the place of ``path``, durably and atomically.

    The body may create a file or a folder there. A folder that already stands at ``path`` is replaced: no rename does
    that in one step, so it is moved aside before and removed after. Of a body that fails nothing stays.
    """
    scratch, old = _aside(path), _aside(path, _OLD)
    _remove(scratch)
    try:
        yield scratch
        for item in sorted(scratch.rglob("*")) if scratch.is_dir() else []:
            _sync(item)
        _sync(scratch)
        if scratch.is_dir() and path.exists():
            path.replace(old)
            crashpoint("publish")
        scratch.replace(path)
    except BaseException:
        _remove(scratch)
        if old.exists() and not path.exists():
            old.replace(path)
        raise
    _sync(path.parent)
    _remove(old)


def read_cell(path: Path, part: str) -> dict[str, Any] | None:
    """What a cell holds, if it has this part; None where it is not there, or damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get(part) else None


def keep_settings(path: Path, settings: dict[str, Any]) -> None:
    """Keep the settings of a work that goes on after a kill, as plain values; others are refused from then on.

    Raises:
        DiscoverError: the work was begun with others, so that what it has left does not fit these, or the file is
            damaged.
    """
    if path.is_file():
        try:
            begun = dict(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise DiscoverError(
                f"{path} must hold the settings that {path.parent} was begun with, but it is damaged ({error}): remove "
                f"{path.parent} to begin anew"
            ) from error
        changed = sorted(key for key in settings if settings[key] != begun.get(key))
        if changed:
            raise DiscoverError(
                f"{path.parent} was begun with another {', '.join(changed)}: name another folder with --run, give the "
                "settings of before, or remove it to begin anew"
            )
        return
    with publish(path) as scratch:
        scratch.write_text(json.dumps(settings), encoding="utf-8")


def _aside(path: Path, kind: str = "") -> Path:
    """A name beside ``path`` that no other process takes."""
    return path.with_name(f"{path.name}.{os.getpid()}{kind}{PARTIAL}")


def _original(path: Path) -> Path | None:
    """What a name made by `_aside` stands for; none for other names."""
    found = _LEFTOVER.fullmatch(path.name)
    return path.with_name(found["name"]) if found else None


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):  # gone already, or in a place that cannot be written to: nothing is lost by it
            path.unlink()


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
