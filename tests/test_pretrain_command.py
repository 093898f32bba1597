"""`discover pretrain`: killed and gone on with, what it reads, what it refuses."""

import json
import shutil
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import pytest
from sqlalchemy import select

from discover.cli import main
from discover.commands import pretrain
from discover.config import load_config
from discover.db import Database
from discover.embed.config import EncoderConfig
from discover.embed.device import choose_device, has_bfloat16
from discover.embed.encoder import Encoder
from discover.errors import DiscoverError
from discover.learn.pretrain import training
from discover.run import RunFolder
from discover.start import start_run
from discover.steps.intake import draw_test
from discover.tables import document, slot
from tests.commands import attempt
from tests.test_pretrain import some_texts


def write_config(folder: Path, **pretrain: object) -> Path:
    settings = {"start": "scratch", "width": 64, "layers": 1, "vocabulary": 200, "batch_tokens": 256, "passes": 1}
    config = {
        "name": "small",
        "pool": {"min_characters": 1},
        "encoder": {"max_tokens": 32},
        "label": {"classes": {"a": "", "b": ""}, "oracle": "file_labels"},
        "loop": {"test": 20},
        "pretrain": {**settings, "checkpoint": 0, **pretrain},
    }
    path = folder / "small.yaml"
    path.write_text(json.dumps(config), encoding="utf-8")
    return path


