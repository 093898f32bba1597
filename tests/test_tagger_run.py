"""Entities in a run: from a file to predictions and their reasons, and what is refused before it begins."""

import json
import shutil
import signal
from pathlib import Path

import pyarrow.parquet
import pytest

import discover
from discover.cli import main
from discover.commands.remove import remove
from discover.commands.serve import _reasons
from discover.config import load_config
from discover.evaluate import report
from discover.loop import _play_arm, check
from discover.steps.explain import SPANS, examples, explain
from discover.steps.teach import open_learner
from tests.commands import attempt
from tests.entities import CLASSES, LEARN, TEXTS, model, sentences
from tests.kills import decisions_of, metrics_without_times
from tests.labelled_files import lines

__all__ = ["model"]


def write_inputs(folder: Path, model: Path, documents: int = 140) -> Path:
    """A file of tokens and tags, every fourth sentence to test on, and a config."""
    rows = [
        {"tokens": tokens, "tags": tags, "split": "train" if number % 4 else "test"}
        for number, (tokens, tags) in enumerate(sentences(documents, 2))
    ]
    (folder / "in.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    config = {
        "encoder": {"model": str(model), "max_tokens": 32},
        "label": {"task": "spans", "classes": list(CLASSES), "oracle": "file_labels", "budget": 500, "seed": 20},
        "query": {"strategy": "auto", "batch": 20, "cost": "tokens", "candidates": {"count": 60}},
        "learn": LEARN,
        "loop": {"arms": ["auto", "random"]},
    }
    (folder / "names.yaml").write_text(json.dumps(config), encoding="utf-8")
    return folder / "names.yaml"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Path:
    folder = tmp_path_factory.mktemp("names")
    config = write_inputs(folder, model)
    assert main(["import", str(config), str(folder / "in.jsonl"), "--run", str(folder / "run")]) == 0
    assert main(["run", str(config), "--run", str(folder / "run")]) == 0
    return folder


def test_a_run_spends_words_and_learns_entities(finished: Path) -> None:
    rows, longest = lines(finished / "run" / "metrics.jsonl"), max(len(text.split()) for text in TEXTS)
    for arm in ("auto", "random"):
        own = [row for row in rows if row["arm"] == arm]
        assert 500 <= own[-1]["words"] < 500 + longest, "the last question may go over the budget, no other"
        assert own[-2]["words"] < 500 and own[-1]["source"] == "test"
        assert own[-1]["entity_f1"] > 0.6 > own[0]["entity_f1"] - 0.2 and own[-1]["low"] < own[-1]["accuracy"]
        assert set(own[-1]["per_class"]) == set(CLASSES) and 0 <= own[-1]["ece"] < 1
    campaign = discover.open(finished / "run")
    asked = campaign.pool.texts([row.document_id for row in campaign.queue.labels("auto")])
    assert sum(len(text.split()) for text in asked) == campaign.queue.spent("auto") == rows[-2]["words"]
    page = (finished / "run" / "report.html").read_text(encoding="utf-8")
    assert "<h3>Entity F1</h3>" in page and "words of 500 an arm" in page and "after so many words" in page
    assert report.verdict(campaign.database, campaign.config).startswith("At 500 words, ")
    guessed = [len(campaign.output("auto", number, "query")["suggestions"]) for number in (0, 1)]
    assert guessed[0] == 0 < guessed[1], "before any answer there is nothing to be guessed by"
    picks = [line for line in lines(finished / "run" / "decisions.jsonl") if "document" in line]
    queries = [line for line in lines(finished / "run" / "decisions.jsonl") if "candidates" in line]
    assert all(isinstance(pick["label"], list) and pick["log_propensity"] <= 0 for pick in picks)
    kinds = [one["set_log_propensity"] is None for one in queries if one["arm"] == "auto"]
    assert kinds[-1] and not kinds[1], "where the budget cut a draw by its prices, the chance of the set is not known"
    assert {pick["query"] for pick in picks} == {one["query"] for one in queries}, "nothing is asked beyond the budget"


