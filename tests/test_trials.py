import functools

import numpy as np
import pytest

from discover.policy import features, trials
from discover.policy.baselines import Exp3, by_strategy
from discover.policy.config import SCAN, EpisodeConfig
from discover.policy.corpus import synthetic
from tests.views import view_of

SMALL = EpisodeConfig(budget=60, candidates=16, pool=300, state=50, reward=200)


@functools.cache
def corpus():
    return synthetic(np.random.default_rng(0), n=700, classes=4, dimension=16)


def test_the_oracle_is_a_ceiling_and_curves_are_paired():
    env = trials.make_env([corpus()], 12, SMALL.model_copy(update={"report": 300}))
    found = {name: trials.play(env, trials.chooser(name, env), 7) for name in ("random", "margin", "oracle")}
    assert found["random"].labels.tolist() == list(range(20, 61, 5))
    for one in found.values():
        assert np.array_equal(one.macro_f1[:, 0], found["random"].macro_f1[:, 0])
    assert (found["oracle"].area("macro_f1") > found["random"].area("macro_f1")).mean() > 0.8
    assert found["margin"].area("accuracy") == pytest.approx(
        [np.trapezoid(row, found["margin"].labels) / 40 for row in found["margin"].accuracy]
    )


@pytest.mark.parametrize("pool", [300, 5000])
def test_the_whole_pool_is_scanned_however_large(monkeypatch, pool):
    """Else margin, what all others are held against, is that over a part of the pool."""
    played = []
    monkeypatch.setattr(trials, "make_env", lambda corpora, count, rules: played.append(rules))
    assert trials.judged(corpus(), {}, 1, SMALL.model_copy(update={"pool": pool}), 0) == []
    assert played[0].candidates * SCAN >= pool


def test_a_strategy_of_the_loop_asks_in_the_environment_what_its_measure_would_by_the_features():
    env = trials.make_env([corpus()], 6, SMALL.model_copy(update={"report": 300}))
    by_features = trials.play(env, trials.chooser("margin", env), 7)
    rounds = by_strategy("margin", env)
    found = trials.play(env, lambda observed, rng: rounds(rng), 7)
    assert np.array_equal(found.macro_f1, by_features.macro_f1)


@pytest.mark.parametrize("name", trials.FIXED)
def test_every_fixed_policy_plays_a_campaign_to_its_end(name):
    rules = SMALL.model_copy(update={"budget": 38})  # the last round is shorter than a batch
    first, again = (trials.judged(corpus(), {name: name}, 2, rules, 3) for _ in range(2))
    assert first == again and all(row["labels"][-1] == 38 and 0 < row["macro_f1"] < 1 for row in first)


def test_a_view_of_the_environment_has_its_free_candidates_and_labels():
    env = trials.make_env([corpus()], 3, SMALL)
    env.reset(seed=1)
    episodes = env.unwrapped.episodes
    for row, view in enumerate(env.unwrapped.views()):
        seen = episodes.observed[row, view.ids, features.NAMES.index("doubt")]
        assert 1 - view.probabilities.max(axis=1) == pytest.approx(seen, abs=1e-5)
    env.step(np.array([4, 5, 6]))
    for row, view in enumerate(env.unwrapped.views()):
        places, asked = episodes.slots[row, view.ids], episodes.order[row, : episodes.spent[row]]
        assert 4 + row not in view.ids and len(view) == episodes.valid[row].sum() and view.progress.spent == 21
        assert np.linalg.norm(view.vectors, axis=1) == pytest.approx(1, abs=1e-5)
        assert view.vectors == pytest.approx(
            features.unit(episodes.vectors[row, places])
        ) and view.probabilities.shape == (len(view), 4)
        assert view.probabilities.sum(axis=1) == pytest.approx(1)
        assert view.labels.tolist() == episodes.labels[row, asked].tolist()


def test_a_bandit_comes_to_follow_the_strategy_that_gains():
    rng, rounds, e = np.random.default_rng(0), 60, 40
    bandit = Exp3(e, rounds, ["random", "margin"])
    quality, views = np.zeros(e), [view_of() for _ in range(e)]
    for _ in range(rounds):
        picks = bandit(views, 3, quality, rng)
        assert all(len(set(one.tolist())) == 3 for one in picks)
        quality = quality + np.where(bandit.arm == 1, 1.0, rng.random(e) / 2)
    assert bandit.chances[:, 1].mean() > 0.7 and bandit.chances.min() >= bandit.rate / 2 - 1e-12
    assert bandit.chances.sum(axis=1) == pytest.approx(1)


def test_a_pool_that_is_asked_to_its_end_has_a_whole_curve():
    rules = SMALL.model_copy(update={"pool": 60})
    rows = trials.judged(corpus(), {"margin": "margin"}, 2, rules, 0)
    assert len(rows) == 2 and all(0 < row["macro_f1"] < 1 for row in rows)


def test_the_summary_compares_with_margin_by_seed_and_by_dataset():
    shape = np.array([0.2, 0.4, 0.6])  # so 0.2 more is there after half of the way
    rows = [
        {"dataset": dataset, "policy": policy, "seed": seed, "macro_f1": 0.5 + seed / 10 + more, "accuracy": 0.7}
        | {"labels": [20, 60, 100], "curve": (shape + more + (seed - 1) / 10).tolist()}
        for dataset, gain in (("a", 0.1), ("b", 0.3))
        for policy, more in (("margin", 0.0), ("learned", gain))
        for seed in range(3)
    ]
    found = trials.summary(rows, np.random.default_rng(0))
    f1, right = found["gains"]
    assert f1["policy"] == "learned" and f1["metric"] == "macro_f1"
    assert f1["mean"] == pytest.approx(0.2) and f1["interval"] == pytest.approx([0.1, 0.3])
    assert f1["datasets"]["a"] == pytest.approx([0.1, 0], abs=1e-9)
    assert right["mean"] == 0
    (saved,) = found["savings"]
    assert saved["datasets"] == {"a": pytest.approx(0.2), "b": pytest.approx(0.6)}
    assert saved["mean"] == pytest.approx(0.4) and saved["interval"] == pytest.approx([0.2, 0.6])
    behind = [
        row | {"curve": [one - 0.5 for one in row["curve"]]} if row["policy"] == "learned" else row for row in rows
    ]
    assert trials.summary(behind, np.random.default_rng(0))["savings"][0]["mean"] == 0
    alone = trials.summary([row for row in rows if (row["dataset"], row["seed"]) == ("a", 0)], np.random.default_rng(0))
    assert alone["gains"][0]["datasets"]["a"] == [pytest.approx(0.1), None] and alone["gains"][0]["interval"] is None
    assert not any("nan" in line for line in trials.table(alone))
    assert "learned: 40% of margin's labels saved [20%, 60%] over datasets" in trials.table(found)
    assert any("learned: macro_f1 +20.0 points over margin [+10.0, +30.0]" in line for line in trials.table(found))
