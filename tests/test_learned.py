import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from discover.cli import main
from discover.errors import DiscoverError
from discover.policy import features
from discover.policy.corpus import Reduction
from discover.policy.learned import load_strategy, observed, preferences
from discover.policy.saved import load_policy, save_policy
from discover.policy.scorer import Scorer
from discover.query.strategies.auto import auto
from discover.query.view import PastRound, Progress, rest
from tests.labelled_files import write_pair
from tests.views import view_of


@pytest.fixture
def policy(tmp_path):
    torch.manual_seed(0)
    save_policy(tmp_path / "policy", Scorer(), {})
    return str(tmp_path / "policy")


def learned(policy, **options):
    return load_strategy("learned", {"policy": policy, **options})


@pytest.mark.parametrize("changes", [{}, {"m": 0}, {"n": 1}, {"c": 1}, {"n": 2, "m": 1}], ids=str)
def test_it_picks_in_every_view(policy, changes):
    view = view_of(**changes)
    for n in (1, 5, len(view)):
        picks = learned(policy)(view, n, np.random.default_rng(0))
        again = learned(policy)(view_of(**changes), n, np.random.default_rng(0))
        assert len(set(picks.indices.tolist())) == min(n, len(view))
        assert np.array_equal(picks.indices, again.indices)
        assert np.isfinite(picks.utilities).all() and (picks.log_propensities <= 0).all()


def test_propensities_are_how_often_it_happens(policy):
    strategy, drawn, likely = learned(policy, auto_share=0.5), Counter(), {}
    for seed in range(600):
        picks = strategy(view_of(n=5, m=6), 2, np.random.default_rng(seed))
        pair = tuple(picks.indices.tolist())
        drawn[pair] += 1
        likely[pair] = np.exp(picks.log_propensities.sum())
    assert sum(likely.values()) == pytest.approx(1, abs=0.05)
    for pair, probability in likely.items():
        assert abs(drawn[pair] / 600 - probability) < 4 * np.sqrt(probability / 600) + 0.005


def test_a_share_is_left_to_auto(policy):
    view = view_of(n=40, m=8, temperature=0.0)
    alone = auto(view, 10, np.random.default_rng(0))
    assert np.array_equal(learned(policy, auto_share=1)(view, 10, np.random.default_rng(0)).indices, alone.indices)
    found = learned(policy, auto_share=0.3)(view, 10, np.random.default_rng(0))
    assert (found.temperature, found.floor) == (0, 0) and not found.log_propensities.any()  # nothing was drawn
    picks = found.indices
    left, places = rest(view, picks[:7])
    assert np.array_equal(picks[7:], places[auto(left, 3, np.random.default_rng(0)).indices])
    wanted = preferences(view, _scorer(policy))
    assert picks[0] == wanted(np.empty(0, np.int64)).argmax()


@pytest.mark.parametrize(("batches", "share"), [((3, 2), 0.2), ((1, 0), 0.25), ((5,), 0.05)])
def test_autos_share_holds_however_uneven_batches_are(policy, batches, share):
    """Audit questions make them uneven: what is left of a batch in turn is so many."""
    choosers, rng = [], np.random.default_rng(0)
    for round_ in range(400):
        view = view_of(n=12, m=8, progress=Progress(rounds=(PastRound(0),) * round_))
        picks = learned(policy, auto_share=share)(view, batches[round_ % len(batches)], rng)
        choosers += [] if picks.choosers is None else picks.choosers.tolist()
    assert abs(choosers.count("auto") - share * len(choosers)) <= 3


def test_a_pick_makes_its_neighbours_less_like_what_is_left(policy):
    view = view_of(n=30, m=8)
    units = features.unit(Reduction(view.vectors, 64)(view.vectors))
    near = features.similarity(units, units[[4]])
    utilities = preferences(view, _scorer(policy))
    before = utilities(np.empty(0, np.int64))
    after = utilities(np.array([4]))
    assert (before != after).any() and near[4] == pytest.approx(1)
    assert utilities(np.array([4])) == pytest.approx(after)


def test_what_it_sees_is_what_the_environment_shows():
    view = view_of(n=30, m=9, generator=np.repeat(["uniform", "uncertain"], 15))
    reduce = Reduction(view.vectors, 64)
    raw, state = observed(view, reduce(view.vectors), reduce(view.labelled_vectors))
    assert set(raw) == set(features.RANKED) and state.shape == (len(features.STATE),)
    columns = features.columns(raw, view.generator, np.ones(30, bool))
    assert columns.shape == (30, len(features.NAMES)) and columns.min() >= 0 and columns.max() <= 1
    assert columns[:, features.NAMES.index("from_uncertain")].tolist() == [0.0] * 15 + [1.0] * 15
    top = np.sort(view.probabilities, axis=1)[:, ::-1]
    assert columns[:, features.NAMES.index("margin")] == pytest.approx(1 - top[:, 0] + top[:, 1], abs=1e-6)
    assert state[features.STATE.index("sure")] == pytest.approx(np.median(top[:15, 0]), abs=1e-6)


def test_refusals(policy, tmp_path):
    for options, found in (
        ({}, "needs query.options.policy"),
        ({"policy": str(tmp_path / "none")}, "must hold a policy"),
        ({"policy": policy, "auto_share": 2}, "auto_share must be a share from 0 to 1, found 2"),
        ({"policy": policy, "share": 0.1}, "share"),
    ):
        with pytest.raises(DiscoverError, match=found):
            load_strategy("learned", options)


def test_a_bench_plays_it_and_knows_one_policy_from_another(policy, tmp_path, capsys):
    train, test = write_pair(tmp_path)
    arguments = ["bench", "--train", str(train), "--test", str(test), "--strategy", f"learned,policy={policy}"]
    arguments += ["--seeds", "1", "--initial", "10", "--batch", "10", "--budget", "30", "--jobs", "1", "--no-full"]
    arguments += ["--output", str(tmp_path / "out")]
    assert main(arguments) == 0
    rows = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert [row["labels"] for row in rows if row["strategy"].startswith("learned")] == [10, 20, 30]
    torch.manual_seed(1)
    save_policy(tmp_path / "policy", Scorer(), {})
    assert main(arguments) == 0
    assert len(list((tmp_path / "out" / "cells").glob("*learned*"))) == 2


def _scorer(policy):
    return load_policy(Path(policy))[0]
