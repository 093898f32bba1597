"""The table: what applies and what does not, intervals of each kind, and the real logs of the Open Bandit Dataset."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy.stats import beta

from discover.cli import main
from discover.commands.ope import table
from discover.errors import DiscoverError
from discover.ope import plot
from discover.ope.estimators.cadr import cadr
from discover.ope.evaluation import Settings, evaluate
from discover.ope.feedback import Feedback
from discover.ope.offline import ope
from tests.bandits import bandit, with_share
from tests.decision_logs import make_run
from tests.real_data import DATA

OPEN_BANDIT = DATA / "bandit" / "obd"
COLUMNS = {
    "action": "item_id",
    "reward": "click",
    "propensity": "propensity_score",
    "position": "position",
    "context": "user_feature_*",
}
needs_open_bandit = pytest.mark.skipif(not OPEN_BANDIT.is_dir(), reason="the Open Bandit Dataset is not here")


def log(n=300, **more) -> Feedback:
    return with_share(0.4, 1).log(n, np.random.default_rng(0), **more)


def by_name(found):
    return {one.estimator: one for one in found.estimates}


def test_what_was_logged_is_by_the_measure_of_the_estimates():
    sizes = [2, 8] * 100
    batch = np.repeat(np.arange(200), sizes)
    rewards, half = batch % 2, np.full(len(batch), 0.5)
    feedback = Feedback(np.zeros(len(batch)), rewards, half, target_propensities=half, batch=batch, shared=True)
    found = evaluate(feedback, ["pdis"])
    assert found.logged == found.estimates[0].value == 0.5
    assert evaluate(replace(feedback, shared=False), ["ips"]).logged == 0.8


def test_all_that_apply_are_there_and_the_others_say_why():
    found = evaluate(log())
    assert set(by_name(found)) == {
        "cadr", "clipped_ips", "direct_method", "dr", "dros", "ips", "sndr", "snips", "switch_dr"
    }  # fmt: skip
    assert set(found.unavailable) == {"pdis", "set_ips"}
    assert "of which ips says the same" in found.unavailable["pdis"]
    assert found.rows == found.units == 300
    assert all(one.low < one.value < one.high for one in found.estimates)
    scalar = evaluate(replace(log(), target=None))
    assert set(by_name(scalar)) == {"clipped_ips", "ips", "snips"}
    assert "target is needed" in scalar.unavailable["dr"]
    assert found.verdict == "ok" and by_name(found)["direct_method"].verdict == "warn"


@pytest.mark.parametrize(("clicks", "said"), [(0, "it has no width"), (100, "it has no width"), (1, "it has no end")])
def test_a_log_of_rewards_all_alike_is_never_sure(clicks, said):
    """Of no click in a hundred the interval is [0, 0], and of one it has no end: neither is to be trusted."""
    rewards = np.zeros(100)
    rewards[:clicks] = 1
    feedback = Feedback(np.arange(100) % 2, rewards, np.full(100, 0.5), np.full((100, 2), 0.5))
    (found,) = evaluate(feedback, ["ips"]).estimates
    assert found.verdict == "warn" and said in found.checks[-1].reason
    assert by_name(evaluate(log()))["ips"].verdict == "ok"


def test_an_estimator_that_is_named_twice_is_told_once():
    assert len(evaluate(log(), ["ips", "snips", "ips"]).estimates) == 2


def test_a_campaigns_value_is_held_against_what_a_campaign_was_worth():
    rows = np.arange(400)
    found = evaluate(log(400, unit=rows // 4, step=rows % 4, batch=rows), ["snips", "pdis"])
    one, whole = found.estimates
    assert one.logged == found.logged and whole.logged == pytest.approx(4 * found.logged)
    assert f"as logged {found.logged:.5g}, of a campaign {whole.logged:.5g}" in next(iter(table(found)))
    figure = plot.drawn(found)
    lines = [axes.lines[-1].get_xdata()[0] for axes in figure.axes]
    assert lines == [one.logged, whole.logged] and "by the campaign" in figure.axes[1].get_xlabel()
    assert len(plot.drawn(evaluate(log(), ["snips", "ips"])).axes) == 1


def test_the_plot_has_no_figure_that_is_refused():
    feedback = Feedback(np.zeros(100), np.ones(100), np.r_[1e-4, np.ones(99)], target_propensities=np.full(100, 0.1))
    (panel,) = plot.drawn(evaluate(feedback, ["ips", "snips"])).axes
    assert len(panel.lines) == 1 and panel.get_xlim()[1] < 2  # what was logged
    assert [one.get_text()[:6] for one in panel.texts[:2]] == ["refuse", "refuse"]


def test_a_level_is_written_with_all_its_digits():
    """99.9 % is not all, and two levels must not look like one."""
    found = evaluate(log(), ["cadr"], Settings(level=0.999))
    assert any("99.9% interval" in line for line in table(found))
    assert "99.9% interval" in plot.drawn(found).axes[0].get_xlabel()


def test_values_are_near_the_truth_and_the_seed_decides():
    truth = with_share(0.4, 1)
    feedback = truth.log(2000, np.random.default_rng(0))
    found = evaluate(feedback)
    for one in found.estimates:
        assert abs(one.value - truth.value) < 4 * one.standard_error, one.estimator
    assert evaluate(feedback, ["snips"]) == evaluate(feedback, ["snips"])
    assert evaluate(feedback, ["snips"]) != evaluate(feedback, ["snips"], Settings(seed=1))


def test_an_estimator_for_adaptive_logs_does_not_see_predictions_fitted_on_what_came_later():
    (alone,) = evaluate(log(), ["cadr"]).estimates
    assert by_name(evaluate(log(), ["dr", "cadr"]))["cadr"] == alone


def test_an_interval_of_a_declared_range():
    rng = np.random.default_rng(0)
    truth = replace(with_share(0.6, 1), noise=0.0)
    means = (truth.means - truth.means.min()) / np.ptp(truth.means)
    feedback = replace(truth, means=means).log(500, rng)
    boot = by_name(evaluate(feedback, ["ips", "clipped_ips,ceiling=3"]))
    for method in ("bernstein", "sequence"):
        found = by_name(evaluate(feedback, settings=Settings(method, reward_range=(0, 1))))
        assert set(found) == {"ips", "clipped_ips"}
        assert found["ips"].low < boot["ips"].low < boot["ips"].high < found["ips"].high
    narrow = by_name(evaluate(feedback, ["clipped_ips,ceiling=3"], Settings("bernstein", reward_range=(0, 1))))
    assert narrow["clipped_ips,ceiling=3"].high < found["ips"].high
    for settings, message in (
        (Settings("bernstein"), "declare it"),
        (Settings("bernstein", reward_range=(0, 0.5)), r"declared range is 0 to 0\.5, row"),
    ):
        with pytest.raises(DiscoverError, match=message):
            evaluate(feedback, ["ips"], settings)
    with pytest.raises(DiscoverError) as everywhere:
        evaluate(feedback, settings=Settings("bernstein"))
    assert str(everywhere.value).count("declare it") == 1
    with pytest.raises(DiscoverError, match="snips has no bound on its ratios"):
        evaluate(feedback, ["snips"], Settings("bernstein", reward_range=(0, 1)))
    with pytest.raises(DiscoverError, match="needs independent rows"):
        evaluate(replace(feedback, unit=np.zeros(500)), ["ips"], Settings("bernstein", reward_range=(0, 1)))


def test_what_cannot_be_believed_is_refused_and_what_applies_nowhere_says_so():
    two = np.r_[0.9, 0.9, np.full(98, 1e-3)]
    feedback = Feedback(np.zeros(100), np.ones(100), np.full(100, 0.5), target_propensities=two)
    assert evaluate(feedback).verdict == "refuse"
    assert by_name(evaluate(feedback))["snips"].effective == pytest.approx(2.2, abs=0.1)
    never = evaluate(replace(feedback, target_propensities=np.zeros(100)))
    assert by_name(never)["snips"].verdict == "refuse"
    assert json.loads(json.dumps(never.as_dict(), allow_nan=False))["verdict"] == "refuse"
    with pytest.raises(DiscoverError, match="the estimator 'dr': target is needed"):
        evaluate(feedback, ["dr"])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"method": "bernsten"}, "one of bootstrap, bernstein, sequence, found 'bernsten'"),
        ({"level": 0}, "level must lie between 0 and 1, found 0: 0.95 is usual"),
        ({"level": 95}, "level must lie between 0 and 1, found 95"),
        ({"level": np.nan}, "level must lie between 0 and 1, found nan"),
        ({"reward_range": (1, 0)}, "must be two numbers that rise, found 1 0"),
    ],
)
def test_settings_of_an_interval_are_checked_in_python_as_well(wrong, message):
    with pytest.raises(DiscoverError, match=message):
        Settings(**wrong)


def test_what_takes_the_square_of_a_long_log_is_asked_for_by_name(monkeypatch):
    monkeypatch.setattr(cadr, "most_rows", 299)
    assert "the square of 300 rows: name it" in evaluate(log()).unavailable["cadr"]
    assert set(by_name(evaluate(log(), ["cadr"]))) == {"cadr"}
    monkeypatch.setattr(cadr, "most_rows", 300)
    assert "cadr" in by_name(evaluate(log()))


def test_one_estimator_is_a_word():
    assert evaluate(log(), "snips") == evaluate(log(), ["snips"])


def thompson(path: Path) -> Path:
    """The Bernoulli-Thompson policy of the dataset's priors, by item and place: P(the item's draw is 1st, 2nd, 3rd)."""
    priors = yaml.safe_load((OPEN_BANDIT / "prior_bts.yaml").read_text())["men"]
    grid = np.linspace(0, 0.2, 4001)
    density, below = (
        np.array([f(grid, a, b) for a, b in zip(priors["alpha"], priors["beta"], strict=True)])
        for f in (beta.pdf, beta.cdf)
    )
    shares = np.empty((3, len(density)))
    for item in range(len(density)):
        above = np.vstack([np.ones(len(grid)), np.zeros((2, len(grid)))])  # that 0, 1, 2 others' draws lie above
        for other in (other for other in range(len(density)) if other != item):
            more = 1 - below[other]
            above = above * (1 - more) + np.vstack([np.zeros(len(grid)), above[:2] * more])
        shares[:, item] = np.trapezoid(density[item] * above, grid, axis=1)
    with path.open("w", newline="") as lines:
        rows = csv.writer(lines)
        rows.writerow(["action", "position", "probability"])
        for (place, item), share in np.ndenumerate(shares / shares.sum(axis=1, keepdims=True)):
            rows.writerow([item, place + 1, share])
    return path


@needs_open_bandit
def test_open_bandit_uniform_from_thompson_and_the_other_way_round(tmp_path):
    """Each policy's value from the other's log: the interval has the click rate of its own log, 0.46 % and 0.69 %."""
    logs = {name: OPEN_BANDIT / name / "men" / "men.csv" for name in ("random", "bts")}
    judged = ["ips", "snips", "dr", "sndr"]
    settings = Settings(resamples=400)
    uniform = ope(logs["bts"], "uniform", columns=COLUMNS, estimators=judged, settings=settings)
    adaptive = ope(
        logs["random"], str(thompson(tmp_path / "bts.csv")), columns=COLUMNS, estimators=judged, settings=settings
    )
    assert adaptive.logged == pytest.approx(0.0046) and uniform.logged == pytest.approx(0.0069)
    for found, own in ((uniform, adaptive.logged), (adaptive, uniform.logged)):
        assert found.rows == 10_000 and found.verdict != "refuse"
        assert all(one.low <= own <= one.high for one in found.estimates)
        assert all(one.effective > 500 for one in found.estimates)


def run(capsys, *words):
    status = main(["ope", *map(str, words)])
    return status, capsys.readouterr()


def test_the_command_prints_a_table_and_json_and_draws(tmp_path, capsys):
    folder = make_run(tmp_path / "run", rounds=80, batch=2).root
    status, said = run(capsys, folder, "--target", "uniform", "--plot", tmp_path / "ope.png")
    assert status == 0, said.err
    lines = said.out.splitlines()
    assert lines[0].startswith("160 picks, 80 units; their mean reward as logged")
    assert any(line.startswith("estimator") and "95% interval" in line for line in lines)
    assert any(line.startswith("snips") and line.rstrip().endswith("ok") for line in lines)
    assert (tmp_path / "ope.png").read_bytes().startswith(b"\x89PNG")
    status, said = run(capsys, folder, "--target", "uniform", "--estimator", "snips", "set_ips", "--json")
    found = json.loads(said.out)
    assert status == 0 and [one["estimator"] for one in found["estimates"]] == ["snips", "set_ips"]
    assert found["verdict"] == "ok" and found["checks"][0]["name"] == "mass without support"
    api = ope(folder, "uniform", estimators=["snips", "set_ips"])
    assert api.as_dict() == found


def test_a_plot_that_cannot_be_written_loses_no_table(tmp_path, capsys):
    folder = make_run(tmp_path / "run", rounds=30, batch=2).root
    status, said = run(
        capsys, folder, "--target", "uniform", "--estimator", "snips", "--plot", tmp_path / "no" / "o.png"
    )
    assert status == 1 and "snips" in said.out
    assert "no/o.png cannot be written (No such file or directory): choose another place" in said.err


def test_the_command_on_a_table_and_a_log_that_is_refused(tmp_path, capsys):
    path = tmp_path / "log.csv"
    rows = [f"{n % 2},{n % 3},0.5,{0.9 if n < 2 else 0.001}" for n in range(100)]
    path.write_text("a,r,p,t\n" + "\n".join(rows) + "\n")
    words = (path, "--target", "t", "--columns", "action=a,reward=r,propensity=p")
    status, said = run(capsys, *words)
    assert status == 1
    assert "can be believed: effective sample 2.2 of 100 (2.2%)" in said.err and said.err.count("\n") == 1
    assert any(line.startswith("snips") and " -  " in line and "refuse" in line for line in said.out.splitlines())
    status, said = run(capsys, *words[:2], "uniform", *words[3:])
    assert status == 0 and "actions: 2" in said.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--target", "t"], "has no column 'action'"),
        (["--target", "t", "--columns", "acton=a"], "found 'acton=a': did you mean 'action'?"),
        (["--target", "t", "--columns", "action"], "--columns must be role=name"),
        (["--target", "t", "--columns", "action=a,action=t"], "--columns gives 'action' twice, as 'a' and as 't'"),
        (
            ["--target", "t", "--columns", "action=a,reward=r,propensity=p", "--estimator", "snip"],
            "did you mean 'snips'",
        ),
        (["--target", "t", "--columns", "action=a,reward=r,propensity=p", "--range", "1", "0"], "that rise, found 1 0"),
        (
            ["--target", "t", "--columns", "action=a,reward=r,propensity=p", "--range", "0", "inf"],
            "found 0 inf: mend them",
        ),
        (["--target", "t", "--columns", "action=a,reward=r,propensity=p", "--level", "1"], "level must lie between"),
        (["--target", "t", "--reward", "pick"], "--reward chooses between rewards of a decision log"),
    ],
)
def test_wrong_words_are_one_line_and_status_1(tmp_path, capsys, words, message):
    (tmp_path / "log.csv").write_text("a,r,p,t\n0,1,0.5,0.5\n1,0,0.5,0.5\n")
    status, said = run(capsys, tmp_path / "log.csv", *words)
    assert status == 1 and said.out == ""
    assert message in said.err and said.err.count("\n") == 1


def test_bandits_of_the_tests_have_the_share_they_are_asked_for():
    truth = with_share(0.3, 1)
    ratio = truth.target / truth.behaviour
    assert 1 / (truth.behaviour * ratio**2).sum(axis=1).mean() == pytest.approx(0.3, abs=0.01)
    assert bandit(np.random.default_rng(0)).value != truth.value
