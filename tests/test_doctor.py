"""The doctor finds what is wrong, says what to do, and leaves a sound machine alone."""

import re
import sys
import tomllib
from pathlib import Path

import pytest

from discover import doctor
from discover.config import Config
from discover.start import start_run


def lookup(**changed):
    """This machine's packages, with some replaced; underscores stand for hyphens."""
    changes = {name.replace("_", "-"): version for name, version in changed.items()}
    return lambda name: changes[name] if name in changes else doctor.installed(name)


def find(findings, name):
    (found,) = [finding for finding in findings if finding.name == name]
    return found


def test_this_machine():
    findings = doctor.check(version_of=lookup(faiss_cpu="1.9", faiss_gpu=None))
    names = [finding.name for finding in findings]
    assert len(names) == len(set(names))
    assert {"python", "torch", "faiss", "device", "bfloat16", "encoder", "sqlite", "disk", "memory"} <= set(names)
    assert "checksum as published" in find(findings, "encoder").value
    assert all(finding.ok or finding.advice for finding in findings)
    assert find(findings, "scikit-learn").ok


@pytest.mark.parametrize(
    ("cpu", "gpu", "ok", "advice"),
    [
        ("1.9.0", None, True, ""),
        (None, "1.7.2", True, ""),
        ("1.9.0", "1.7.2", False, "both own the same package"),
        (None, None, False, "pip install"),
    ],
)
def test_one_faiss_and_only_one(cpu, gpu, ok, advice):
    found = doctor._faiss(lookup(faiss_cpu=cpu, faiss_gpu=gpu))
    assert found.ok == ok
    assert advice in found.advice


@pytest.mark.parametrize(("version", "ok"), [("1.7.2", True), ("1.8.0", False), ("1.10.0rc1", False), ("2.0", False)])
def test_scikit_learn_that_modal_can_teach_with(version, ok):
    found = find(doctor.check(version_of=lookup(scikit_learn=version)), "scikit-learn")
    assert found.ok == ok
    assert ("<1.8" in found.advice) == (not ok)


@pytest.mark.parametrize(("version", "ok"), [((3, 34, 1), False), ((3, 35, 0), True)])
def test_sqlite_that_knows_returning(monkeypatch, version, ok):
    monkeypatch.setattr(doctor.sqlite3, "sqlite_version_info", version)
    assert doctor._sqlite().ok == ok


def test_a_missing_package_is_named():
    findings = doctor.check(version_of=lookup(scrapy=None))
    assert find(findings, "scrapy") == doctor.Finding("scrapy", "missing", False, "pip install scrapy")
    shown = doctor.render(findings)
    assert "To mend:\n- scrapy: pip install scrapy" in shown
    assert "Nothing is wrong" not in shown


def test_every_package_that_the_project_needs_is_looked_for():
    settings = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    needed = [re.match(r"[\w.-]+", requirement)[0] for requirement in settings["project"]["dependencies"]]
    assert sorted(needed) == sorted(doctor.PACKAGES)


def test_render_of_a_sound_machine():
    shown = doctor.render([doctor.Finding("a", "1"), doctor.Finding("long name", "2", advice="could be faster")])
    assert shown.splitlines() == [
        "ok     a          1",
        "ok     long name  2 · could be faster",
        "",
        "Nothing is wrong.",
    ]


def test_a_run_folder_is_looked_at_as_far_as_packages_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "discover.campaign", None)  # as where it imports what is missing
    found = find(doctor.check(tmp_path, version_of=lookup(sqlalchemy=None)), "run")
    assert not found.ok and "discover.campaign" in found.advice


def test_a_run_folder_that_is_none(tmp_path: Path):
    found = find(doctor.check(tmp_path / "nowhere"), "run")
    assert not found.ok
    assert "no run folder" in found.advice
    assert not (tmp_path / "nowhere").exists()


def test_a_run_folder_that_opens(tmp_path: Path):
    config = Config.model_validate({"name": "x", "label": {"classes": ["a", "b"]}})
    start_run(config, tmp_path / "run").close()
    assert find(doctor.check(tmp_path / "run"), "run").ok


def test_too_little_disk_is_told(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(doctor, "MIN_DISK", 1e9)
    found = doctor._disk(tmp_path / "not" / "yet" / "there")
    assert not found.ok
    assert str(tmp_path) in found.value
