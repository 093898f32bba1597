"""Another retrieval encoder embeds the pool in the background, and takes over between two rounds."""

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import discover
from discover import loop
from discover.campaign import Campaign
from discover.commands import reembed
from discover.config import load_config
from discover.embed.transformer import PACKAGED, find
from discover.errors import DiscoverError
from discover.pool.document import Document
from discover.start import start_run
from discover.steps import Finished
from tests.commands import attempt, command
from tests.kills import decisions_of, metrics_without_times, write_inputs
from tests.test_people import answer, until

DIMENSION = 32
ENVIRONMENT = {**os.environ, "HF_HUB_OFFLINE": "1"}


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config, and beside it a run of two rounds."""
    folder = tmp_path_factory.mktemp("played")
    config = write_inputs(folder)
    run = ["--run", str(folder / "run")]
    assert attempt(["import", str(config), str(folder / "documents.jsonl.gz"), *run])["status"] == 0
    assert attempt(["run", str(config), *run, "--rounds", "2"])["status"] == 0
    return config


@pytest.fixture
def begun(played: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(played.parent, tmp_path, dirs_exist_ok=True)
    return tmp_path / played.name


def in_background(run: Path, parent: int | None = None, crash_at: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "discover.commands.reembed", run, str(parent or os.getpid())]
    environment = ENVIRONMENT | {"DISCOVER_CRASH_AT": crash_at}
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def retrievers(run: Path) -> list[str]:
    """The model whose vectors each round used."""
    campaign = discover.open(run)
    found = [model for (model,) in campaign.outputs("", "intake", "retrieval")]
    campaign.close()
    return found


def said_beside(campaign: Campaign, capfd: pytest.CaptureFixture[str]) -> str:
    """What is told while a loop would run, up to the first word; then the campaign is closed."""
    said, deadline = "", time.monotonic() + 60
    with reembed.alongside(campaign):
        while not said and time.monotonic() < deadline:
            time.sleep(0.1)
            said = capfd.readouterr().err
    campaign.close()
    return said


def test_another_encoder_takes_over_once_it_has_embedded_the_pool(begun: Path, small_encoder: Path) -> None:
    run = begun.parent / "run"
    setting = f"encoder.retrieval={small_encoder}"
    start_run(load_config(begun, [setting]), run).close()
    orphan = in_background(run, parent=1)
    assert orphan.returncode == -signal.SIGTERM, "it must end with the loop that started it"
    for point in ("append:written", "append:published"):
        assert in_background(run, crash_at=point).returncode == -signal.SIGKILL
    ended = in_background(run)
    assert ended.returncode == 0, ended.stderr
    command = ["run", str(begun), "--set", setting, "--run", str(run)]
    killed = begun.parent / "killed"
    shutil.copytree(run, killed)
    assert attempt(command)["status"] == 0
    used = retrievers(run)
    assert used[:2] == [PACKAGED] * 2 and set(used[2:]) == {str(small_encoder)} and len(used) > 3, used
    campaign = discover.open(run)
    assert campaign.retriever.index.store.dimension == DIMENSION and len(campaign.retriever.index) == 260
    assert campaign.predict(["rain and wind"]).shape == (1, 4)  # with the encoder that the learner has had all along
    campaign.close()

    command[-1] = str(killed)
    for point in ("within_intake", "during_query"):
        assert attempt(command, crash_at=point)["status"] == -signal.SIGKILL, point
    shutil.rmtree(killed / "vectors")  # a cache: what has taken over is embedded anew
    assert attempt(command)["status"] == 0
    assert retrievers(killed) == used
    assert decisions_of(killed) == decisions_of(run)
    assert metrics_without_times(killed) == metrics_without_times(run)


def test_a_loop_that_waits_for_people_has_the_pool_embedded(begun: Path, small_encoder: Path) -> None:
    run = begun.parent / "asked"
    settings = json.loads(begun.read_text())
    settings["label"] |= {"oracle": "people", "seed": 0, "budget": 30}
    settings["loop"] = {}
    begun.write_text(json.dumps(settings))
    unlabelled = begun.parent / "unlabelled.jsonl"
    with gzip.open(begun.parent / "documents.jsonl.gz", "rt") as lines:
        unlabelled.write_text("\n".join(json.dumps({"text": json.loads(line)["text"]}) for line in lines))
    assert command("import", begun, unlabelled, "--run", run).returncode == 0
    assert command("run", begun, "--run", run, "--rounds", "1").returncode == 0
    loop = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "discover.cli",
            "run",
            begun,
            "--run",
            run,
            "--set",
            f"encoder.retrieval={small_encoder}",
        ],
        env=ENVIRONMENT,
    )
    campaign = discover.open(run)
    try:
        until(lambda: campaign.queue.waiting("margin"))
        until(lambda: campaign.embedded_by() == str(small_encoder))
        answer(campaign, 24)  # its next round finds the vectors ready
        until(lambda: str(small_encoder) in retrievers(run))
        assert loop.poll() is None
    finally:
        campaign.close()
        loop.terminate()
        loop.wait(20)


def test_a_model_that_is_not_there_is_told_at_once(begun: Path, tmp_path: Path) -> None:
    refused = command("run", begun, "--run", tmp_path / "run", "--set", "encoder.retrieval=./nowhere")
    assert refused.returncode == 1
    assert "./nowhere" in refused.stderr and refused.stderr.count("\n") == 1


def test_the_same_encoder_under_another_name_takes_over_in_mid_run(
    begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alias = tmp_path / "alias"
    alias.symlink_to(find(PACKAGED))
    campaign = start_run(load_config(begun, [f"encoder.retrieval={alias}"]), begun.parent / "run")
    take_in = loop.intake

    def intake(campaign: Campaign, round_: int, crawling: Callable[[], bool]) -> Finished:
        if round_ == 3:
            campaign.database.note("embedded_by", str(alias))
        if round_ == 4:
            texts = [f"goal striker league {number} {'coach' * number}" for number in range(30)]
            campaign.pool.add(Document(text, label="football") for text in texts)
        return take_in(campaign, round_, crawling)

    monkeypatch.setattr(loop, "intake", intake)
    loop.run_rounds(campaign)
    assert len(campaign.retriever.index) == 290
    campaign.close()
    used = retrievers(begun.parent / "run")
    assert used == [PACKAGED] * 3 + [str(alias)] * (len(used) - 3) and len(used) > 4


def test_where_the_encoder_has_gone_the_next_one_embeds_the_pool_first(
    begun: Path, small_encoder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run, moved = begun.parent / "run", tmp_path / "moved"
    shutil.copytree(small_encoder, moved)
    first = start_run(load_config(begun, [f"encoder.retrieval={moved}"]), run)
    reembed.reembed(first)
    loop.run_rounds(first, 1)
    first.close()
    assert retrievers(run)[-1] == str(moved)
    shutil.rmtree(moved)
    with pytest.raises(DiscoverError, match="moved"):
        loop.check(first.config)
    campaign = start_run(load_config(begun), run)
    with reembed.alongside(campaign):
        loop.run_rounds(campaign)
    campaign.close()
    assert retrievers(run)[-1] == PACKAGED
    assert f"the encoder {moved} is gone, so {PACKAGED} embeds the pool now" in capfd.readouterr().err


def test_a_process_that_was_killed_is_told(
    begun: Path, small_encoder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    campaign = start_run(load_config(begun, [f"encoder.retrieval={small_encoder}"]), begun.parent / "run")
    monkeypatch.setenv("DISCOVER_CRASH_AT", "append:written")  # by the system, say, for want of memory
    said = said_beside(campaign, capfd)
    assert f"the vectors of {small_encoder} could not be made" in said


def test_a_damaged_model_leaves_the_index_as_it_is(
    begun: Path, small_encoder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run, damaged = tmp_path / "run", tmp_path / "damaged"
    shutil.copytree(small_encoder, damaged)
    os.truncate(damaged / "model.safetensors", 1000)
    campaign = start_run(load_config(begun, [f"encoder.retrieval={damaged}"]), run)
    said = said_beside(campaign, capfd)
    assert str(damaged) in said and f"the index keeps those of {PACKAGED}" in said and said.count("\n") == 1
    log = (run / "reembedding.log").read_text()
    assert log.startswith("discover: ") and log.count("\n") == 1
    assert set(retrievers(run)) == {PACKAGED}
