"""What picks were worth: each rule, what the log says of it, and that another policy can be judged by it."""

import json
import shutil

import numpy as np
import pytest
import yaml
from sqlalchemy import select, update

from discover import plugins
from discover.campaign import open_run
from discover.cli import main
from discover.errors import DiscoverError
from discover.policy.corpus import DIMENSION, Reduction
from discover.policy.reward import PACKAGE, Answered, load_reward
from discover.query.decisions import read_arrays
from discover.steps.reward import reward
from discover.tables import pick, query
from tests.commands import attempt
from tests.kills import decisions_of, write_inputs


def answered(k=6, m=9, c=3, d=5, seed=0, **changes):
    rng = np.random.default_rng(seed)
    vectors, before = rng.normal(size=(k, d)), rng.normal(size=(m, d))
    fields = {
        "answers": rng.integers(0, c, k),
        "probabilities": rng.dirichlet(np.ones(c), k),
        "make_vectors": lambda: vectors.astype(np.float32),
        "make_labelled_vectors": lambda: before.astype(np.float32),
        "labels": rng.integers(0, c, m),
    }
    return Answered(**(fields | changes))


@pytest.mark.parametrize("word", plugins.names(PACKAGE))
@pytest.mark.parametrize("shape", [{}, {"k": 1}, {"m": 0}, {"m": 1, "c": 2}, {"k": 40, "d": 80}], ids=str)
def test_every_rule_gives_each_pick_a_number_from_0_to_1_and_the_same_again(word, shape):
    found = load_reward(word)(answered(**shape))
    assert found.shape == (shape.get("k", 6),) and ((found >= 0) & (found <= 1)).all()
    assert np.array_equal(found, load_reward(word)(answered(**shape)))


def test_error_and_surprise_by_hand():
    one = answered(answers=np.array([0, 2, 1]), probabilities=np.array([[0.6, 0.3, 0.1], [0.6, 0.3, 0.1], [0, 1, 0.0]]))
    assert load_reward("error")(one).tolist() == [0, 1, 0]
    assert load_reward("surprise")(one) == pytest.approx([0.4, 0.9, 0])


@pytest.mark.parametrize("word", plugins.names(PACKAGE))
def test_answers_of_several_labels_have_a_worth_too(word):
    rng = np.random.default_rng(5)
    several = {
        "answers": rng.integers(0, 2, (6, 3)),
        "labels": rng.integers(0, 2, (9, 3)),
        "probabilities": rng.random((6, 3)),
    }
    found = load_reward(word)(answered(**several))
    assert found.shape == (6,) and ((found >= 0) & (found <= 1)).all()
    sure = answered(**several | {"probabilities": np.abs(several["answers"] - 0.1)})
    if word != "gain":  # which does not look at the model
        assert load_reward(word)(sure) == pytest.approx(0 if word == "error" else 1 - 0.9**3)


def test_gain_is_what_a_head_that_also_learned_the_answer_errs_less():
    one = answered(k=7, m=400)
    reduced = Reduction(np.concatenate([one.labelled_vectors, one.vectors]), DIMENSION)
    x, picks = reduced(one.labelled_vectors).astype(float), reduced(one.vectors).astype(float)
    y, truth = np.eye(3)[one.labels], np.eye(3)[one.answers]

    def error_of(rows, wanted, others):
        weights = np.linalg.solve(rows.T @ rows + 0.5 * np.eye(rows.shape[1]), rows.T @ wanted)
        return np.square(truth[others] - picks[others] @ weights).sum()

    expected = []
    for i in range(7):
        others = np.arange(7) != i
        before = error_of(x, y, others)
        after = error_of(np.vstack([x, picks[i]]), np.vstack([y, truth[i]]), others)
        expected.append(0.5 + 400 * (before - after) / before / 2)
    assert np.ptp(expected) > 0.1
    assert load_reward("gain")(one) == pytest.approx(np.clip(expected, 0, 1), abs=1e-6)


def test_a_rule_of_ones_own_and_what_is_refused(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "def flat(answered, *, worth=0.5):\n    return [worth] * len(answered.answers)\n"
        "def short(answered):\n    return [1.0]\n"
        "def broken(answered):\n    return answered.nothing\n"
    )
    assert load_reward(f"{path}:flat", {"worth": 0.25})(answered()).tolist() == [0.25] * 6
    assert load_reward("") is None
    for word, options, said in (
        (f"{path}:flat", {"worth": 2}, r"must lie in \[0, 1\], pick 0 has 2.0: scale it"),
        (f"{path}:short", {}, r"a number for each of 6 picks, found shape \(1,\)"),
        (f"{path}:broken", {}, "failed: AttributeError"),
        (f"{path}:flat", {"value": 1}, "has no option 'value'"),
        ("eror", {}, "did you mean 'error'"),
    ):
        with pytest.raises(DiscoverError, match=said):
            load_reward(word, options)(answered())


