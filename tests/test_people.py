"""The loop with a person: it waits for answers, starts from label names alone, and hears corrections."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from safetensors.numpy import load_file
from sqlalchemy import make_url, select

import discover
from discover.campaign import Campaign
from discover.config import Config, validate
from discover.errors import Unavailable
from discover.start import start_run
from discover.steps.collect import collect
from discover.tables import query, slot, step
from tests.commands import command
from tests.kills import WORDS, write_inputs
from tests.labeling import add_documents

BATCH = 6


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def guess(text: str) -> str:
    """A person who reads: the class whose words occur most."""
    return max(WORDS, key=lambda name: sum(word in WORDS[name] for word in text.split()))


@pytest.fixture
def running(tmp_path: Path):
    """A run that waits for people, with no label to begin with, and the campaign opened beside it."""
    config = write_inputs(tmp_path, documents=120)
    settings = json.loads(config.read_text())
    settings["label"] |= {"oracle": "people", "seed": 0, "budget": 24}
    settings["loop"] = {}
    settings["query"]["batch"] = BATCH
    config.write_text(json.dumps(settings))
    unlabelled = tmp_path / "unlabelled.jsonl"
    rows = [
        json.dumps({"text": f"{word} {other} {third} said today"})
        for n in WORDS
        for word in WORDS[n]
        for other in WORDS[n][:3]
        for third in WORDS[n][5:6]
    ]
    unlabelled.write_text("\n".join(rows))
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    run = tmp_path / "run"
    words = [sys.executable, "-m", "discover.cli", "run", config, "--run", run]
    assert command("import", config, unlabelled, "--run", run).returncode == 0
    loop = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True)
    campaign = discover.open(run)
    yield loop, campaign
    if loop.poll() is None:
        loop.send_signal(signal.SIGTERM)
    loop.communicate(timeout=20)
    campaign.close()


def finished(campaign: Campaign, round_: int, name: str) -> bool:
    return campaign.output("margin", round_, name) is not None


def answer(campaign: Campaign, n: int) -> None:
    for _ in range(n):
        until(lambda: campaign.queue.waiting("margin"))
        question = campaign.ask("ada")
        assert question is not None
        campaign.answer(question, guess(question.document.text), "ada")


def explained(campaign: Campaign) -> None:
    """Questions of both kinds are, once there is a model; and no audit answer is shown beside them."""
    rows = [row for row in campaign.queue.labels("margin") if row.round > 2]
    audits = {document.public_id for document in campaign.documents() if document.id in audited(campaign)}
    assert {row.kind for row in rows} == {"policy", "audit"}
    for row in rows:
        found = campaign.explanation(row.document_id)
        assert found["label"] == campaign.suggestion(row.document_id)[0]
        words = [found["text"][start:stop] for start, stop, _ in found["words"]]
        assert words and set(words) <= set(found["text"].split())
        assert found["neighbours"] and not audits & {near["id"] for near in found["neighbours"]}


def audited(campaign: Campaign) -> set[int]:
    return {row.document_id for row in campaign.queue.labels("margin") if row.kind == "audit"}


def test_a_person_labels_from_nothing_to_the_end(running: tuple[subprocess.Popen[str], Campaign]) -> None:
    loop, campaign = running
    # Round 1 asks at once, from the label descriptions; round 2 asks one batch ahead, before a single answer.
    until(lambda: campaign.queue.waiting("margin") == 2 * BATCH)
    assert campaign.latest_model("margin") is None
    answer(campaign, BATCH)
    until(lambda: finished(campaign, 2, "teach"))
    assert campaign.latest_model("margin") == "margin-0002"
    question = campaign.queue.history("ada", "margin", 1)[0]
    assert campaign.explanation(question.document_id) is None, "it was asked before there was a model"
    until(lambda: campaign.queue.waiting("margin") == 2 * BATCH)
    skipped = campaign.ask("ada")
    campaign.queue.skip(skipped.slot, skipped.token, "ada")  # gives its place in the budget back
    answer(campaign, 24 - BATCH)
    out, _ = loop.communicate(timeout=60)
    assert loop.returncode == 0
    assert campaign.queue.spent("margin") == 24
    explained(campaign)
    last = campaign.metrics()[-1]
    assert (last["labels"], last["source"]) == (24, "audit")
    assert "waiting for" in out
    assert campaign.predict(["goal striker league coach penalty"]).argmax() == campaign.classes.index("football")


def test_a_finished_run_goes_on_when_there_is_more_to_do(running: tuple[subprocess.Popen[str], Campaign]) -> None:
    loop, campaign = running
    answer(campaign, 24)
    assert loop.wait(60) == 0
    rounds = len(campaign.metrics())
    more = ["run", campaign.folder.config, "--run", campaign.folder.root]
    assert command(*more).returncode == 0
    assert len(campaign.metrics()) == rounds  # nothing new: nothing done
    with campaign.database.read() as connection:
        trained = connection.execute(select(slot).where(slot.c.state == "answered", slot.c.kind == "policy")).first()
    campaign.queue.correct(trained.id, "ada", next(name for name in campaign.classes if name != trained.label))
    assert command(*more).returncode == 0
    assert len(campaign.metrics()) == rounds + 1  # the correction was learned
    campaign.queue.correct(trained.id, "ada", trained.label)
    assert command(*more, "--set", "loop.rounds=1").returncode == 0
    assert len(campaign.metrics()) == rounds + 2  # also where no round may ask any more
    more += ["--set", "loop.rounds=null"]
    late = campaign.folder.root.parent / "late.jsonl"
    late.write_text(json.dumps({"text": "what came in much later", "label": campaign.classes[0]}))
    assert command("import", campaign.folder.config, late, "--run", campaign.folder.root).returncode == 0
    assert command(*more).returncode == 0
    assert campaign.metrics()[-1]["labels"] == 25  # though nothing is left to be asked
    loop = subprocess.Popen([sys.executable, "-m", "discover.cli", *more, "--set", "label.budget=27"])
    answer(campaign, 3)
    assert loop.wait(60) == 0
    assert campaign.queue.spent("margin") == 27


def test_a_corrected_answer_reaches_the_next_training(running: tuple[subprocess.Popen[str], Campaign]) -> None:
    _, campaign = running
    until(lambda: campaign.queue.waiting("margin") == 2 * BATCH)
    answer(campaign, BATCH)
    until(lambda: finished(campaign, 2, "teach"))
    with campaign.database.read() as connection:
        trained = connection.execute(select(slot).where(slot.c.state == "answered", slot.c.kind == "policy")).first()
    right = trained.label
    wrong = next(name for name in campaign.classes if name != right)
    campaign.queue.correct(trained.id, "ada", wrong)
    answer(campaign, BATCH)
    until(lambda: finished(campaign, 3, "teach"))
    model = load_file(campaign.folder.models / "margin-0003" / "model.safetensors")
    taught = dict(zip(model["taught.ids"].tolist(), model["taught.classes"].tolist(), strict=True))
    assert taught[trained.document_id] == campaign.classes.index(wrong)
    # A query is credited with the round that learned its answers, which with people is the one after.
    assert [campaign.output("margin", number, "teach")["batch"] for number in (1, 2, 3)] == [None, 1, 2]
    until(lambda: finished(campaign, 3, "evaluate"))
    scores = {row["round"]: row["accuracy"] for row in campaign.metrics()}
    with campaign.database.read() as connection:
        rewards = dict(map(tuple, connection.execute(select(query.c.round, query.c.reward))))
    assert None not in (scores[2], scores[3]) and rewards[2] == pytest.approx(scores[3] - scores[2])
    assert rewards[1] is None and rewards[3] is None


def test_it_stops_quickly_while_it_waits(running: tuple[subprocess.Popen[str], Campaign]) -> None:
    loop, campaign = running
    until(lambda: campaign.queue.waiting("margin") == 2 * BATCH)
    started = time.monotonic()
    loop.send_signal(signal.SIGTERM)
    assert loop.wait(10) == 143
    assert time.monotonic() - started < 10
    with campaign.database.read() as connection:
        assert connection.execute(select(step).where(step.c.step == "query", step.c.round == 2)).first() is not None


def test_it_waits_on_where_the_database_is_gone_for_a_while(
    postgres_address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = make_url(postgres_address)
    settings = {"label": {"classes": ["a", "b"]}, "query": {"strategy": "margin"}, "pool": {"url": postgres_address}}
    campaign = start_run(validate(Config, {"name": "x", **settings}, "here"), tmp_path / "run")
    (document,) = add_documents(campaign.database, 1)
    with campaign.database.write() as connection:
        campaign.queue.put(connection, "margin", 1, [{"document_id": document, "kind": "policy", "position": 0}])
    other = url.set(drivername="postgresql", database="postgres").render_as_string()
    said = ""

    def told(words: str) -> bool:
        nonlocal said
        said += "".join(capsys.readouterr())
        return words in said

    with psycopg.connect(other, autocommit=True) as server, ThreadPoolExecutor() as threads:

        def let_in(allowed: bool) -> None:
            server.execute(f"ALTER DATABASE {url.database} ALLOW_CONNECTIONS {allowed}")
            if not allowed:
                query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
                server.execute(query, [url.database])

        waiting = threads.submit(collect, campaign, "margin", 1)
        until(lambda: told("waiting for 1 answers"))
        let_in(False)
        until(lambda: told("tried again for 10 minutes"))
        let_in(True)
        until(lambda: told("can be used again"))
        assert said.count("tried again") == 1 and not waiting.done()
        monkeypatch.setattr("discover.steps.collect.PATIENCE_MINUTES", 0)
        let_in(False)
        with pytest.raises(Unavailable, match="cannot be used"):
            waiting.result(60)
        let_in(True)
    campaign.answer(campaign.ask("ada"), "a", "ada")
    assert collect(campaign, "margin", 1).output["spent"] == 1
    campaign.close()
