"""Peers in environments of their own: what `peers` and `head_to_head` share."""

import hashlib
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.benchmarks.__main__ import machine

FOLDER, CELLS = Path(__file__).parent, Path(__file__).parent / "cells"
PACKAGES = {
    "setfit": ["torch==2.13.0", "setfit==1.2.0"],
    "small_text": ["torch==2.13.0", "small-text==1.4.1", "transformers<5", "setuptools<81"],
    "skactiveml": ["scikit-activeml==1.0.1"],
    "modal": ["modAL-python==0.4.2.1", "scikit-learn<1.8"],
}


def ask(environment: str, script: str, job: dict[str, Any]) -> dict[str, Any]:
    """What a script of this folder prints in its last line, run with a peer's own packages and one thread.

    Args:
        environment: a key of `PACKAGES`.
        script: its file.
        job: what it reads on standard input.
    """
    ended = subprocess.run(
        [_python(environment), FOLDER / script],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        check=False,
    )
    if ended.returncode:
        raise RuntimeError(f"{script} must exit with 0, but: {ended.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


def keep(file: Path, figures: dict[str, Any]) -> None:
    """Write a cell, with the day and the processor."""
    kept = {**figures, "date": datetime.now(UTC).isoformat(timespec="seconds"), "cpu": machine()["cpu"]}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(kept, indent=1) + "\n")


def code(*rooms: str) -> str:
    """Which code of ours it is: a digest of the rooms that decide the figures."""
    files = sorted(file for room in rooms for file in (FOLDER.parents[1] / "discover" / room).rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def _python(name: str) -> Path:
    """The Python of a peer's own environment, made on first use."""
    python = Path(".venv") / "peers" / name / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", python.parents[1]], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES[name]], check=True)
    return python
