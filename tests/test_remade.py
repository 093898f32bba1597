"""An encoder's folder is made anew while a run uses it: no run goes on with vectors of two models."""

import json
import os
import shutil
from pathlib import Path

import pytest

from discover import loop
from discover.campaign import Campaign
from discover.config import load_config
from discover.embed.config import EncoderConfig
from discover.embed.encoder import Encoder
from discover.errors import DiscoverError
from discover.pool.files import import_files
from discover.start import start_run
from tests.encoders import write_encoder
from tests.kills import write_inputs


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    config = write_inputs(folder, documents=80)
    settings = json.loads(config.read_text())
    settings["loop"] = {}
    config.write_text(json.dumps(settings))
    return config


def opened(inputs: Path, run: Path, *settings: str) -> Campaign:
    campaign = start_run(load_config(inputs, list(settings)), run)
    import_files(campaign.pool, [inputs.parent / "documents.jsonl.gz"], campaign.labels)
    return campaign


def test_the_learners_encoder_stays_what_it_was(inputs: Path, tmp_path: Path) -> None:
    model, run = write_encoder(tmp_path / "model", seed=0), tmp_path / "run"
    shutil.copytree(model, tmp_path / "kept")
    campaign = opened(inputs, run, f"encoder.model={model}")
    loop.run_rounds(campaign, 1)
    os.utime(model / "model.safetensors")  # touched, and the same
    loop.run_rounds(campaign, 1)
    write_encoder(model, seed=1)
    with pytest.raises(DiscoverError, match=r"model .* has changed since this process loaded it: put"):
        loop.run_rounds(campaign, 1)
    campaign.close()
    campaign = opened(inputs, run, f"encoder.model={model}")
    with pytest.raises(
        DiscoverError, match=r"was begun with another model in .*model.*: put that back, or start a new"
    ):
        loop.run_rounds(campaign, 1)
    campaign.close()
    shutil.copytree(tmp_path / "kept", model, dirs_exist_ok=True)
    campaign = opened(inputs, run, f"encoder.model={model}")
    loop.run_rounds(campaign, 1)
    assert [row["round"] for row in campaign.metrics()] == [0, 1, 2]
    campaign.close()


def test_a_tokenizer_told_otherwise_is_another_encoder(tmp_path: Path) -> None:
    model = write_encoder(tmp_path / "model")
    encoder = Encoder(EncoderConfig(model=str(model)))
    settings = json.loads((model / "tokenizer_config.json").read_text())
    told = settings | {"do_lower_case": not settings["do_lower_case"]}
    (model / "tokenizer_config.json").write_text(json.dumps(told))
    with pytest.raises(DiscoverError, match="has changed since this process loaded it"):
        encoder.check()
    other = Encoder(EncoderConfig(model=str(model)))
    assert other.tokenize(["Paris"])[0].tolist() != encoder.tokenize(["Paris"])[0].tolist()
    assert other.version != encoder.version


def test_half_of_a_fine_tuned_model_is_never_of_another(tmp_path: Path) -> None:
    model = write_encoder(tmp_path / "model", seed=0)
    encoder = Encoder(EncoderConfig(model=str(model)))
    encoder.trainable(0)
    write_encoder(model, seed=1)
    with pytest.raises(DiscoverError, match="has changed since this process loaded it"):
        encoder.trainable(0)


def test_another_retrieval_encoder_under_the_same_name_embeds_the_pool(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, run = write_encoder(tmp_path / "model", seed=0), tmp_path / "run"
    campaign = opened(inputs, run, f"encoder.retrieval={model}")
    loop.run_rounds(campaign, 1)
    before = campaign.retriever.encoder.version
    campaign.close()
    write_encoder(model, seed=1)
    campaign = opened(inputs, run, f"encoder.retrieval={model}")
    loop.run_rounds(campaign, 1)
    assert f"the encoder {model} has been made anew, so it embeds the pool again" in capsys.readouterr().err
    found = [version for (version,) in campaign.outputs("", "intake", "version")]
    assert found == [before, campaign.retriever.encoder.version] and len(set(found)) == 2
    assert len(campaign.retriever.index) == 80
    campaign.close()
