"""A killed run goes on and ends as if nobody had killed it."""

import gzip
import json
import random
import shutil
import signal
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from discover.campaign import open_run
from discover.learn.classifier import TextClassifier
from discover.loop import run_rounds
from discover.query.view import OF_TRAINING
from tests.commands import attempt
from tests.kills import curves_of, decisions_of, metrics_without_times, play_rounds, write_inputs

STEPS = ("intake", "query", "collect", "teach", "evaluate")
# The first two are met in round 0, the others in round 1, which begins with a model that is read from its folder.
LEARNING_POINTS = ["during_teach", "after_evaluate", "before_teach", "within_evaluate"]
POINTS = ["embed", *(f"{moment}_{step}" for step in STEPS for moment in ("before", "during", "within", "after"))]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory, small_encoder: Path) -> Path:
    """A folder with a config and a run into which the documents are imported, and an unkilled run beside it."""
    folder = tmp_path_factory.mktemp("resume")
    config = write_inputs(folder, encoder=small_encoder)
    run = folder / "unkilled"
    assert attempt(["import", str(config), str(folder / "documents.jsonl.gz"), "--run", str(run)])["status"] == 0
    shutil.copytree(run, folder / "imported")
    assert attempt(["run", str(config), "--run", str(run)])["status"] == 0
    return folder


@pytest.fixture(scope="module")
def seconds(begun: Path) -> float:
    """What an unkilled run takes here and now."""
    shutil.copytree(begun / "imported", begun / "timed")
    return attempt(["run", str(begun / "kills.yaml"), "--run", str(begun / "timed")])["seconds"]


