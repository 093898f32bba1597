"""Any number of labels a document, from a config to the files that a run leaves."""

import csv
import json
import random
from pathlib import Path

import numpy as np
import pytest

import discover
from discover.cli import main
from discover.config import load_config
from discover.errors import DiscoverError
from discover.loop import check
from discover.pool.document import Document
from discover.pool.labels import NONE
from discover.start import start_run
from discover.steps import explain
from tests.kills import CLASSES, FILLER, WORDS
from tests.labelled_files import lines


def write_inputs(folder: Path, documents: int = 130) -> Path:
    """Documents with the words of none to three classes, every fourth of them to test on, and a config."""
    rng, names, rows = random.Random(3), list(CLASSES), []
    for number in range(documents):
        own = rng.sample(names, rng.choice([0, 1, 1, 2, 2, 3]))
        words = [word for name in own for word in rng.sample(WORDS[name], k=3)] + rng.choices(FILLER, k=6)
        rng.shuffle(words)
        split = "train" if number % 4 else "test"
        rows.append({"text": f"{' '.join(words)} {number}", "label": own or [NONE], "split": split})
    rows.append({"text": "an empty list may be an accident", "label": []})
    (folder / "in.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    config = {
        "name": "several",
        "encoder": {"max_tokens": 24},
        "label": {"task": "multilabel", "classes": CLASSES, "oracle": "file_labels", "budget": 45, "seed": 15},
        "query": {"strategy": "margin", "batch": 15, "candidates": {"count": 60}},
        "learn": {"method": "head"},
        "loop": {"arms": ["margin", "random"]},
    }
    (folder / "several.yaml").write_text(json.dumps(config), encoding="utf-8")
    return folder / "several.yaml"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("several")
    config = write_inputs(folder)
    assert main(["import", str(config), str(folder / "in.jsonl"), "--run", str(folder / "run")]) == 0
    assert main(["run", str(config), "--run", str(folder / "run")]) == 0
    return folder


def test_a_run_learns_labels_and_says_how_well(finished: Path) -> None:
    rows = lines(finished / "run" / "metrics.jsonl")
    assert [row["labels"] for row in rows] == [15, 15, 30, 30, 45, 45]
    last = rows[-1]
    assert last["micro_f1"] > 0.6 and last["macro_f1"] > 0.6 and last["source"] == "test"
    assert last["low"] < last["accuracy"] < last["high"] and last["accuracy"] < last["micro_f1"]
    assert set(last["per_class"]) == set(CLASSES) and all(one["support"] > 3 for one in last["per_class"].values())
    page = (finished / "run" / "report.html").read_text(encoding="utf-8")
    assert "Micro-F1" in page and "the share with all of them right" in page
    truth = {row["text"]: sorted(row["label"]) for row in lines(finished / "in.jsonl")}
    picks = [line for line in lines(finished / "run" / "decisions.jsonl") if "document" in line]
    documents = {one.public_id: one.text for one in discover.open(finished / "run").documents()}
    assert len(picks) == 90 and all(pick["label"] == truth[documents[pick["document"]]] for pick in picks)
    assert all(0 <= pick["pick_reward"] <= 1 for pick in picks if pick["pick_reward"] is not None)


def test_what_is_explained_is_one_label_and_named(finished: Path) -> None:
    source, to = finished / "why.jsonl", finished / "why.out.jsonl"
    source.write_text(json.dumps({"text": "people said several early"}) + "\n", encoding="utf-8")
    command = ["predict", "--run", str(finished / "run"), "--input", str(source), "--output", str(to), "--explain"]
    assert main(command) == 0
    (row,) = lines(to)
    assert row["label"] == [NONE] and row["explained"] == max(CLASSES, key=row["probabilities"].__getitem__)
    examples = explain.examples(discover.open(finished / "run"))
    assert examples and all(one["right"] == (one["predicted"] == one["answer"]) for one in examples)
    page = (finished / "run" / "report.html").read_text(encoding="utf-8")
    assert "marked is what spoke for or against" in page and "[&#34;" not in page, (
        "answers are not shown as they are kept"
    )


