"""A decision log suffices to judge another policy: probabilities from the stored features and logits alone."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from discover.commands.ope import table
from discover.errors import DiscoverError
from discover.ope import plot
from discover.ope.offline import ope, read
from discover.ope.ratios import by_batch
from discover.query.acquire import log_probabilities
from discover.query.decisions import read_arrays
from discover.query.propensity import ordered_log_propensities, set_log_propensity
from discover.run import RunFolder
from tests.decision_logs import N, lines_of, make_run, rewrite

USER_FILE = """
import numpy as np
from scipy.special import log_softmax

def oldest(candidates, *, weight: float = 1.0):
    return log_softmax(weight * candidates.feature("age") / 5)

def denser(candidates):
    return log_softmax(candidates.feature("density"))

def raw(candidates):
    return np.zeros(len(candidates))

def short(candidates):
    return np.zeros(3)

def broken(candidates):
    return candidates.no_such_thing
"""


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run", rounds=3, batch=3)


def feedback_of(log, target, reward=""):
    return read(log.root if isinstance(log, RunFolder) else log, target, {}, reward)


def test_rows_are_the_strategys_picks_with_the_probabilities_they_had(run):
    feedback, notes = feedback_of(run, "uniform")
    picks = _picks(run, 1)
    assert len(feedback) == len(picks) == 9
    assert feedback.propensities == pytest.approx(np.exp([pick["log_propensity"] for pick in picks]), abs=1e-12)
    assert feedback.rewards.tolist() == [pick["pick_reward"] for pick in picks]
    assert feedback.behaviour[np.arange(9), feedback.actions] == pytest.approx(feedback.propensities, abs=1e-12)
    assert feedback.targets == pytest.approx([1 / N, 1 / (N - 1), 1 / (N - 2)] * 3)
    assert feedback.batch.tolist() == np.repeat([1, 2, 3], 3).tolist() == feedback.step.tolist()
    assert "reward: that of each pick" in notes and "taken as independent: 3 queries" in notes
    assert "left out: 1 queries of seed labels" in notes


def test_the_target_is_what_that_strategy_would_have_drawn_by(run):
    """Round by round, from the features of a log of `margin`: `entropy`, drawn sharply, of the whole batch as well."""
    feedback, _ = feedback_of(run, "entropy,temperature=0.2,floor=0.3")
    assert len(feedback) == 9
    for number in (1, 2, 3):
        arrays, _ = read_arrays(run.decision_arrays / f"margin-{number:04d}.safetensors")
        logits = log_probabilities(arrays["features"][:, 1], 0.2, 0.3)
        mine = feedback.batch == np.unique(feedback.batch)[number - 1]
        expected = ordered_log_propensities(logits, arrays["picked"])
        assert np.log(feedback.targets[mine]) == pytest.approx(expected, abs=1e-10)
        assert feedback.set_log_targets[mine] == pytest.approx(set_log_propensity(logits, arrays["picked"]), abs=1e-10)


@pytest.mark.parametrize("target", ["logged", "margin"])
def test_the_logging_policy_judged_by_its_own_log_is_worth_its_mean(run, target):
    found = ope(run.root, target, estimators=["ips", "snips", "set_ips"])
    rewards = feedback_of(run, target)[0].rewards
    assert [one.value for one in found.estimates] == pytest.approx([rewards.mean()] * 3, abs=1e-6)
    assert all(one.share == pytest.approx(1) for one in found.estimates)


def test_an_even_draw_does_not_say_how_sharply_another_policy_draws(tmp_path):
    run = make_run(tmp_path / "run", rounds=2, strategy="random")
    for given in ("", ",temperature=0.05"):
        with pytest.raises(DiscoverError, match=r"was drawn evenly.* --target NAME,temperature=…,floor=…"):
            feedback_of(run, f"margin{given}")
    assert feedback_of(run, "margin,temperature=0.05,floor=0.1")[0].target.max() > 0.2
    assert ope(run.root, "uniform", estimators=["ips"]).estimates[0].value is not None


def test_a_power_of_the_logged_logits_makes_it_sharper_or_flat(run):
    flat, _ = feedback_of(run, "logged,power=0")
    assert flat.target == pytest.approx(feedback_of(run, "uniform")[0].target)
    sharp, _ = feedback_of(run, "logged,power=5")
    assert sharp.target.max() > feedback_of(run, "logged")[0].target.max()


def test_a_users_own_target_and_what_it_must_return(run, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(USER_FILE)
    feedback, _ = feedback_of(run, f"{path}:oldest,weight=2")
    assert feedback.target[0].argmax() == N - 1
    for name, message in (
        ("denser", "query 'margin-0001': the target asks for the feature 'density', the log has margin, entropy"),
        ("raw", "log-probabilities that sum to 1 on query 'margin-0001', found 12"),
        ("short", r"must give 12 log-probabilities on query 'margin-0001', found the shape \(3,\)"),
        ("broken", "failed on query 'margin-0001': AttributeError"),
    ):
        with pytest.raises(DiscoverError, match=message):
            feedback_of(run, f"{path}:{name}")


def test_a_target_that_is_no_function_is_refused(run, tmp_path):
    (tmp_path / "mine.py").write_text("chance = 0.5\n")
    with pytest.raises(DiscoverError, match=r"mine.py:chance' must be a function of the candidates, found float"):
        feedback_of(run, f"{tmp_path}/mine.py:chance")


def test_the_reward_of_the_whole_batch(tmp_path):
    run = make_run(tmp_path / "run", rewarded="query")
    feedback, notes = feedback_of(run, "uniform")
    queries = [line for line in lines_of(run) if line.get("round")]
    assert feedback.rewards.tolist() == [query["reward"] for query in queries for _ in range(2)]
    assert "reward: that of each query" in notes
    found = ope(run.root, "uniform")
    assert {one.estimator: one.per for one in found.estimates} == {"set_ips": "batch", "pdis": "batch"}
    assert "of a campaign" not in next(iter(table(found)))  # it had three rounds, and their sum is nobody's estimate
    assert "those of this log are of whole batches: take set_ips" in found.unavailable["snips"]
    both = make_run(tmp_path / "both")
    assert feedback_of(both, "uniform")[0].rewards.tolist() != feedback_of(both, "uniform", "query")[0].rewards.tolist()


def test_what_has_no_reward_yet_is_left_out_and_told(run):
    rewrite(run, lambda line: line | {"pick_reward": None} if line["query"] == "margin-0003" else line)
    feedback, notes = feedback_of(run, "uniform")
    assert len(feedback) == 6 and "left out: 1 queries without a reward yet" in notes
    rewrite(run, lambda line: line | ({"pick_reward": None} if "document" in line else {"reward": None}))
    with pytest.raises(
        DiscoverError,
        match="must hold picks with a reward, found 4 queries, 1 queries of seed labels, 3 queries without a reward",
    ):
        feedback_of(run, "uniform")


def test_a_pick_that_was_skipped_leaves_the_others_of_its_batch(run):
    """The probabilities of the others stay those of the draw, in which the skipped one had its place."""
    whole, _ = feedback_of(run, "entropy")
    first = next(line["document"] for line in lines_of(run) if line.get("query") == "margin-0002" and "kind" in line)
    rewrite(run, lambda line: line | {"pick_reward": None} if line.get("document") == first else line)
    rows = [number for number, line in enumerate(_picks(run, 1)) if line["pick_reward"] is not None]
    feedback, notes = feedback_of(run, "entropy")
    assert f"left out: {9 - len(rows)} picks without a reward yet" in notes and len(rows) < 9
    assert feedback.rewards.tolist() == whole.rewards[rows].tolist()
    assert feedback.target[:, :N] == pytest.approx(whole.target[rows])
    assert np.array_equal(feedback.actions, whole.actions[rows])
    assert feedback.set_log_targets == pytest.approx(whole.set_log_targets[rows])
    assert np.isfinite(ope(run.root, "entropy", estimators=["set_ips"]).estimates[0].value)


def test_a_query_of_audits_alone_is_no_decision(run):
    rewrite(run, lambda line: None if line.get("kind") == "policy" and line["query"] == "margin-0002" else line)
    path = run.decision_arrays / "margin-0002.safetensors"
    arrays, metadata = read_arrays(path)
    kept = {name: array for name, array in arrays.items() if name != "logits"}
    empty = {name: kept[name][:0] for name in ("picked", "log_propensities")}
    save_file(kept | empty, path, metadata | {"temperature": "0.0"})
    for target in ("uniform", "margin", "logged"):
        assert 2 not in feedback_of(run, target)[0].step
    assert "taken as independent: 2 queries" in feedback_of(run, "uniform")[1]


@pytest.mark.parametrize("through", [True, False])
@pytest.mark.parametrize("sets", [True, False])
def test_what_has_no_reward_still_leads_to_what_came_after_it(tmp_path, run, sets, through):
    """Round 2 has no reward, and in round 3 the first pick has none: their ratios are in that of round 3.

    Of so few campaigns that queries are judged by themselves, that of round 2 is in none.
    """
    for number in range(19 if through else 0):
        make_run(tmp_path / f"run {number}", rounds=2, batch=3, seed=number + 1)
    whole, _ = feedback_of(run, "entropy,temperature=0.3,floor=0.3")
    skipped = _picks(run, 3)[0]["document"]

    def change(line):
        if "document" not in line:
            return line | ({} if sets else {"set_log_propensity": None})
        lost = line["query"] == "margin-0002" or (line["query"], line["document"]) == ("margin-0003", skipped)
        return line | ({"pick_reward": None} if lost else {})

    rewrite(run, change)
    feedback, _ = feedback_of(tmp_path, "entropy,temperature=0.3,floor=0.3")
    ratio = np.log(whole.targets / whole.propensities)
    by_set = whole.set_log_targets - whole.set_log_propensities
    assert feedback.step[:5].tolist() == [1, 1, 1, 3, 3]
    # Rows 3 to 5 are of round 2, and row 6 was skipped.
    before = (by_set[3] if sets else ratio[3:6].sum()) if through else 0
    skips = 0 if sets else ratio[6]
    assert feedback.carried == pytest.approx([0, 0, 0, before, before, *[0] * (len(feedback) - 5)])
    assert feedback.skipped == pytest.approx([0, 0, 0, skips, skips, *[0] * (len(feedback) - 5)])
    again = by_batch(feedback)
    rounds = [by_set[0], by_set[6]] if sets else [ratio[:3].sum(), ratio[6:].sum()]
    assert again.ratio[:2] == pytest.approx(np.exp(rounds)) and again.before[:2] == pytest.approx(np.exp([0, before]))


def test_what_was_drawn_at_temperature_0_is_not_certain(run):
    """`auto` may hand over to `random`, which draws whatever the temperature is."""
    path = run.decision_arrays / "margin-0001.safetensors"
    arrays, metadata = read_arrays(path)
    arrays = {name: np.array(array) for name, array in arrays.items() if name != "logits"}
    save_file(arrays, path, metadata | {"temperature": "0.0"})
    feedback, _ = feedback_of(run, "uniform")
    assert feedback.behaviour is None and len(feedback) == 9


def test_a_target_of_too_few_candidates_draws_the_rest_evenly(run, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "import numpy as np\n\ndef two(candidates):\n"
        "    return np.where(np.arange(len(candidates)) < 2, np.log(0.5), -np.inf)\n"
    )
    feedback, _ = feedback_of(run, f"{path}:two")
    for number in range(4):
        mine = feedback.batch == number
        both = {0, 1} <= set(feedback.actions[mine].tolist())
        assert feedback.set_log_targets[mine] == pytest.approx(np.log(1 / (N - 2)) if both else -np.inf)


def _picks(run, first):
    return [line for line in lines_of(run) if line.get("kind") == "policy" and int(line["query"][-4:]) >= first]


def test_many_runs_are_campaigns_and_few_are_queries(tmp_path):
    for number in range(20):
        make_run(tmp_path / "runs" / f"{number:02d}", seed=number, rounds=2, batch=1)
    feedback, notes = feedback_of(tmp_path / "runs", "uniform")
    assert "taken as independent: 20 campaigns" in notes
    assert len(feedback) == 40 and feedback.units.tolist() == np.repeat(range(20), 2).tolist()
    (found,) = ope(tmp_path / "runs", "uniform", estimators=["pdis"]).estimates
    assert found.per == "campaign" and found.low < found.value < found.high
    assert "40 campaigns" not in feedback_of(tmp_path / "runs" / "00", "uniform")[1]


def test_seed_labels_are_no_decision_of_a_policy(tmp_path):
    for number in range(20):
        make_run(tmp_path / f"{number:02d}", seed=number, rounds=2, batch=2)
    same = "margin,temperature=0.5,floor=0.1"  # as the runs drew
    feedback, _ = feedback_of(tmp_path, same)
    assert feedback.carried == pytest.approx(np.zeros(len(feedback))) and set(feedback.step.tolist()) == {1, 2}
    (found,) = ope(tmp_path, same, estimators=["pdis"]).estimates
    assert found.value == pytest.approx(2 * feedback.rewards.mean()) and found.share == pytest.approx(1)


def test_a_query_that_does_not_know_what_the_target_asks_for_is_left_out(run):
    path = run.decision_arrays / "margin-0002.safetensors"
    arrays, metadata = read_arrays(path)
    features = arrays["features"].copy()
    features[3, 1] = np.nan
    save_file({name: np.array(array) for name, array in arrays.items()} | {"features": features}, path, metadata)
    feedback, notes = feedback_of(run, "entropy")
    assert 2 not in feedback.step and "left out: 1 queries that lack what the target asks for" in notes
    assert 2 in feedback_of(run, "margin")[0].step


def test_a_batch_that_the_budget_cut_is_weighed_by_its_order(run):
    whole = feedback_of(run, "entropy,temperature=0.3,floor=0.3")[0]
    rewrite(run, lambda line: line | {"set_log_propensity": None} if line.get("round") == 3 else line)
    found = by_batch(feedback_of(run, "entropy,temperature=0.3,floor=0.3")[0])
    ratio = whole.targets / whole.propensities
    of_set = np.exp(whole.set_log_targets - whole.set_log_propensities)
    assert found.ratio == pytest.approx([of_set[0], of_set[3], ratio[6:].prod()])
    assert [one.per for one in ope(run.root, "uniform", estimators=["set_ips"]).estimates] == ["batch"]


def test_what_was_not_drawn_has_no_support_and_is_refused(tmp_path):
    run = make_run(tmp_path / "run", temperature=0.0, rounds=30, batch=1)
    found = ope(run.root, "uniform")
    assert found.verdict == "refuse"
    support = next(check for check in found.checks if check.name == "mass without support")
    assert support.verdict == "refuse" and support.value > 0.8
    with pytest.raises(DiscoverError, match="a temperature above 0 is needed, found 0: give --target NAME,temperature"):
        feedback_of(run, "entropy")


def test_a_strategy_that_draws_step_by_step_is_judged_by_its_picks_alone(tmp_path):
    run = make_run(tmp_path / "run", strategy="badge", rounds=12)
    found = ope(run.root, "uniform", estimators=["snips"])
    assert np.isfinite(found.estimates[0].value)
    assert next(check for check in found.checks if check.name == "mass without support").verdict == "warn"
    with pytest.raises(DiscoverError, match="set_log_propensities is needed"):
        ope(run.root, "uniform", estimators=["set_ips"])
    with pytest.raises(DiscoverError, match=r"logits are needed, and its strategy 'badge' has none"):
        feedback_of(run, "logged")


def test_a_mask_leaves_candidates_out(run):
    from safetensors.numpy import load_file, save_file

    path = run.decision_arrays / "margin-0001.safetensors"
    arrays, metadata = read_arrays(path)
    out = next(index for index in range(N) if index not in arrays["picked"])
    arrays = load_file(path) | {"mask": np.arange(N) != out}
    save_file(arrays, path, metadata)
    with pytest.raises(DiscoverError, match="propensities must be the behaviour's probability"):
        feedback_of(run, "uniform")  # it was drawn from all of them, and the log now says otherwise


def test_the_plot_is_a_png(run, tmp_path):
    plot.draw(ope(run.root, "uniform"), tmp_path / "ope.png", "uniform $x$")
    assert (tmp_path / "ope.png").read_bytes().startswith(b"\x89PNG")