def compare(begun: Path, run: Path) -> None:
    assert metrics_without_times(run) == metrics_without_times(begun / "unkilled")
    assert decisions_of(run) == decisions_of(begun / "unkilled")
    assert curves_of(run) == curves_of(begun / "unkilled") and curves_of(run)
    with sqlite3.connect(run / "discover.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        doubled = "SELECT arm, document_id FROM slot GROUP BY arm, document_id HAVING count(*) > 1"
        assert database.execute(doubled).fetchall() == []
        twice = "SELECT slot_id FROM answer WHERE action = 'answer' GROUP BY slot_id HAVING count(*) > 1"
        assert database.execute(twice).fetchall() == []
    database.close()


def test_killed_at_every_named_step(begun: Path) -> None:
    run = begun / "named"
    shutil.copytree(begun / "imported", run)
    for point in POINTS:
        ended = attempt(["run", str(begun / "kills.yaml"), "--run", str(run)], crash_at=point)
        assert ended["status"] == -signal.SIGKILL, f"{point} was not reached"
    assert attempt(["run", str(begun / "kills.yaml"), "--run", str(run)])["status"] == 0
    compare(begun, run)


@pytest.mark.parametrize(
    ("method", "documents", "settings"),
    [
        ("top", 60, ["label.budget=16", "learn.layers=1"]),
        ("full", 170, ["label.budget=120", "label.seed=105", "query.batch=15", "learn.steps=0"]),  # cross-validated
    ],
)
def test_killed_while_layers_are_trained(
    method: str, documents: int, settings: list[str], small_encoder: Path, tmp_path: Path
) -> None:
    config = write_inputs(tmp_path, documents, method, small_encoder)
    settings = [*settings, "loop.arms=[margin]", "learn.epochs=1"]
    smaller = [word for setting in settings for word in ("--set", setting)]
    imported = ["import", str(config), str(tmp_path / "documents.jsonl.gz"), "--run", str(tmp_path / "imported")]
    assert attempt([*imported, *smaller])["status"] == 0
    for name in ("unkilled", "run"):
        shutil.copytree(tmp_path / "imported", tmp_path / name)
    assert attempt(["run", str(config), "--run", str(tmp_path / "unkilled"), *smaller])["status"] == 0
    command = ["run", str(config), "--run", str(tmp_path / "run"), *smaller]
    for point in LEARNING_POINTS:
        assert attempt(command, crash_at=point)["status"] == -signal.SIGKILL, f"{point} was not reached"
    assert attempt(command)["status"] == 0
    compare(tmp_path, tmp_path / "run")


def test_killed_at_five_random_moments(begun: Path, seconds: float) -> None:
    rng = random.Random(11)
    run = begun / "random"
    shutil.copytree(begun / "imported", run)
    command = ["run", str(begun / "kills.yaml"), "--run", str(run)]
    # What is finished is not done again, so the moments must not add up to a whole run.
    ends = [attempt(command, kill_after=rng.uniform(0.05, 0.25) * seconds)["status"] for _ in range(5)]
    assert ends.count(-signal.SIGKILL) >= 3 and set(ends) <= {-signal.SIGKILL, 0}, ends
    assert attempt(["run", str(begun / "kills.yaml"), "--run", str(run)])["status"] == 0
    compare(begun, run)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stop_is_clean_and_quick(begun: Path, seconds: float, number: int, status: int) -> None:
    run = begun / f"stopped-{number}"
    shutil.copytree(begun / "imported", run)
    moment = 0.3 * seconds
    stopped = attempt(["run", str(begun / "kills.yaml"), "--run", str(run)], kill_after=moment, signal_=number)
    assert stopped["status"] == status
    assert stopped["seconds"] < moment + 10
    assert attempt(["run", str(begun / "kills.yaml"), "--run", str(run)])["status"] == 0
    compare(begun, run)


def audits(folder: Path, encoder: Path, **changes: dict) -> Path:
    """A config by which every second answer is an audit one, of which the model learns nothing."""
    config = write_inputs(folder, documents=120, encoder=encoder)
    settings = json.loads(config.read_text()) | {"loop": {}}
    settings["query"]["batch"], settings["label"]["audit"] = 1, 0.5
    for section, values in changes.items():
        settings[section] |= values
    config.write_text(json.dumps(settings))
    return config


def test_a_round_that_teaches_nothing_is_the_same_after_a_stop(tmp_path: Path, small_encoder: Path) -> None:
    config = audits(tmp_path, small_encoder, loop={"stop": "certain", "stop_options": {"rounds": 4, "unsure": 1.0}})
    whole, parts = play_rounds(config, tmp_path / "whole", None), play_rounds(config, tmp_path / "parts", 1, 2, 1, None)
    taught = [one.outputs("margin", "teach", *OF_TRAINING) for one in (whole, parts)]
    assert taught[0] == taught[1] and (None, None, None) in taught[0]
    assert metrics_without_times(whole.folder.root) == metrics_without_times(parts.folder.root)
    whole.close()
    parts.close()


def test_seed_labels_may_be_more_than_a_round_looks_at(tmp_path: Path, small_encoder: Path) -> None:
    config = audits(tmp_path, small_encoder, label={"seed": 70, "budget": 72, "audit": 0.0})
    campaign = play_rounds(config, tmp_path / "run", 1)
    assert campaign.config.query.candidates.count < campaign.metrics()[0]["labels"] == 70
    campaign.close()


def test_nobody_waits_for_the_model_at_the_database(
    tmp_path: Path, small_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = audits(tmp_path, small_encoder, query={"strategy": "random"})  # which asks for no probabilities itself
    campaign, asked, logits = play_rounds(config, tmp_path / "run"), [], TextClassifier.logits

    def spied(classifier: TextClassifier, X: np.ndarray) -> np.ndarray:
        asked.append(getattr(campaign.database._writing, "now", False))
        return logits(classifier, X)

    monkeypatch.setattr(TextClassifier, "logits", spied)
    run_rounds(campaign, 3)
    assert asked and not any(asked)
    campaign.close()


def test_a_killed_start_holds_nothing_out(begun: Path) -> None:
    run = begun / "held"
    shutil.copytree(begun / "imported", run)
    command = ["run", str(begun / "kills.yaml"), "--run", str(run), "--set"]
    assert attempt([*command, "loop.test=80"], crash_at="embed")["status"] == -signal.SIGKILL
    assert attempt([*command, "loop.test=0"])["status"] == 0
    compare(begun, run)


def test_lost_vectors_are_embedded_again_as_they_were(begun: Path) -> None:
    run = begun / "lost"
    shutil.copytree(begun / "imported", run)
    ended = attempt(["run", str(begun / "kills.yaml"), "--run", str(run)], crash_at="after_intake")
    assert ended["status"] == -signal.SIGKILL
    shutil.rmtree(run / "vectors")
    assert attempt(["run", str(begun / "kills.yaml"), "--run", str(run)])["status"] == 0
    compare(begun, run)


def test_an_older_copy_of_the_database_may_be_put_back(tmp_path: Path, small_encoder: Path) -> None:
    config, run = write_inputs(tmp_path, encoder=small_encoder), tmp_path / "run"
    rows = gzip.decompress((tmp_path / "documents.jsonl.gz").read_bytes()).decode().splitlines()
    for name, part in (("first", rows[:150]), ("lost", rows[150:200]), ("other", rows[200:])):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(part))

    def play(name: str) -> None:
        assert attempt(["import", str(config), str(tmp_path / f"{name}.jsonl"), "--run", str(run)])["status"] == 0
        assert attempt(["run", str(config), "--run", str(run), "--rounds", "1"])["status"] == 0
        open_run(run).close()  # which moves the log into the database: it is one file

    play("first")
    copy = (run / "discover.db").read_bytes()
    play("lost")
    (run / "discover.db").write_bytes(copy)
    play("other")
    campaign = open_run(run)
    documents = list(campaign.documents(split=None))
    found = campaign.retriever.store.vectors([document.id for document in documents])
    assert len(found) > 150
    np.testing.assert_allclose(found, campaign.encoder.encode([one.text for one in documents]), atol=1e-3)
    campaign.close()