def a_pool(folder: Path, config: Path, n: int = 300) -> list[str]:
    """Import labelled texts; returns the arguments of a pretraining on them."""
    rows = [{"text": text, "label": "ab"[at % 2]} for at, text in enumerate(dict.fromkeys(some_texts(n)))]
    (folder / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    run = ["--run", str(folder / "run")]
    assert main(["import", str(config), str(folder / "texts.jsonl"), *run]) == 0
    return ["pretrain", str(config), *run]


def test_killed_at_any_step_the_command_ends_with_the_same_encoder(tmp_path, capsys):
    arguments, folder = a_pool(tmp_path, write_config(tmp_path)), RunFolder(tmp_path / "run")
    assert attempt(arguments)["status"] == 0
    whole = {path.name: path.read_bytes() for path in folder.encoder.iterdir()}
    assert not folder.pretraining.exists()
    shutil.rmtree(folder.encoder)
    for step in (1, 5):
        assert attempt(arguments, crash_at=f"pretrain_{step}")["status"] == -9
    assert not folder.encoder.is_dir()
    assert attempt(arguments)["status"] == 0
    assert whole == {path.name: path.read_bytes() for path in folder.encoder.iterdir()}
    assert main(arguments) == 0 and "is there already" in capsys.readouterr().out
    card = json.loads(whole["card.json"])["trained"]
    database = Database(f"sqlite:///{folder.database}")
    with database.read() as connection:
        splits = Counter(connection.execute(select(document.c.split).where(document.c.state == "pool")).scalars())
    database.close()
    assert splits == {"train": card["documents"] + 20}, "what is to measure is left out, and not yet bound to"


def test_what_measures_is_not_read(tmp_path):
    config = write_config(tmp_path)
    a_pool(tmp_path, config)
    campaign = start_run(load_config(config), tmp_path / "run")
    pretrain._take_in(campaign)
    ids, _ = campaign.pool.ids()
    rows = [{"arm": "auto", "round": 1, "position": at, "document_id": int(ids[at])} for at in range(4)]
    with campaign.database.write() as connection:
        connection.execute(
            slot.insert(), [row | {"kind": kind} for row, kind in zip(rows, ["audit", "policy"] * 2, strict=True)]
        )
    read = list(pretrain._texts(campaign, pretrain._read(campaign)))
    tests = draw_test(campaign)
    assert len(read) == len(ids) - 22 and not set(read) & set(campaign.pool.texts([*ids[[0, 2]].tolist(), *tests]))
    campaign.close()


def test_continued_from_an_encoder_of_ones_own(tmp_path):
    config = write_config(tmp_path)
    arguments, folder = a_pool(tmp_path, config), RunFolder(tmp_path / "run")
    assert main(arguments) == 0
    folder.encoder.rename(tmp_path / "first")
    assert main([*arguments, "--set", f"pretrain.start={tmp_path / 'first'}"]) == 0
    first, second = (Encoder(EncoderConfig(model=str(path))) for path in (tmp_path / "first", folder.encoder))
    texts = some_texts(8, seed=3)
    assert first.version != second.version and first.limit == second.limit == 32
    assert (first.encode(texts) * second.encode(texts)).sum(1).min() > 0.5, "it goes on from there"
    assert json.loads((folder.encoder / "card.json").read_text())["trained"]["start"] == str(tmp_path / "first")
    for name in ("model.safetensors", "tokenizer.json"):
        whole = (folder.encoder / name).read_bytes()
        (folder.encoder / name).write_bytes(whole.replace(b"t", b"u"))
        with pytest.raises(DiscoverError, match=rf"is damaged: {name} is not the one"):
            Encoder(EncoderConfig(model=str(folder.encoder)))
        (folder.encoder / name).write_bytes(whole)


@pytest.mark.parametrize("held", [False, True])
def test_a_document_that_is_removed_meanwhile_is_not_learned(tmp_path, capsys, monkeypatch, held):
    """By whichever of the two commands comes first: a removal does not wait for a loop that holds the run."""
    arguments, folder = a_pool(tmp_path, write_config(tmp_path)), RunFolder(tmp_path / "run")

    def stop(name: str) -> None:
        raise KeyboardInterrupt(name)

    monkeypatch.setattr(training, "crashpoint", stop)
    assert main(arguments) in (130, 143)
    monkeypatch.undo()
    read = json.loads(folder.pretrained_on.read_text())
    database = Database(f"sqlite:///{folder.database}")
    with database.read() as connection:
        ids = {row.id: row.public_id for row in connection.execute(select(document.c.id, document.c.public_id))}
    database.close()
    remove = ["remove", "--run", str(folder.root)]
    unread = next(row for row in ids if row not in read)
    assert main([*remove, ids[unread]]) == 0 and folder.pretrained_on.is_file()
    capsys.readouterr()
    with folder.lock() if held else nullcontext():
        assert main([*remove, ids[read[3]]]) == 0 and folder.pretraining.exists() == held
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert said.count("the pretraining under way has read 1 documents that are removed: it begins anew") == 1
    card = json.loads((folder.encoder / "card.json").read_text())["trained"]
    assert len(read) - 3 <= card["documents"] < len(read) and f"{card['documents']:,} documents, " in said


def test_a_document_that_is_removed_while_it_is_learned_is_told(tmp_path, capsys, monkeypatch):
    arguments, folder = a_pool(tmp_path, write_config(tmp_path)), RunFolder(tmp_path / "run")

    def take_out(name: str) -> None:
        monkeypatch.undo()
        database = Database(f"sqlite:///{folder.database}")
        with database.read() as connection:
            wanted = select(document.c.public_id).where(
                document.c.id == json.loads(folder.pretrained_on.read_text())[0]
            )
            public_id = connection.scalars(wanted).one()
        database.close()
        assert main(["remove", "--run", str(folder.root), public_id]) == 0

    monkeypatch.setattr(training, "crashpoint", take_out)
    assert main(arguments) == 0
    assert "1 documents that it has read were removed meanwhile: for an encoder without" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"width": 100}, "'pretrain.width': it must be a multiple of 64"),
        ({"starts": "scratch"}, "unknown key 'pretrain.starts': did you mean 'start'?"),
        ({"start": "nowhere"}, "an encoder must be"),
        ({"batch_tokens": 4096}, "the pool is too small to pretrain on: 10 steps of pretrain.batch_tokens=4096 take"),
    ],
)
def test_bad_input_gets_one_line_and_costs_nothing(tmp_path, capsys, settings, line):
    a_pool(tmp_path, write_config(tmp_path))
    capsys.readouterr()
    config = write_config(tmp_path, **settings)
    assert main(["pretrain", str(config), "--run", str(tmp_path / "run")]) == 1
    told = capsys.readouterr().err
    assert line in told and told.count("\n") == 1
    assert not (tmp_path / "run" / "encoder").exists() and not (tmp_path / "run" / "pretraining").exists()


def test_other_settings_are_refused_while_it_is_under_way(tmp_path, capsys, monkeypatch):
    arguments = a_pool(tmp_path, write_config(tmp_path))

    def stop(name: str) -> None:
        raise KeyboardInterrupt(name)

    monkeypatch.setattr(training, "crashpoint", stop)
    assert main(arguments) in (130, 143)
    assert main([*arguments, "--set", "pretrain.passes=3"]) == 1
    assert "was begun with another pretrain.passes" in capsys.readouterr().err
    other = "float32" if has_bfloat16(choose_device("auto")) else "bfloat16"
    assert main([*arguments, "--set", f"encoder.dtype={other}"]) == 1
    assert "was begun with another encoder.dtype" in capsys.readouterr().err
    tokens = tmp_path / "run" / "pretraining" / "tokens.safetensors"
    whole = tokens.read_bytes()
    tokens.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
    assert main(arguments) == 1
    assert "must hold the pool's tokens, but it is damaged" in capsys.readouterr().err
    tokens.write_bytes(whole)
    monkeypatch.undo()
    assert main(arguments) == 0 and (tmp_path / "run" / "encoder" / "card.json").is_file()
