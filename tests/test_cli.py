"""The commands on a run, as a stranger types them: what works, and the one line when it does not."""

import csv
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

import discover
from discover.cli import main
from discover.commands import search as commands_search
from discover.config import load_config, save_config
from discover.db import Database
from discover.errors import DiscoverError
from discover.label.queue import Queue
from discover.label.simulate import ANNOTATOR
from discover.learn.search import Finding, Objective
from discover.pool.config import PoolConfig
from discover.pool.pool import Pool
from discover.run import RunFolder
from tests.commands import assert_one_line
from tests.commands import command as run
from tests.conftest import mounted
from tests.kills import curves_of, play_rounds, write_inputs


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small finished run, `run`, and its config."""
    folder = tmp_path_factory.mktemp("cli")
    config = write_inputs(folder, documents=120)
    imported = run("import", config, folder / "documents.jsonl.gz", "--run", folder / "run")
    assert imported.returncode == 0, imported.stderr
    assert "120 new" in imported.stdout
    done = run("run", config, "--run", folder / "run", "--rounds", 3)
    assert done.returncode == 0, done.stderr
    return folder


def test_a_run_leaves_the_files_it_promises(finished: Path) -> None:
    folder = finished / "run"
    for name in ("config.yaml", "metrics.jsonl", "decisions.jsonl", "report.html", "learning_curve.png", "discover.db"):
        assert (folder / name).stat().st_size > 0
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    wanted = {
        "round",
        "arm",
        "strategy",
        "labels",
        "pool",
        "accuracy",
        "macro_f1",
        "ece",
        "low",
        "high",
        "seconds",
        "model",
    }
    assert all(wanted <= row.keys() for row in rows)
    assert all(list(row["seconds"]) == ["intake", "query", "collect", "teach", "evaluate"] for row in rows)
    assert [(row["round"], row["arm"]) for row in rows] == [(r, a) for r in range(3) for a in ("margin", "random")]
    assert all((folder / "models" / row["model"]).is_dir() for row in rows)
    for arm in ("margin", "random"):
        curves = curves_of(folder)[arm]
        assert curves["accuracy"] == [(r["labels"], pytest.approx(r["accuracy"])) for r in rows if r["arm"] == arm]
    seeds = [row for row in rows if row["round"] == 0]
    assert seeds[0]["accuracy"] == seeds[1]["accuracy"]  # the arms start from the same labels


def test_the_decision_log_tells_what_was_asked_and_how_likely_it_was(finished: Path) -> None:
    lines = [json.loads(line) for line in (finished / "run" / "decisions.jsonl").read_text().splitlines()]
    queries = [line for line in lines if "candidates" in line]
    picks = [line for line in lines if "document" in line]
    assert {query["round"] for query in queries} == {0, 1, 2}
    assert all(pick["log_propensity"] <= 0 and isinstance(pick["document"], str) for pick in picks)
    assert {pick["kind"] for pick in picks} == {"policy", "audit"}
    assert all(pick["label"] for pick in picks)
    assert any(query["reward"] is not None and query["reward_source"] == "test" for query in queries)
    by_round_0 = {
        q["query"]: [p["document"] for p in picks if p["query"] == q["query"]] for q in queries if q["round"] == 0
    }
    assert len({tuple(documents) for documents in by_round_0.values()}) == 1


def test_status_report_predict_and_export(finished: Path) -> None:
    folder = finished / "run"
    assert json.loads(run("status", "--run", folder, "--json").stdout)["arms"]["margin"]["labels"] > 0
    assert "margin:" in run("status", "--run", folder).stdout
    assert "report.html" in run("report", "--run", folder).stdout
    labelled = '{"text": "oven flour butter", "label": ["recipe"]}'  # as no label of this run can be
    (finished / "in.jsonl").write_text(f'{{"text": "goal striker league coach penalty"}}\nnot json\n{labelled}\n')
    predicted = run("predict", "--run", folder, "--input", finished / "in.jsonl", "--output", finished / "out.jsonl")
    assert predicted.returncode == 0, predicted.stderr
    assert "line 2" in predicted.stdout
    row, other = map(json.loads, (finished / "out.jsonl").read_text().splitlines())
    assert other["text"] == "oven flour butter" and other["label"], "only its text matters"
    assert abs(sum(row["probabilities"].values()) - 1) < 1e-4
    assert row["label"] == max(row["probabilities"], key=row["probabilities"].get)
    for what, name in [("labels", "l.csv"), ("pool", "p.parquet"), ("decisions", "d.jsonl"), ("model", "m")]:
        assert run("export", what, "--run", folder, "--to", finished / name).returncode == 0
    with (finished / "l.csv").open(newline="", encoding="utf-8") as file:
        assert {row["annotator"] for row in csv.DictReader(file)} == {ANNOTATOR}
    assert (finished / "m" / "card.json").is_file()
    weights = finished / "m" / "model.safetensors"
    assert weights.stat().st_mode == (finished / "m" / "card.json").stat().st_mode, "whoever reads one reads both"
    assert_one_line(
        run("predict", "--run", folder, "--input", finished / "no.jsonl", "--output", finished / "o.jsonl"), "no.jsonl"
    )
    onto_itself = run("predict", "--run", folder, "--input", finished / "in.jsonl", "--output", finished / "in.jsonl")
    assert_one_line(onto_itself, "--output must not be --input")


def test_an_export_says_how_much_there_was_and_what_is_still_to_come(finished: Path, tmp_path: Path, capsys) -> None:
    config, new = write_inputs(tmp_path, documents=30), tmp_path / "run"
    assert main(["import", str(config), str(tmp_path / "documents.jsonl.gz"), "--run", str(new)]) == 0
    for what in ("pool", "labels"):
        files = {folder: tmp_path / f"{folder.parent.name}.{what}.csv" for folder in (new, finished / "run")}
        for folder, file in files.items():
            capsys.readouterr()
            assert main(["export", what, "--run", str(folder), "--to", str(file)]) == 0
            said = capsys.readouterr().out
            with file.open(newline="", encoding="utf-8") as rows:
                assert f"holds the {what} of {folder}, {len(list(csv.DictReader(rows)))} rows" in said
            told = "not in the pool yet: 30 documents that were found, which the next `discover run` takes in" in said
            assert told == (what == "pool" and folder == new)
        empty, full = (file.read_text(encoding="utf-8").splitlines() for file in files.values())
        assert empty == full[:1]


def test_predict_explains(finished: Path) -> None:
    source = finished / "explained.jsonl"
    source.write_text(json.dumps({"text": "goal  striker league coach penalty"}) + "\n")
    command = ["predict", "--run", str(finished / "run"), "--input", str(source), "--explain", "--output"]
    assert main([*command, str(finished / "explained.out.jsonl")]) == 0
    row = json.loads((finished / "explained.out.jsonl").read_text())
    assert row["explained"] == row["label"]
    assert {row["text"][start:stop] for start, stop, _ in row["words"]} == set(row["text"].split())
    database = Database(f"sqlite:///{finished / 'run' / 'discover.db'}")
    learned = {row.document_id: row.label for row in Queue(database, 30).labels("margin") if row.kind != "audit"}
    pool = Pool(database, PoolConfig())
    labels = {document.public_id: learned[document.id] for document in pool.documents(list(learned))}
    database.close()
    assert [labels[near["id"]] for near in row["neighbours"]] == [near["label"] for near in row["neighbours"]]
    assert len(row["neighbours"]) == 3
    assert main([*command, str(finished / "explained.parquet")]) == 0
    (found,) = pyarrow.parquet.read_table(finished / "explained.parquet").to_pylist()
    assert (found["words"], found["neighbours"]) == (row["words"], row["neighbours"])


def test_search_on_the_answers_of_a_run(finished: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    folder, config = finished / "run", finished / "kills.yaml"
    command = ["search", str(config), "--run", str(folder), "--trials", "2", "--folds", "2"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "the best of 2 trials: learn." in said and "95% interval" in said
    assert (folder / "search" / "config.yaml").exists() == ("better by more than chance" in said)

    def searches() -> set[str]:
        return set(re.findall(r'"study_name":"(\w+)"', (folder / "search" / "journal.log").read_text()))

    assert main(command) == 0 and len(searches()) == 1
    settings = load_config(folder / "config.yaml")
    described = dict.fromkeys(settings.label.classes, "what it is about")
    label = settings.label.model_copy(update={"classes": described})
    save_config(settings.model_copy(update={"label": label}), folder / "config.yaml")
    assert main(command) == 0 and len(searches()) == 2, "classes that are described otherwise make another"
    save_config(settings, folder / "config.yaml")
    capsys.readouterr()
    assert main([*command, "--folds", "20"]) == 1
    assert "needs 200 answers that may be learned" in capsys.readouterr().err
    assert main([*command, "--set", "encoder.max_tokens=8"]) == 1, "the answers would be learned with the run's encoder"
    assert "was begun with encoder.max_tokens=" in capsys.readouterr().err
    asked: list[Objective] = []
    better = Finding({"head_penalty": 2.5, "propagate": True}, (0.6, 0.5), (0.7, 0.75), (0.1, 0.05), 9)
    monkeypatch.setattr(commands_search, "search", lambda task, *_: asked.append(task) or better)
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "learn.head_penalty 2.5, learn.propagate true\n" in said and "better by more than chance" in said
    assert load_config(folder / "search" / "config.yaml").learn.head_penalty == 2.5
    refuted = replace(better, gain=(0.0, 0.05))
    monkeypatch.setattr(commands_search, "search", lambda *_: refuted)
    assert main(command) == 0 and not (folder / "search" / "config.yaml").exists()
    database = Database(f"sqlite:///{folder / 'discover.db'}")
    learned = [row for row in Queue(database, 30).labels("margin") if row.kind != "audit"]
    database.close()
    assert len(asked[0].y) == len(learned), "audit answers are not looked at"


def test_the_python_interface_takes_what_a_server_is_sent(finished: Path) -> None:
    texts = [f"goal striker bread oven {number}" for number in range(12)]
    with closing(discover.open(finished / "run")) as campaign:
        whole = [campaign.explain([text]) for text in texts]
        with ThreadPoolExecutor(3) as threads:
            assert list(threads.map(lambda text: campaign.explain([text]), texts)) == whole
        assert np.isfinite(campaign.predict(["half a \ud800 character"])).all()
        with pytest.raises(TypeError, match="predict takes texts, got NoneType at 1"):
            campaign.predict(["a text", None])


def test_a_run_whose_classes_have_changed_is_to_be_opened_again(tmp_path: Path, small_encoder: Path) -> None:
    config = write_inputs(tmp_path, documents=60, encoder=small_encoder)
    settings = json.loads(config.read_text()) | {"loop": {"arms": ["margin"]}}
    config.write_text(json.dumps(settings))
    play_rounds(config, tmp_path / "run", 1).close()
    with closing(discover.open(tmp_path / "run")) as campaign:
        assert campaign.predict(["goal striker"]).shape == (1, 4)
        settings["label"]["classes"]["politics"] = "who governs"
        config.write_text(json.dumps(settings))
        assert main(["run", str(config), "--run", str(tmp_path / "run"), "--rounds", "2"]) == 0
        with pytest.raises(DiscoverError, match=r"label\.classes, have changed since .* open it again$"):
            campaign.predict(["goal striker"])
    with closing(discover.open(tmp_path / "run")) as campaign:
        assert campaign.predict(["goal striker"]).shape == (1, 5)


def test_predict_can_abstain_and_says_what_that_covers(finished: Path) -> None:
    source, to = finished / "many.jsonl", finished / "sure.jsonl"
    source.write_text("".join(json.dumps({"text": f"goal striker bread oven {n} " + "a" * n}) + "\n" for n in range(9)))
    command = ["predict", "--run", finished / "run", "--input", source, "--output", to, "--confidence"]
    said = run(*command, 0.3)
    assert said.returncode == 0, said.stderr
    assert "at least 0.3 sure and have a label" in said.stdout
    assert "audit answers that are" in said.stdout and "95% interval" in said.stdout
    assert "no audit answer for the report is" in run(*command, 1).stdout
    rows = [json.loads(line) for line in to.read_text().splitlines()]
    assert [row["label"] for row in rows] == [""] * 9
    assert all(row["probability"] < 1 for row in rows)
    assert run(*command, 1.5).returncode == 2


def test_a_model_folder_without_its_files(finished: Path) -> None:
    newest = max((finished / "run" / "models").glob("margin-*"))
    moved = newest / "card.json"
    card = moved.read_text()
    moved.unlink()
    try:
        (finished / "in.jsonl").write_text('{"text": "goal"}\n')
        broken = run(
            "predict", "--run", finished / "run", "--input", finished / "in.jsonl", "--output", finished / "o.jsonl"
        )
        assert_one_line(broken, newest.name)
        assert "`discover run` learns it anew" in broken.stderr
        assert_one_line(run("export", "model", "--run", finished / "run", "--to", finished / "bad"), newest.name)
    finally:
        moved.write_text(card)


def test_a_model_takes_the_place_of_a_model_alone(finished: Path) -> None:
    command = ("export", "model", "--run", finished / "run", "--to", finished / "exported")
    assert [run(*command).returncode for _ in range(2)] == [0, 0]
    card = finished / "exported" / "card.json"
    card.write_text('{"format": "discover-policy-1"}')
    assert_one_line(run(*command), "no model folder")
    assert "policy" in card.read_text()


def test_what_a_run_began_with_cannot_change(finished: Path) -> None:
    changed = run("run", finished / "kills.yaml", "--run", finished / "run", "--set", "seed=5")
    assert_one_line(changed, "was begun with seed=0")


def test_a_model_that_is_gone_is_learned_anew_though_the_run_is_over(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "run", tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "models")
    done = run("run", finished / "kills.yaml", "--run", tmp_path / "run", "--rounds", 0)
    assert done.returncode == 0 and "learns it anew from the answers, and does so now" in done.stderr
    before, after = ({path.name for path in (folder / "run/models").iterdir()} for folder in (finished, tmp_path))
    assert after and after <= before


def test_of_models_as_many_stay_as_are_to_be_kept(finished: Path, tmp_path: Path) -> None:
    """And what is not a model of the run stays."""
    shutil.copytree(finished / "run", tmp_path / "run")
    models = tmp_path / "run" / "models"
    (models / "margin-best").mkdir()
    command = ("run", finished / "kills.yaml", "--run", tmp_path / "run", "--set", "loop.keep_models=2", "--rounds")
    for rounds, newest in ((0, (1, 2)), (1, (2, 3))):
        done = run(*command, rounds)
        assert done.returncode == 0, done.stderr
        wanted = {f"{arm}-{round_:04d}" for arm in ("margin", "random") for round_ in newest}
        assert {path.name for path in models.iterdir()} == {"margin-best", *wanted}
    assert_one_line(run(*command, 1, "--set", "loop.keep_models=1"), "keep_models")


def test_a_rule_ends_the_loop_and_says_why(finished: Path, tmp_path: Path) -> None:
    rounds = len((finished / "run" / "metrics.jsonl").read_text().splitlines())
    for stop, options, said in (
        ("stabilising", "{changed: 1.0, rounds: 1}", "predictions have settled"),
        ("", "{}", ""),
    ):
        run_folder = tmp_path / f"run{stop}"
        shutil.copytree(finished / "run", run_folder)
        rule = ["--set", f"loop.stop='{stop}'", "--set", f"loop.stop_options={options}"]
        done = run("run", finished / "kills.yaml", "--run", run_folder, "--rounds", 1, *rule)
        assert done.returncode == 0 and said in done.stdout, done.stderr
        more = len((run_folder / "metrics.jsonl").read_text().splitlines()) - rounds
        assert (more == 0) == bool(stop)
    wrong = ["--set", "loop.stop=platau"]
    assert_one_line(run("run", finished / "kills.yaml", "--run", tmp_path / "run", *wrong), "did you mean 'plateau'")


def test_a_lost_database_is_told_and_not_made_anew(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "run", tmp_path / "run")
    (tmp_path / "run" / "discover.db").unlink()
    assert_one_line(run("status", "--run", tmp_path / "run"), "discover.db is missing or empty")
    assert not (tmp_path / "run" / "discover.db").exists()
    Database(tmp_path / "run" / "discover.db").close()  # as where the log beside it, discover.db-wal, is lost
    assert_one_line(run("run", finished / "kills.yaml", "--run", tmp_path / "run"), "discover.db is missing or empty")


def test_a_running_loop_keeps_its_config(finished: Path) -> None:
    with RunFolder(finished / "run").lock():
        before = (finished / "run" / "config.yaml").read_text()
        refused = run("run", finished / "kills.yaml", "--run", finished / "run", "--set", "label.question=Changed")
        assert_one_line(refused, "another process is at work")
        assert (finished / "run" / "config.yaml").read_text() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_torch_is_imported_ends_in_one_line(finished: Path, tmp_path: Path, number: int) -> None:
    shutil.copytree(finished / "run", tmp_path / "run")
    command = [sys.executable, "-m", "discover.cli", "run", finished / "kills.yaml", "--run", tmp_path / "run"]
    for delay in (1.2, 2.0):
        process = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        time.sleep(delay)
        process.send_signal(number)
        error = process.communicate(timeout=60)[1]
        assert process.returncode == 128 + number, error
        assert "Traceback" not in error and "discover: stopped" in error


@pytest.mark.parametrize("use", ["database.noted('no such note')", "database.engine.connect(); time.sleep(20)"])
def test_a_stop_while_a_connection_is_put_back_is_no_failure_in_the_log(tmp_path: Path, use: str) -> None:
    program = f"""