def campaign(folder, **query):
    """A config for a run of one arm with many small rounds, and its documents imported."""
    folder.mkdir()
    config = write_inputs(folder)
    settings = yaml.safe_load(config.read_text())
    settings["label"] |= {"budget": 132, "audit": 0.2}
    settings["query"] |= {"batch": 5, "temperature": 0.3, "floor": 0.3} | query
    settings["loop"] = {"arms": []}
    config.write_text(json.dumps(settings))
    assert main(["import", str(config), str(folder / "documents.jsonl.gz"), "--run", str(folder / "run")]) == 0
    return config


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rewards") / "whole"
    config = campaign(folder)
    assert main(["run", str(config), "--run", str(folder / "run")]) == 0
    return folder


def lines_of(folder):
    return [json.loads(line) for line in decisions_of(folder / "run")]


def test_a_live_runs_log_says_what_its_picks_were_worth(finished):
    models = {line["query"]: line["model"] for line in lines_of(finished) if "model" in line}
    picks = [line for line in lines_of(finished) if "document" in line]
    for line in picks:  # the seed labels were chosen without a model, and audits are no decisions
        assert (line["pick_reward"] is None) == (line["kind"] == "audit" or models[line["query"]] is None)
    classes = list(yaml.safe_load((finished / "run" / "config.yaml").read_text())["label"]["classes"])
    for name in [name for name, model in models.items() if model]:
        arrays, _ = read_arrays(finished / "run" / "decisions" / f"{name}.safetensors")
        mine = [line for line in picks if line["query"] == name and line["kind"] == "policy"]
        given = [arrays["probabilities"][at, classes.index(line["label"])] for at, line in enumerate(mine)]
        assert [line["pick_reward"] for line in mine] == pytest.approx(1 - np.array(given))


def test_another_policy_is_judged_by_the_picks_of_a_live_run(finished, capsys):
    assert main(["ope", str(finished / "run"), "--target", "uniform"]) == 0
    said = capsys.readouterr().out
    assert "reward: that of each pick" in said
    verdicts = {line.split()[0]: line for line in said.splitlines() if line.split()[1:2] == ["pick"]}
    assert " ok" in verdicts["snips"] or " warn" in verdicts["snips"]
    assert "refuse" not in verdicts["snips"]


def test_once_another_policy_asks_the_picks_of_the_one_before_are_judged_no_more(finished, tmp_path):
    shutil.copytree(finished / "run", tmp_path / "run")
    campaign = open_run(tmp_path / "run")
    with campaign.database.write() as connection:
        asked = select(query.c.id).where(query.c.model.is_not(None)).order_by(query.c.round)
        *_, before, last = connection.execute(asked).scalars()
        for name, policy in ((before, "bad"), (last, "new")):
            connection.execute(update(query).where(query.c.id == name).values(policy=policy))
            of_it = (pick.c.query_id == name, pick.c.kind == "policy")
            connection.execute(update(pick).where(*of_it).values(chooser="policy", pick_reward=None))
    found = reward(campaign, campaign.arms[0])
    campaign.close()
    assert {row["of"] for row in found.rows} == {before, last}, "the log says what both were worth"
    assert found.by["policy"] == [row["reward"] for row in found.rows if row["of"] == last] != []


@pytest.mark.slow
def test_a_killed_run_that_goes_on_gives_the_same_rewards(finished, tmp_path):
    config = campaign(tmp_path / "killed")
    arguments = ["run", str(config), "--run", str(tmp_path / "killed" / "run")]
    assert attempt([*arguments, "--rounds", "3"])["status"] == 0
    assert attempt(arguments, crash_at="within_evaluate")["status"] == -9
    assert attempt(arguments)["status"] == 0
    assert decisions_of(tmp_path / "killed" / "run") == decisions_of(finished / "run")


def test_without_a_rule_there_are_no_rewards_and_it_cannot_change(tmp_path, capsys):
    config = campaign(tmp_path / "none", reward="")
    run = str(tmp_path / "none" / "run")
    assert main(["run", str(config), "--run", run, "--rounds", "2"]) == 0
    assert all(line["pick_reward"] is None for line in lines_of(tmp_path / "none") if "document" in line)
    assert main(["run", str(config), "--run", run, "--set", "query.reward=error"]) == 1
    assert "was begun with query.reward=''" in capsys.readouterr().err
    assert main(["run", str(config), "--run", run, "--set", "query.reward=eror"]) == 1
    assert "did you mean 'error'" in capsys.readouterr().err
