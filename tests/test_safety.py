"""The test that a learned policy does harm: valid at any time, sticky, and heeded by the loop and by the bench."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml

from discover.bench.learners import own_learner
from discover.cli import main
from discover.config import load_config
from discover.errors import DiscoverError
from discover.loop import check
from discover.policy import safety
from discover.policy.corpus import synthetic
from discover.policy.features import NAMES
from discover.policy.learned import load_strategy, policy_of
from discover.policy.saved import save_policy
from discover.policy.scorer import Scorer
from discover.query.config import CandidateConfig
from discover.query.strategies.auto import auto
from discover.query.view import PastRound, Progress
from discover.simulate import SimulationConfig, play
from tests.benchmarks import _batches
from tests.benchmarks.safety import shares
from tests.commands import attempt
from tests.kills import decisions_of, write_inputs
from tests.labelled_files import LEARNER, arena_of, write_pair
from tests.views import view_of


def rounds_of(ours, theirs):
    return [
        PastRound(number, policy_rewards=tuple(one), auto_rewards=tuple(other))
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True))
    ]


def sabotaged(folder):
    """A trained policy, to all appearances, that wants what the model is surest of."""
    scorer = Scorer(hidden=1)
    with torch.no_grad():
        for parameter in scorer.parameters():
            parameter.zero_()
        scorer.layers[0].weight[0, NAMES.index("doubt_rank")] = 1
        scorer.layers[2].weight[0, 0] = 1
        scorer.layers[4].weight[0, 0] = -1
    save_policy(folder, scorer, {})
    return str(folder)


@pytest.mark.parametrize("kind", ["clicks", "even", "drifting"])
def test_at_the_edge_of_the_null_it_is_wrong_no_more_often_than_it_says(kind):
    rng, blamed = np.random.default_rng(1), 0
    for _ in range(400):
        level = rng.random(40) if kind == "drifting" else np.full(40, 0.6)
        draw = (lambda p, k: rng.random(k) < p) if kind != "even" else (lambda p, k: rng.uniform(0, 2 * p, k) / 1.2)
        ours = [draw(safety.TOLERATED * one, 20).astype(float) for one in level]
        theirs = [draw(one, 5).astype(float) for one in level]
        blamed += bool(safety.harm(rounds_of(ours, theirs)))
    assert blamed / 400 <= safety.LEVEL + 2 * np.sqrt(safety.LEVEL / 400)


def test_what_is_worth_little_is_caught_and_stays_caught():
    firsts = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        rounds = rounds_of((rng.random((30, 20)) < 0.1).astype(float), (rng.random((30, 5)) < 0.5).astype(float))
        firsts.append(next(number for number in range(31) if safety.harm(rounds[:number])))
    first = firsts[-1]
    assert np.median(firsts) <= 4 and max(firsts) <= 10
    assert len({safety.harm(rounds[:number]) for number in range(first, 31)}) == 1
    better = rounds_of(np.ones((30, 20)), np.zeros((30, 5)))
    assert safety.harm([*rounds[:first], *better]) == safety.harm(rounds[:first])
    assert safety.harm(better) == ""
    late = safety.harm([*better, *(replace(one, round=30 + one.round) for one in rounds)])
    assert "from round 3" in late and "were worth 0.1" in late  # what was good before neither hides nor softens it
    assert f"to {first - 1}," in safety.harm(rounds)


def test_nothing_is_said_where_there_is_nothing_to_compare_and_small_batches_wait():
    assert safety.harm([]) == safety.harm([PastRound(0)] * 50) == ""
    assert safety.harm(rounds_of(np.zeros((50, 9)), np.empty((50, 0)))) == ""
    assert safety.harm(rounds_of(np.empty((50, 0)), np.ones((50, 9)))) == ""
    alternating = [
        PastRound(n, policy_rewards=(0.0,) * (n % 5 != 4), auto_rewards=(1.0,) * (n % 5 == 4)) for n in range(60)
    ]
    assert safety.harm(alternating)


def test_in_the_environment_sabotage_is_caught_and_sound_policies_are_not_blamed():
    """A small piece of `tests/benchmarks/safety.py`, which has the figures."""
    corpus = synthetic(np.random.default_rng(11), n=3700, classes=4)
    names = ("surest", "repeated")
    policies = {name: getattr(_batches, name) for name in names} | {"auto": auto}
    rejected, returned = shares([corpus], policies, "surprise", (25, 12), range(4))
    assert [rejected[name] for name in names] == [1, 1] and rejected["auto"] == 0
    assert max(returned[name] for name in names) < returned["auto"]


def test_the_strategy_leaves_a_share_to_auto_in_batches_of_any_size_until_it_is_told(tmp_path):
    strategy = load_strategy("learned", {"policy": sabotaged(tmp_path / "policy")})
    for n in (1, 3, 10):
        left = []
        for round_ in range(60 // n):
            spent = Progress(round_ * 5, 500, (PastRound(0),) * round_)  # other labels are spent besides, on audits
            picks = strategy(view_of(n=40, progress=spent), n, np.random.default_rng(round_))
            left += (picks.choosers == "auto").tolist()
        assert len(left) == 60 and abs(sum(left) - 12) <= 1
    past = tuple(rounds_of(np.zeros((20, 8)), np.ones((20, 2))))
    view = view_of(n=40, progress=Progress(50, 100, past))
    picks, alone = strategy(view, 10, np.random.default_rng(3)), auto(view, 10, np.random.default_rng(3))
    assert np.array_equal(picks.indices, alone.indices) and np.array_equal(picks.logits, alone.logits)
    assert (picks.choosers == "auto").all() and picks.note.startswith(
        "auto asks alone: the policy's picks were worth 0.00"
    )


def test_another_policy_does_not_answer_for_the_one_before(tmp_path):
    options = {"policy": sabotaged(tmp_path / "policy")}
    strategy, digest = load_strategy("learned", options), policy_of(load_strategy("learned", options))
    past = [replace(one, policy="another") for one in rounds_of(np.zeros((20, 8)), np.ones((20, 2)))]
    for policy, asked in (("another", {"policy", "auto"}), (digest, {"auto"})):
        progress = Progress(50, 100, tuple(replace(one, policy=policy) for one in past))
        picks = strategy(view_of(n=40, progress=progress), 10, np.random.default_rng(3))
        assert set(picks.choosers.tolist()) == asked
    assert policy_of(load_strategy("margin")) is None


def test_a_bench_gives_a_sabotaged_policy_up_and_says_so(tmp_path, capsys):
    policy = sabotaged(tmp_path / "policy")
    path = tmp_path / "mine.py"
    path.write_text(LEARNER)
    files = write_pair(tmp_path)
    arena = arena_of(tmp_path / "arena", *files)
    rules = SimulationConfig(initial=20, batch=10, budget=150, candidates=CandidateConfig(count=150))
    learner = own_learner(f"{path}:hashed", arena.dataset, 0)
    notes = [one.note for one in play(arena, learner, load_strategy("learned", {"policy": policy}), rules, 0)]
    first = notes.index(next(note for note in notes if note))
    assert first >= 2 and notes[:first] == [""] * first and set(notes[first:]) == {notes[first]}
    arguments = ["bench", "--train", str(files[0]), "--test", str(files[1]), "--strategy", f"learned,policy={policy}"]
    arguments += ["--learner", f"{path}:hashed", "--seeds", "1", "--initial", "20", "--batch", "10", "--budget", "150"]
    assert main([*arguments, "--jobs", "1", "--no-full", "--output", str(tmp_path / "out")]) == 0
    assert "labels: auto asks alone: the policy's picks were worth" in capsys.readouterr().out
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert [one["seed"] for one in summary["notes"]] == [0]


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """A campaign with a sabotaged policy, its documents imported: its config and its run folder."""
    folder = tmp_path_factory.mktemp("safety")
    config = write_inputs(folder, documents=600)
    settings = yaml.safe_load(config.read_text())
    settings["label"] |= {"budget": 192, "audit": 0.1, "seed": 32}
    settings["query"] |= {
        "batch": 20,
        "strategy": "learned",
        "candidates": {"count": 300},
        "options": {"policy": sabotaged(folder / "policy")},
    }
    settings["loop"] = {"arms": []}
    config.write_text(json.dumps(settings))
    assert main(["import", str(config), str(folder / "documents.jsonl.gz"), "--run", str(folder / "run")]) == 0
    return config, folder / "run"


@pytest.mark.slow
def test_the_loop_gives_a_sabotaged_policy_up_killed_or_not_and_the_log_says_why(imported, tmp_path, capfd):
    config, run = imported
    shutil.copytree(run, tmp_path / "killed")
    assert main(["run", str(config), "--run", str(run)]) == 0
    said = capfd.readouterr().out
    assert said.count("learned: auto asks alone: the policy's picks were worth") == 1
    lines = [json.loads(line) for line in decisions_of(run)]
    numbers = {line["query"]: line["round"] for line in lines if "round" in line}
    card = json.loads((config.parent / "policy" / "card.json").read_text())
    assert {line["policy"] for line in lines if line.get("round")} == {card["sha256"]}
    picks = [line for line in lines if line.get("kind") == "policy"]
    rounds: dict[int, dict[str | None, list[float]]] = {number: {} for number in numbers.values()}
    for line in picks:
        rounds[numbers[line["query"]]].setdefault(line["chooser"], []).append(line["pick_reward"])
    # From the exported log alone: after which rounds there was a reason, and who asked from then on.
    past = rounds_of(*([one.get(who, []) for one in rounds.values()] for who in ("policy", "auto")))
    for number, one in rounds.items():
        if number:
            assert ("policy" not in one) == bool(safety.harm(past[:number]))
    given_up = [number for number, one in rounds.items() if number and "policy" not in one]
    assert given_up and given_up[0] > 1
    assert main(["status", "--run", str(run)]) == 0
    assert "learned: auto asks alone" in capfd.readouterr().out
    assert "auto asks alone" in (run / "report.html").read_text()
    arguments = ["run", str(config), "--run", str(tmp_path / "killed")]
    assert attempt([*arguments, "--rounds", str(given_up[0] - 1)])["status"] == 0
    assert attempt(arguments, crash_at="during_query")["status"] == -9
    assert attempt(arguments)["status"] == 0
    assert decisions_of(tmp_path / "killed")[1:] == decisions_of(run)[1:]


def test_without_a_reward_there_is_no_test_and_so_no_policy(imported):
    config = load_config(imported[0], ["query.reward=''"])
    with pytest.raises(DiscoverError, match=r"query\.strategy learned needs query\.reward"):
        check(config)