import os, signal, time
from pathlib import Path
from sqlalchemy import event
from discover import signals
from discover.db import Database
signals.heed()
database = Database(Path({str(tmp_path / "discover.db")!r}))
event.listen(database.engine, "reset", lambda *_: os.kill(os.getpid(), signal.SIGINT), once=True)
try:
    {use}
except KeyboardInterrupt:
    print("stopped")
"""
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (finished.stdout, finished.stderr) == ("stopped\n", "")


def test_a_run_that_cannot_be_written_to_is_read(finished: Path, tmp_path: Path, capsys) -> None:
    with mounted("size=64m") as folder:
        shutil.copytree(finished / "run", folder / "run", ignore=shutil.ignore_patterns("vectors", "models"))
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        assert main(["status", "--run", str(folder / "run"), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["arms"]["margin"]["labels"] > 0
        assert main(["export", "labels", "--run", str(folder / "run"), "--to", str(tmp_path / "labels.csv")]) == 0
        assert main(["report", "--run", str(folder / "run"), "--to", str(tmp_path / "report")]) == 0
        assert (tmp_path / "report" / "report.html").stat().st_size and (
            tmp_path / "report" / "learning_curve.png"
        ).stat()
        capsys.readouterr()
        assert main(["report", "--run", str(folder / "run")]) == 1
        assert "(Read-only file system): name another folder with --to" in capsys.readouterr().err


def test_an_output_that_cannot_be_written(finished: Path, tmp_path: Path) -> None:
    texts = tmp_path / "texts.jsonl"
    texts.write_text('{"text": "a brake defect, customers return the model"}\n')
    with mounted("size=1m,ro") as folder:
        command = ["predict", "--run", finished / "run", "--input", texts, "--output", folder / "answers.jsonl"]
        assert_one_line(run(*command), "cannot be written (Read-only file system)")


def test_what_the_system_refuses_is_told_in_one_line(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "run", tmp_path / "run")
    (tmp_path / "run" / "report.html").unlink()
    (tmp_path / "run" / "report.html").mkdir()
    assert_one_line(run("report", "--run", tmp_path / "run"), "the system refused (Is a directory)")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_serve_says_how_it_was_stopped(finished: Path, number: int, status: int) -> None:
    command = [
        sys.executable,
        "-m",
        "discover.cli",
        "serve",
        finished / "kills.yaml",
        "--run",
        finished / "run",
        "--port",
        "0",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as serving:
        assert "label at http://127.0.0.1:" in serving.stdout.readline()
        time.sleep(1)  # the line comes before the server listens
        serving.send_signal(number)
        assert serving.wait(10) == status
        assert "Traceback" not in serving.stderr.read()