def test_predictions_are_spans_of_the_texts(finished: Path) -> None:
    texts = ["we read  Moby Dick again in the town", "said so to all 😀 Grace Hopper before noon"]
    (finished / "new.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts), encoding="utf-8")
    command = ["predict", "--run", str(finished / "run"), "--input", str(finished / "new.jsonl")]
    assert main([*command, "--output", str(finished / "out.jsonl")]) == 0
    rows = lines(finished / "out.jsonl")
    held = [[(row["text"][one["start"] : one["end"]], one["label"]) for one in row["label"]] for row in rows]
    assert held == [[("Moby Dick", "creative-work")], [("Grace Hopper", "person")]]
    assert all(0 < row["probability"] <= 1 and "probabilities" not in row for row in rows)
    assert main([*command, "--output", str(finished / "sure.jsonl"), "--confidence", "1"]) == 0
    assert [row["label"] for row in lines(finished / "sure.jsonl")] == [None, None]


def test_predictions_are_explained_in_files_and_in_the_report(finished: Path) -> None:
    texts = ["it rained in the town", "we read  Moby Dick, said so to all 😀 Grace Hopper before noon"]
    (finished / "why.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts), encoding="utf-8")
    command = ["predict", "--run", str(finished / "run"), "--input", str(finished / "why.jsonl"), "--explain"]
    for name in ("why.out.jsonl", "why.out.parquet"):
        assert main([*command, "--output", str(finished / name)]) == 0
    none, some = lines(finished / "why.out.jsonl")
    assert none["label"] == none["explained"] == []
    assert [{key: one[key] for key in ("start", "end", "label")} for one in some["explained"]] == some["label"]
    campaign = discover.open(finished / "run")
    learned = {row.document_id: row.label for row in campaign.queue.labels("auto") if row.kind != "audit"}
    answers = {one.public_id: (one.text, json.loads(learned[one.id])) for one in campaign.pool.documents(list(learned))}
    for one in some["explained"]:
        assert some["probability"] <= one["probability"] + 1e-6 and one["probability"] <= 1
        assert {some["text"][start:stop] for start, stop, _ in one["words"]} >= {"Moby", "Dick", "Grace", "Hopper"}
        for near in one["neighbours"]:
            text, spans = answers[near["id"]]
            held = [(text[span["start"] : span["end"]], span["label"]) for span in spans]
            assert (near["text"][near["start"] : near["end"]], near["label"]) in held and near["text"] in text
        assert [near["label"] for near in one["neighbours"]] == [one["label"]] * 3
    assert campaign.explain([some["text"]]) == [{"spans": some["explained"]}]
    assert campaign.explain([some["text"]], spans=1) == [{"spans": some["explained"][:1]}]
    table = pyarrow.parquet.read_table(finished / "why.out.parquet").to_pylist()
    assert [row["explained"] for row in table] == [none["explained"], some["explained"]]
    shown = examples(campaign)
    assert shown and all(len(one["spans"]) == min(SPANS, len(one["predicted"])) for one in shown)
    page = (finished / "run" / "report.html").read_text(encoding="utf-8")
    assert sum(len(one["spans"]) for one in shown) == page.count('<ul class="soft">') > 0
    campaign.close()


def test_the_queue_shows_why_a_span_was_guessed(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "run", tmp_path / "run")
    campaign = discover.open(tmp_path / "run")
    learner = open_learner(campaign, "auto")
    campaign.oracle = None  # from now on people answer; all other steps of the round are done already
    _play_arm(campaign, "auto", 2, learner)
    found = campaign.output("auto", 2, "explain")
    assert found == explain(campaign, "auto", 2, learner).output, "it repeats"
    guessed = {int(one): reason["spans"] for one, reason in found["explanations"].items()}
    assert set(guessed) == {int(one) for one in campaign.output("auto", 2, "query")["suggestions"]}
    document = max(guessed, key=lambda one: len(guessed[one]))
    reasons, (text,) = _reasons(campaign, document), campaign.pool.texts([document])
    assert len(reasons) == len(guessed[document]) > 0
    for reason, span in zip(reasons, guessed[document], strict=True):
        held = "".join(piece for piece, _, of_span in reason["pieces"] if of_span)
        assert held == text[span["start"] : span["end"]] and reason["label"].startswith(f"{held} ({span['label']}, ")
        assert len(reason["neighbours"]) == 3
    (own,) = campaign.pool.documents([document])
    cited = next(near["id"] for near in guessed[document][0]["neighbours"] if near["id"] != own.public_id)
    remove(campaign, [cited])
    left = campaign.explanation(document)
    assert left["text"] == text and len(left["spans"]) == len(reasons)
    assert cited not in {near["id"] for span in left["spans"] for near in span["neighbours"]}
    assert _reasons(campaign, -1) == []
    campaign.close()


def test_a_killed_run_ends_as_if_nobody_had_killed_it(tmp_path: Path, small_encoder: Path) -> None:
    config = write_inputs(tmp_path, small_encoder, documents=60)
    short = {"label": {"budget": 300, "audit": 0.3, "seed": 10}, "query": {"batch": 10}, "learn": {"epochs": 1}}
    settings = json.loads(config.read_text(encoding="utf-8"))
    config.write_text(json.dumps(settings | {key: settings[key] | own for key, own in short.items()}), encoding="utf-8")
    assert main(["import", str(config), str(tmp_path / "in.jsonl"), "--run", str(tmp_path / "whole")]) == 0
    shutil.copytree(tmp_path / "whole", tmp_path / "killed")
    assert attempt(["run", str(config), "--run", str(tmp_path / "whole")])["status"] == 0
    again = ["run", str(config), "--run", str(tmp_path / "killed")]
    assert attempt(again, crash_at="after_evaluate")["status"] == -signal.SIGKILL  # goes on with a model that is read
    assert attempt(again)["status"] == 0
    for told in (metrics_without_times, decisions_of):
        assert told(tmp_path / "killed") == told(tmp_path / "whole")


def test_what_a_run_has_spent_stays_in_its_unit(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, run = str(finished / "names.yaml"), str(finished / "run")
    assert main(["run", config, "--run", run, "--set", "query.cost=answers"]) == 1
    assert "query.cost" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("query.strategy=learned", "label.task is spans: take auto"),
        ("loop.arms=[random, badge]", "goes by the probability of each class"),
        ("loop.arms=[random, rare_class]", "goes by the probability of each class"),
        ("loop.arms=[random, committee]", "goes by the probability of each class"),
        ("learn.method=head", "asks about words: set it to full, top or lora"),
        ("learn.balance=sampling", "any number of spans: set it to loss"),
        ("loop.stop=stabilising", "leave it empty, or set it to plateau"),
        ("label.options={noise: 0.1, classes: [a, b]}", "noise"),
        ("label.classes=[B-person, I-person, O]", "found the tag 'B-person'"),
    ],
)
def test_what_cannot_work_is_said_before_anything_begins(
    tmp_path: Path, model: Path, setting: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_inputs(tmp_path, model, documents=4)
    assert main(["run", str(config), "--run", str(tmp_path / "run"), "--set", setting]) == 1
    said = capsys.readouterr().err
    assert message in said and len(said.splitlines()) == 1 and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "strategy", ["margin", "least_confidence", "entropy", "k_center", "typiclust", "density_margin"]
)
def test_what_can_work_is_let_through(tmp_path: Path, model: Path, strategy: str) -> None:
    check(load_config(write_inputs(tmp_path, model, documents=4), [f"loop.arms=[{strategy}, random]"]))
