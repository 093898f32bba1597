"""The house as drawn: imports point one way, and what the README says is so."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from discover.cli import _parser

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SOURCES = sorted(path for folder in ("discover", "crawlers") for path in (ROOT / folder).rglob("*.py"))


def test_imports_point_one_way() -> None:
    found = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize(
    "command", [["ruff", "format", "--check", "."], ["ruff", "check", "."], ["mypy"]], ids=" ".join
)
def test_format_lint_and_types(command: list[str]) -> None:
    program = Path(sys.executable).with_name(command[0])
    found = subprocess.run([program, *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("module", ["discover", "discover.cli", "discover.config", "crawlers.settings"])
def test_it_loads_no_torch(module: str) -> None:
    program = f"import sys, {module}; sys.exit(any(m in sys.modules for m in ('torch', 'transformers', 'modAL')))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_every_command_is_in_the_readme() -> None:
    parser = _parser()
    commands = next(a for a in parser._actions if getattr(a, "choices", None) and not a.option_strings).choices
    missing = [name for name in commands if not re.search(rf"\bdiscover {name}\b", README)]
    assert not missing


def test_every_file_is_in_the_readme_map() -> None:
    shown = {path for path in SOURCES if path.name not in ("__init__.py", "config.py", "__main__.py")}
    named = {path for path in shown if re.search(rf"\b{re.escape(path.name)}\b", README)}
    missing = sorted(str(path.relative_to(ROOT)) for path in shown - named)
    assert not missing


def test_no_path_of_a_machine() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    suspicious = re.compile(r"(^|[\s\"'=(])/(work|root|home|tmp)/", re.MULTILINE)
    texts = [ROOT / name for name in tracked if name.endswith((".py", ".md", ".yaml", ".toml", ".txt", ".html", ".js"))]
    assert not [path.name for path in texts if path.exists() and suspicious.search(path.read_text(encoding="utf-8"))]


def test_heavy_dependencies_have_one_owner() -> None:
    owners = {
        "faiss": {"discover/embed/"},
        "modAL": {"discover/learn/learner.py"},
        "scrapy": {"crawlers"},
        "fastapi": {"discover/label/web/app.py"},
    }
    for package, allowed in owners.items():
        pattern = re.compile(rf"^\s*(import|from) {package}\b", re.MULTILINE)
        users = {str(p.relative_to(ROOT)) for p in SOURCES if pattern.search(p.read_text(encoding="utf-8"))}
        foreign = {user for user in users if not any(user.startswith(owner) for owner in allowed)}
        # modAL's measures of uncertainty are the strategies' own business.
        foreign = {user for user in foreign if not (package == "modAL" and user.startswith("discover/query/"))}
        assert not foreign, f"{package} is imported by {foreign}"