def test_what_leaves_a_run_comes_back_as_it_was(finished: Path) -> None:
    run = str(finished / "run")
    for name in ("labels.csv", "labels.jsonl"):
        assert main(["export", "labels", "--run", run, "--to", str(finished / name)]) == 0
    with (finished / "labels.csv").open(newline="", encoding="utf-8") as file:
        listed = [json.loads(row["label"]) for row in csv.DictReader(file)]
    assert listed == [row["label"] for row in lines(finished / "labels.jsonl")] and [NONE] in listed
    arguments = [
        "import",
        str(finished / "several.yaml"),
        str(finished / "labels.csv"),
        "--run",
        str(finished / "again"),
    ]
    assert main(arguments) == 0
    again = discover.open(finished / "again")
    again.pool.intake()
    kept = {document.text: json.loads(document.label) for document in again.documents()}
    assert kept == {row["text"]: row["label"] for row in lines(finished / "labels.jsonl")}


def test_predictions_are_lists_and_say_how_sure_they_are(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = ["rain storm wind goal league striker", "people said several early", "butter oven flour"]
    rows = [{"text": text, "label": ["other"] if at else []} for at, text in enumerate(texts)]
    (finished / "new.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    arguments = ["predict", "--run", str(finished / "run"), "--input", str(finished / "new.jsonl")]
    assert main([*arguments, "--output", str(finished / "out.jsonl")]) == 0
    assert "skipped" not in capsys.readouterr().out  # labels are not read, so none is wrong
    _, none, recipe = lines(finished / "out.jsonl")
    assert none["label"] == [NONE] and recipe["label"] == ["recipe"]
    assert (
        recipe["probabilities"].keys() == CLASSES.keys() and recipe["probability"] <= recipe["probabilities"]["recipe"]
    )
    assert main([*arguments, "--output", str(finished / "sure.jsonl"), "--confidence", "1"]) == 0
    assert "no audit answer for the report is, so nothing can be said" in capsys.readouterr().out
    assert [row["label"] for row in lines(finished / "sure.jsonl")] == [None] * 3


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("query.strategy=learned", "label.task is multilabel: take auto"),
        ("loop.arms=[random, 'modAL.uncertainty:margin_sampling']", "does not fit label.task multilabel"),
        ("label.options={noise: 0.1, classes: [a, b]}", "a document has any number of labels: take it out"),
        ("learn.balance=sampling", "they may have several: set it to loss"),
        ("label.task=several", "'label.task'"),
    ],
)
def test_what_cannot_work_is_said_before_anything_begins(
    tmp_path: Path, setting: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_inputs(tmp_path, documents=4)
    assert main(["run", str(config), "--run", str(tmp_path / "run"), "--set", setting]) == 1
    said = capsys.readouterr().err
    assert message in said and len(said.splitlines()) == 1 and not (tmp_path / "run").exists()


@pytest.mark.parametrize("strategy", ["auto", "badge", "committee", "rare_class", "modAL.multilabel:avg_confidence"])
def test_what_can_work_is_let_through(tmp_path: Path, strategy: str) -> None:
    config = write_inputs(tmp_path, documents=4)
    check(load_config(config, [f"query.strategy={strategy}", f"loop.arms=['{strategy}', random]"]))


def test_people_answer_with_lists(tmp_path: Path) -> None:
    config = write_inputs(tmp_path, documents=8)
    people = ["label.oracle=people", "loop.arms=[]"]
    campaign = start_run(load_config(config, people), tmp_path / "run")
    campaign.pool.add([Document(f"rain and goals, number {number}") for number in range(3)])
    campaign.pool.intake()
    with campaign.database.write() as connection:
        ids = campaign.pool.ids()[0].tolist()
        campaign.queue.put(connection, "margin", 0, [{"document_id": i, "kind": "policy", "position": i} for i in ids])
    for answer in (["weather", "football"], "recipe", [NONE]):
        campaign.answer(campaign.ask("ada"), answer, "ada")
    with pytest.raises(DiscoverError, match="call predict first"):
        campaign.decide(np.full((1, 4), 0.5))
    kept = {row.label for row in campaign.queue.labels("margin")}
    assert kept == {'["football", "weather"]', '["recipe"]', f'["{NONE}"]'}
