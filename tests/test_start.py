"""A run is gone on with by the settings that it has, and told where they do not fit."""

from pathlib import Path

import pytest

import discover
from discover.config import Config, save_config, validate
from discover.errors import DiscoverError
from discover.pool.document import Document
from discover.start import check_saved, start_run
from discover.tables import step
from tests.labeling import add_documents


def config(**label: object) -> Config:
    settings = {"name": "x", "label": {"classes": ["a", "b"], "budget": 40} | label}
    return validate(Config, settings, "here")


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    campaign = start_run(config(budget=60), tmp_path / "run")
    with campaign.database.write() as connection:
        row = {"arm": "", "round": 0, "step": "intake", "output": {}, "seconds": 0.0}
        connection.execute(step.insert().values(**row))
    campaign.close()
    return tmp_path / "run"


def test_settings_are_kept_where_that_is_wanted(begun: Path) -> None:
    assert start_run(config(), begun, keep=True).config.label.budget == 60
    assert discover.open(begun).config.label.budget == 60
    start_run(config(), begun)
    assert discover.open(begun).config.label.budget == 40


def test_a_mistyped_arm_is_refused(begun: Path) -> None:
    campaign = discover.open(begun)
    for ask in (campaign.predict, campaign.predicted, campaign.explain, campaign.ask):
        with pytest.raises(DiscoverError, match=r"run has no arm 'typo': there are auto"):
            ask("ada", arm="typo")
    assert campaign.ask("ada") is campaign.ask("ada", arm="auto") is None


def test_a_run_that_has_not_begun_takes_new_settings(tmp_path: Path) -> None:
    start_run(config(budget=60), tmp_path / "run")
    assert start_run(config(), tmp_path / "run", keep=True).config.label.budget == 40


def test_what_an_answer_is_cannot_change_once_labels_are_there(begun: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DiscoverError, match=r"was begun with label.task='multiclass', the config now says 'multilabel'"
    ):
        start_run(config(task="multilabel"), begun)
    fresh = start_run(config(), tmp_path / "fresh")
    start_run(config(task="multilabel"), tmp_path / "fresh")
    start_run(config(), tmp_path / "fresh")
    fresh.pool.add([Document("a text of several words", label="a")])
    with pytest.raises(DiscoverError, match=r"labels that were imported with label.task='multiclass'"):
        start_run(config(task="multilabel"), tmp_path / "fresh")


@pytest.mark.parametrize("split", ["train", "test"])
def test_an_imported_label_keeps_its_class(tmp_path: Path, split: str) -> None:
    fresh = start_run(config(classes=["a", "b", "c"]), tmp_path / "run")
    fresh.pool.add([Document(f"a text of several words, {n}", label="ab"[n > 1], split=split) for n in range(5)])
    with pytest.raises(DiscoverError, match=r"run holds 2 imported labels of classes .* no longer lists \(a\): put"):
        start_run(config(classes=["A", "b", "c"]), tmp_path / "run")
    with pytest.raises(DiscoverError, match=r"run holds 5 imported labels .*\(a, b\)"):
        start_run(config(classes=["A", "B"]), tmp_path / "run", keep=True)
    save_config(config(classes=["A", "b"]), fresh.folder.config)
    with pytest.raises(DiscoverError, match="run holds 2 imported labels"):
        start_run(config(classes=["A", "b"]), tmp_path / "run")
    assert start_run(config(classes=["d", "b", "a"]), tmp_path / "run").classes == ["d", "b", "a"]


def test_an_answer_that_came_too_late_says_so(begun: Path) -> None:
    campaign = discover.open(begun)
    (document,) = add_documents(campaign.database, 1)
    with campaign.database.write() as connection:
        campaign.queue.put(connection, "auto", 0, [{"document_id": document, "kind": "policy", "position": 0}])
    question = campaign.ask("ada")
    first, late = campaign.answer(question, "a", "ada"), campaign.answer(question, "b", "bob")
    assert (first.counts, first.overruled, late.counts, late.overruled) == (True, False, False, True)


