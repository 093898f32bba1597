"""The decision log: what is recorded, that it survives a kill, and that it suffices to judge another policy later."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from sqlalchemy import func, select

from discover.db import now
from discover.errors import DiscoverError
from discover.pool.document import Document
from discover.pool.labels import Multiclass
from discover.query.acquire import log_probabilities
from discover.query.decisions import Audit, export, most_uncertain, read_arrays, record, set_reward
from discover.query.propensity import ordered_log_propensities, set_log_propensity
from discover.query.strategy import load_strategy
from discover.query.view import View
from discover.run import RunFolder
from discover.tables import document, pick, query, slot
from tests.conftest import room_for

N, C = 40, 5
QUERY_KEYS = [
    "query",
    "run",
    "arm",
    "round",
    "candidates",
    "strategy",
    "policy",
    "model",
    "temperature",
    "seed",
    "set_log_propensity",
    "reward",
    "reward_source",
]
PICK_KEYS = ["query", "document", "kind", "utility", "log_propensity", "label", "pick_reward", "chooser"]
ROW = {
    "id": "margin-0003",
    "arm": "margin",
    "round": 3,
    "strategy": "margin",
    "policy": None,
    "model": "margin-0002",
    "seed": 2**62 + 1,
}


@pytest.fixture
def folder(tmp_path):
    made = RunFolder(tmp_path)
    made.create()
    return made


@pytest.fixture
def documents(database):
    """N + 10 documents, in the order of their public ids."""
    made = sorted((Document(f"a text about number {number}") for number in range(N + 10)), key=lambda d: d.public_id)
    with database.write() as connection:
        for each in made[::-1]:
            row = {"public_id": each.public_id, "text": each.text, "state": "pool", "found": now()}
            each.id = connection.execute(document.insert().values(row)).inserted_primary_key[0]
    return made


def view_of(documents, **changes):
    probabilities = np.random.default_rng(0).dirichlet(np.ones(C), N)
    fields = {
        "ids": np.array([each.id for each in documents[:N]]),
        "generator": np.array(["uniform", "newest"] * (N // 2)),
        "age": np.arange(N, dtype=float),
        "costs": np.full(N, 1.5),
        "temperature": 0.1,
        "floor": 0.2,
        "make_probabilities": lambda: probabilities,
    }
    return View(**(fields | changes))


def choose(view, word="margin", n=6, seed=0):
    return load_strategy(word)(view, n, np.random.default_rng(seed))


def audit_of(documents):
    return Audit(np.array([each.id for each in documents[N : N + 2]]), -np.log([50.0, 49.0]))


def recorded(database, folder, documents, word="margin", **changes):
    view = view_of(documents, **changes)
    picks = choose(view, word)
    with database.write() as connection:
        record(connection, folder, ROW | {"strategy": word}, view, picks, audit_of(documents))
    return view, picks


def lines_of(database, path):
    export(database, path, Multiclass())
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_record_then_export_has_the_keys_of_the_interface(database, folder, documents):
    _, picks = recorded(database, folder, documents)
    first, *others = lines_of(database, folder.decisions)
    assert list(first) == QUERY_KEYS
    assert [list(line) for line in others] == [PICK_KEYS] * 8
    assert first["query"] == "margin-0003"
    assert first["run"] == folder.root.name
    assert first["candidates"] == N
    assert first["seed"] == 2**62 + 1
    assert first["set_log_propensity"] == pytest.approx(picks.set_log_propensity)
    assert first["reward"] is None
    assert first["reward_source"] is None
    assert [line["kind"] for line in others] == ["policy"] * 6 + ["audit"] * 2
    assert [line["log_propensity"] for line in others[:6]] == pytest.approx(picks.log_propensities.tolist())
    assert [line["utility"] for line in others] == [*picks.utilities.tolist(), None, None]
    assert [line["log_propensity"] for line in others[6:]] == pytest.approx([-np.log(50), -np.log(49)])


def test_ids_in_files_are_strings(database, folder, documents):
    view, picks = recorded(database, folder, documents)
    first, *others = lines_of(database, folder.decisions)
    public = {each.id: each.public_id for each in documents}
    expected = [public[id_] for id_ in [*view.ids[picks.indices].tolist(), *audit_of(documents).ids.tolist()]]
    assert [line["document"] for line in others] == expected
    assert all(isinstance(line["query"], str) for line in (first, *others))
    assert isinstance(first["model"], str)


def test_labels_and_rewards_reach_the_export(database, folder, documents):
    view, picks = recorded(database, folder, documents)
    asked = int(view.ids[picks.indices[0]])
    with database.write() as connection:
        for arm, label in (("margin", "Ä"), ("random", "other")):
            row = {"arm": arm, "round": 3, "position": 0, "document_id": asked, "kind": "policy", "label": label}
            connection.execute(slot.insert().values(row | {"state": "answered"}))
        set_reward(connection, "margin-0003", 0.25, "test")
    first, *others = lines_of(database, folder.decisions)
    assert (first["reward"], first["reward_source"]) == (0.25, "test")
    assert [line["label"] for line in others] == ["Ä"] + [None] * 7
    assert all(line["pick_reward"] is None for line in others)


def test_queries_come_by_round_and_arm_and_the_file_is_rewritten_whole(database, folder, documents):
    view = view_of(documents)
    with database.write() as connection:
        for arm, round_ in (("random", 1), ("margin", 1), ("random", 0)):
            row = ROW | {"id": f"{arm}-{round_:04d}", "arm": arm, "round": round_}
            record(connection, folder, row, view, choose(view, n=2))
    for _ in range(2):
        lines = lines_of(database, folder.decisions)
        assert [line["query"] for line in lines if "run" in line] == ["random-0000", "margin-0001", "random-0001"]
        assert len(lines) == 9
    export(database, folder.decisions, Multiclass(), run="demo")
    assert json.loads(folder.decisions.read_text().splitlines()[0])["run"] == "demo"


def test_an_empty_log_is_an_empty_file(database, folder):
    assert lines_of(database, folder.decisions) == []


def test_recording_twice_changes_nothing(database, folder, documents):
    recorded(database, folder, documents)
    before = lines_of(database, folder.decisions)
    arrays = (folder.decision_arrays / "margin-0003.safetensors").read_bytes()
    view = view_of(documents)
    with database.write() as connection:
        record(connection, folder, ROW, view, choose(view, seed=1))
    assert lines_of(database, folder.decisions) == before
    assert (folder.decision_arrays / "margin-0003.safetensors").read_bytes() == arrays


def test_a_kill_between_file_and_commit_leaves_nothing_that_a_second_attempt_does_not_mend(database, folder, documents):
    script = f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parent.parent)!r})
        from pathlib import Path
        from sqlalchemy import select
        from discover.db import Database
        from discover.tables import document
        from discover.pool.document import Document
        from discover.run import RunFolder
        from tests import test_decisions as t
        database = Database("sqlite:///{database.path}")
        with database.read() as connection:
            rows = connection.execute(select(document).order_by(document.c.public_id)).all()
        t.recorded(database, RunFolder({str(folder.root)!r}), [Document(row.text, id=row.id) for row in rows])
    """
    path = folder.decision_arrays / "margin-0003.safetensors"
    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env=os.environ | {"DISCOVER_CRASH_AT": "decision-arrays"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert path.is_file()
    with database.read() as connection:
        assert connection.execute(select(func.count()).select_from(query)).scalar() == 0
    assert lines_of(database, folder.decisions) == []
    left, _ = read_arrays(path)
    recorded(database, folder, documents)
    again, _ = read_arrays(path)
    assert left.keys() == again.keys()
    assert all(np.array_equal(left[name], again[name]) for name in left)
    with database.read() as connection:
        assert connection.execute(select(func.count()).select_from(query)).scalar() == 1
        assert connection.execute(select(func.count()).select_from(pick)).scalar() == 8


def test_a_rollback_leaves_no_row_and_the_next_attempt_replaces_the_file(database, folder, documents):
    view = view_of(documents)
    with pytest.raises(RuntimeError), database.write() as connection:
        record(connection, folder, ROW, view, choose(view, seed=7))
        raise RuntimeError
    _, picks = recorded(database, folder, documents)
    arrays, _ = read_arrays(folder.decision_arrays / "margin-0003.safetensors")
    assert arrays["picked"].tolist() == picks.indices.tolist()


def test_the_arrays_hold_each_candidate_once_with_its_features(database, folder, documents):
    view, _ = recorded(database, folder, documents)
    arrays, metadata = read_arrays(folder.decision_arrays / "margin-0003.safetensors")
    assert [bytes(row).hex() for row in arrays["public_ids"]] == [each.public_id for each in documents[:N]]
    features = dict(zip(metadata["features"].split(","), arrays["features"].T, strict=True))
    top = np.sort(view.probabilities, axis=1)
    assert arrays["features"].dtype == np.float32
    assert features["margin"] == pytest.approx(top[:, -1] - top[:, -2], abs=1e-6)
    assert features["entropy"] == pytest.approx(-(view.probabilities * np.log(view.probabilities)).sum(1), abs=1e-5)
    assert features["max_probability"] == pytest.approx(top[:, -1], abs=1e-6)
    assert features["age"].tolist() == list(range(N))
    assert features["cost"].tolist() == [1.5] * N
    names = np.array(metadata["generators"].split(","))
    assert names[arrays["generator"]].tolist() == view.generator.tolist()
    assert arrays["mask"].all()


def test_the_arrays_alone_give_any_policys_probabilities(database, folder, documents):
    _, picks = recorded(database, folder, documents)
    arrays, metadata = read_arrays(folder.decision_arrays / "margin-0003.safetensors")
    logged = arrays["picked"]
    # The policy that chose:
    assert ordered_log_propensities(arrays["logits"], logged) == pytest.approx(picks.log_propensities, abs=1e-12)
    assert set_log_propensity(arrays["logits"], logged) == pytest.approx(picks.set_log_propensity, abs=1e-12)
    # Others, whose utilities are functions of the features: as if they had seen the candidates themselves.
    features = dict(zip(metadata["features"].split(","), arrays["features"].T, strict=True))
    for word, utilities in (("margin", 1 - features["margin"]), ("entropy", features["entropy"])):
        live = choose(view_of(documents, temperature=0.7, floor=0.05), word)
        logits = log_probabilities(utilities.astype(np.float64), 0.7, 0.05)
        assert logits == pytest.approx(live.logits, abs=1e-9)
    settings = float(metadata["temperature"]), float(metadata["floor"])
    assert log_probabilities(1 - features["margin"].astype(np.float64), *settings) == pytest.approx(arrays["logits"])


@pytest.mark.parametrize(
    ("word", "changes"),
    [
        ("margin", {"temperature": 0.0}),
        (
            "k_center",
            {"temperature": 0.0, "make_vectors": lambda: np.eye(N), "make_labelled_vectors": lambda: np.eye(N)[:1]},
        ),
        ("modAL.uncertainty:margin_sampling", {}),
    ],
)
def test_a_deterministic_choice_is_marked_as_having_no_support(database, folder, documents, word, changes):
    recorded(database, folder, documents, word, **changes)
    arrays, metadata = read_arrays(folder.decision_arrays / "margin-0003.safetensors")
    assert "logits" not in arrays
    assert (metadata["temperature"], metadata["floor"]) == ("0.0", "0.0")
    first, *others = lines_of(database, folder.decisions)
    assert first["temperature"] == 0
    assert first["set_log_propensity"] is None
    assert [line["log_propensity"] for line in others[:6]] == [0.0] * 6


@pytest.mark.parametrize(("word", "drawn"), [("margin", (0.7, 0.05)), ("random", (1.0, 1.0))])
def test_the_log_has_temperature_and_floor_as_drawn(database, folder, documents, word, drawn):
    recorded(database, folder, documents, word, temperature=0.7, floor=0.05)
    arrays, metadata = read_arrays(folder.decision_arrays / "margin-0003.safetensors")
    assert (float(metadata["temperature"]), float(metadata["floor"])) == drawn
    assert lines_of(database, folder.decisions)[0]["temperature"] == drawn[0]
    if word == "random":  # with them, any utilities give what was drawn
        assert log_probabilities(np.arange(float(N)), *drawn) == pytest.approx(arrays["logits"])


def test_a_view_without_a_model_is_logged_too(database, folder, documents):
    recorded(database, folder, documents, "random", make_probabilities=None)
    arrays, _ = read_arrays(folder.decision_arrays / "margin-0003.safetensors")
    assert np.isnan(arrays["features"][:, :3]).all()
    assert np.isfinite(arrays["features"][:, 3:]).all()


def test_the_most_uncertain_of_a_past_query(database, folder, documents):
    view, _ = recorded(database, folder, documents)
    top = np.sort(view.probabilities, axis=1)
    smallest = view.ids[np.argsort(top[:, -1] - top[:, -2])][:7]
    assert most_uncertain(database, folder, "margin-0003", 7) == smallest.tolist()
    assert len(most_uncertain(database, folder, "margin-0003", 1000)) == N
    assert most_uncertain(database, folder, "margin-0002", 7) == []
    path = folder.decision_arrays / "margin-0003.safetensors"
    arrays, metadata = read_arrays(path)
    save_file({name: array for name, array in arrays.items() if name != "features"}, path, metadata)
    assert most_uncertain(database, folder, "margin-0003", 7) == []
    path.write_bytes(path.read_bytes()[:-100])
    assert most_uncertain(database, folder, "margin-0003", 7) == []


def test_a_full_disk_is_one_clear_line_and_leaves_nothing(database, folder, documents):
    with room_for(500), pytest.raises(DiscoverError, match=r"cannot be written .* make room") as caught:
        recorded(database, folder, documents)
    assert "\n" not in str(caught.value)
    assert lines_of(database, folder.decisions) == []
    recorded(database, folder, documents)
    assert len(lines_of(database, folder.decisions)) == 9


def test_damaged_arrays_and_an_unwritable_place_are_one_clear_line(database, folder, documents, tmp_path):
    path = tmp_path / "broken.safetensors"
    for content in (b"", b"\x10\0\0\0\0\0\0\0{"):
        path.write_bytes(content)
        with pytest.raises(DiscoverError, match="cannot be read"):
            read_arrays(path)
    with pytest.raises(DiscoverError, match="cannot be read"):
        read_arrays(tmp_path / "missing.safetensors")
    with pytest.raises(DiscoverError, match="must be writable"):
        export(database, tmp_path / "no" / "decisions.jsonl", Multiclass())
