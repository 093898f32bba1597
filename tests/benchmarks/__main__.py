"""`python -m tests.benchmarks [--only NAME]`: run every file here that has `measure() -> list[dict]`.

A row says `name`, `value`, `unit`; what it is held against (`peer`, `peer_value`, `ratio`); and the `goal` and whether
it `holds`. Each becomes a line of runs/bench/results.jsonl, with the date and the machine. Exit 1 where one does not
hold or fails.
"""

import argparse
import importlib
import json
import os
import pkgutil
import platform
import sys
import time
import traceback
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
RESULTS = Path("runs/bench/results.jsonl")
KEYS = ("name", "value", "unit", "peer", "peer_value", "ratio", "goal", "holds")
PACKAGES = (
    "torch",
    "transformers",
    "sentence-transformers",
    "scikit-learn",
    "numpy",
    "scrapy",
    "sqlalchemy",
    "faiss-cpu",
    "faiss-gpu",
)


def names() -> list[str]:
    """The benchmarks: files of this folder that are no part of the harness."""
    return sorted(module.name for module in pkgutil.iter_modules([str(FOLDER)]) if not module.name.startswith("_"))


def machine() -> dict[str, Any]:
    """What figures depend on, and nothing that names the machine."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {"cpu": _cpu(), "cores": os.cpu_count(), "python": platform.python_version(), "versions": versions}


def run(wanted: list[str], results: Path = RESULTS, package: str = "tests.benchmarks") -> bool:
    """Measure and write a line for each row; True when all of them hold."""
    results.parent.mkdir(parents=True, exist_ok=True)
    good, described = True, machine()
    print(_line("name", "value", "peer", "ratio", "goal", "holds"), flush=True)
    for name in wanted:
        try:
            measure = getattr(importlib.import_module(f"{package}.{name}"), "measure", None)
            started = time.perf_counter()
            rows = measure() if measure else []
        except Exception:  # one broken benchmark must not cost the figures of the others
            traceback.print_exc()
            good = False
            continue
        extra = {
            "benchmark": name,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.perf_counter() - started, 1),
            "machine": described,
        }
        for row in rows:
            _check(row, name)
            with results.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps({**row, **extra}) + "\n")
            value, peer = f"{_number(row['value'])} {row['unit']}", f"{row['peer']} {_number(row['peer_value'])}"
            holds = "yes" if row["holds"] else "NO"
            print(_line(row["name"], value, peer, _number(row["ratio"]), _number(row["goal"]), holds), flush=True)
            good = good and bool(row["holds"])
    return good


def main() -> int:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=names(), metavar="NAME", help=f"one of {', '.join(names())}")
    only = parser.parse_args().only
    return 0 if run([only] if only else names()) else 1


def _check(row: dict[str, Any], name: str) -> None:
    missing = [key for key in KEYS if key not in row]
    if missing:
        raise ValueError(f"the benchmark {name} must give {', '.join(KEYS)}; {', '.join(missing)} is missing")


def _cpu() -> str:
    """The model as Linux names it, else what Python knows."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    found = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return found[0] if found else platform.processor() or platform.machine()


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else str(value if value is not None else "-")


def _line(name: str, value: str, peer: str, ratio: str, goal: str, holds: str) -> str:
    return f"{name:44} {value:>22}  {peer:34} {ratio:>8} {goal:>8}  {holds}"


if __name__ == "__main__":
    sys.exit(main())