@pytest.mark.parametrize("damage", ["missing", "damaged"])
def test_a_lost_config_does_not_open_the_door_to_other_rounds(begun: Path, damage: str) -> None:
    if damage == "damaged":
        (begun / "config.yaml").write_text("no settings")
        with pytest.raises(DiscoverError, match=r"move .*config.yaml away and give the same command again"):
            start_run(config(), begun)
    (begun / "config.yaml").unlink()
    with pytest.raises(DiscoverError, match="was begun with the classes a, b"):
        start_run(config(classes=["b", "a"]), begun)
    other = config().query.model_copy(update={"strategy": "margin"})
    with pytest.raises(DiscoverError, match=r"query\.strategy\)=\['auto'\], the config now says \['margin'\]"):
        start_run(config().model_copy(update={"query": other}), begun)
    with pytest.raises(DiscoverError, match="was begun with seed=0"):
        start_run(config().model_copy(update={"seed": 7}), begun)
    assert not (begun / "config.yaml").exists()
    assert start_run(config(), begun, keep=True).config.label.budget == 60
    assert discover.open(begun).config == config(budget=60)


def test_a_run_that_was_changed_by_hand_is_held_against_what_it_was_begun_with(begun: Path) -> None:
    by_hand = (begun / "config.yaml").read_text().replace("    b: ''", "    other: ''")
    (begun / "config.yaml").write_text(by_hand)
    with pytest.raises(DiscoverError, match="was begun with the classes a, b, the config now lists a, other"):
        start_run(config(classes=["a", "other"]), begun)
    with pytest.raises(DiscoverError, match=r"config\.yaml: .* was begun with the classes a, b"):
        check_saved(discover.open(begun))
    start_run(config(), begun).close()
    check_saved(discover.open(begun))


def test_a_start_that_was_killed_before_its_settings_were_noted_goes_on(tmp_path: Path) -> None:
    fresh = start_run(config(classes=["a", "b", "c"]), tmp_path / "run")
    save_config(config(), fresh.folder.config)
    fresh.close()
    campaign = start_run(config(), tmp_path / "run")
    with campaign.database.write() as connection:
        row = {"arm": "", "round": 0, "step": "intake", "output": {}, "seconds": 0.0}
        connection.execute(step.insert().values(**row))
    campaign.close()
    again = start_run(config(), tmp_path / "run")
    assert again.classes == ["a", "b"]
    again.close()


@pytest.mark.parametrize(
    ("task", "label", "told"),
    [("multiclass", "a", ""), ("multilabel", '["a"]', "1 answers"), ("spans", "[]", "1 answers")],
)
def test_answers_from_before_a_label_was_added_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], task: str, label: str, told: str
) -> None:
    campaign = start_run(config(task=task), tmp_path / "run")
    (document,) = add_documents(campaign.database, 1)
    with campaign.database.write() as connection:
        row = {"arm": "", "round": 0, "step": "intake", "output": {}, "seconds": 0.0}
        connection.execute(step.insert().values(**row))
        campaign.queue.put(connection, "auto", 0, [{"document_id": document, "kind": "policy", "position": 0}])
    campaign.answer(campaign.ask("ada"), campaign.labels.value(label), "ada")
    for classes in (["a", "b", "c", "d"], ["a", "b", "c", "d"]):
        start_run(config(task=task, classes=classes), tmp_path / "run").close()
        said = capsys.readouterr().err
        assert ("c, d" in said and told in said) if told else not said
        told = ""  # it is said once


def test_a_run_without_any_settings_is_refused(begun: Path) -> None:
    campaign = start_run(config(budget=60), begun)
    campaign.database.note("config", None)
    campaign.close()
    (begun / "config.yaml").unlink()
    with pytest.raises(DiscoverError, match=r"config\.yaml is missing"):
        start_run(config(), begun)


def test_a_start_that_is_refused_leaves_nothing(tmp_path: Path) -> None:
    refused = config().model_copy(update={"pool": config().pool.model_copy(update={"url": "sqlite:////nowhere/x.db"})})
    with pytest.raises(DiscoverError, match="cannot be used"):
        start_run(refused, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("kept")
    with pytest.raises(DiscoverError, match="cannot be used"):
        start_run(refused, tmp_path / "mine")
    assert (tmp_path / "mine" / "notes.txt").read_text() == "kept"


def test_settings_that_are_left_aside_are_named(begun: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start_run(config(budget=60), begun, keep=True).close()
    assert not capsys.readouterr().err
    campaign = start_run(config(budget=90), begun, keep=True)
    assert campaign.config.label.budget == 60
    campaign.close()
    said = capsys.readouterr().err
    assert f"{begun} keeps the settings that it has" in said and "differ in label.budget; `discover run`" in said
