"""The environments as they are played: rewards, ends, splits, seeds, and one environment among others."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.env_checker import check_env as check_for_sb3

from discover.errors import DiscoverError
from discover.policy import features
from discover.policy.corpus import altered
from envs.batch import SOURCES, quotas
from envs.episodes import Episodes
from tests.episodes import BATCH, LABELING, allowed, corpus, episode, played, vector


@pytest.mark.parametrize("name", [LABELING, BATCH])
def test_gymnasium_and_sb3_find_nothing_to_say(name):
    env = gymnasium.make(name).unwrapped
    check_env(env)
    check_for_sb3(env)


@pytest.mark.parametrize("metric", ["macro_f1", "accuracy"])
def test_rewards_sum_up_to_the_mean_return(metric):
    env, rng = gymnasium.make(LABELING, corpora=[corpus()], episode=episode(metric=metric)), np.random.default_rng(0)
    _, told = env.reset(seed=3)
    first, rewards, qualities, over = told["quality"], [], [], False
    while not over:
        _, reward, over, truncated, told = env.step(allowed(env.unwrapped.action_masks(), rng))
        rewards.append(reward)
        qualities.append(told["quality"])
        assert not truncated
    assert len(rewards) == 40 and told["labels"] == 60
    assert sum(rewards) == pytest.approx(np.mean(qualities) - first, abs=1e-12)
    assert told["mean_return"] == pytest.approx(sum(rewards), abs=1e-12)
    assert qualities[-1] > first


def test_rewards_of_batches_sum_up_to_theirs():
    env = gymnasium.make(BATCH, corpora=[corpus()], episode=episode(batch=7))
    _, told = env.reset(seed=3)
    first, rewards, qualities, labels, over = told["quality"], [], [], [], False
    env.action_space.seed(0)
    while not over:
        _, reward, over, _, told = env.step(env.action_space.sample())
        rewards.append(reward)
        qualities.append(told["quality"])
        labels.append(told["labels"])
    assert labels == [27, 34, 41, 48, 55, 60]
    assert told["mean_return"] == pytest.approx(sum(rewards)) == pytest.approx(np.mean(qualities) - first)


def test_a_masked_action_costs_a_step_and_nothing_else():
    env = gymnasium.make(LABELING, corpora=[corpus()], episode=episode())
    before, _ = env.reset(seed=1)
    before, first, *_ = env.step(0)  # now the first slot is spent
    after, reward, over, _, told = env.step(0)
    assert told["masked"] and reward == 0 and not over and told["labels"] == 21
    assert all(np.array_equal(before[name], after[name]) for name in before)
    for _ in range(38):
        *_, over, _, told = env.step(0)
    assert over and told["labels"] == 21
    assert told["mean_return"] == first != 0  # Q_2 to Q_T are Q_1


def test_an_episode_ends_when_nothing_may_be_picked():
    episodes = played(Episodes([corpus()], 1, episode()), 0)
    episodes.valid[:] = False
    rewards, masked, over = episodes.step(np.array([0]))
    assert masked[0] and over[0] and rewards[0] == 0


def test_more_slots_than_documents_leave_some_empty():
    episodes = played(Episodes([corpus()], 2, episode(pool=70, candidates=100)), 30)
    assert episodes.observed.shape[1] == 100 and not episodes.valid[:, 70:].any()
    for row in range(2):
        places = episodes.slots[row, episodes.valid[row]]
        assert len(set(places.tolist())) == len(places) > 10
        assert not episodes.labelled[row, places].any()


@pytest.mark.parametrize(
    "settings", [{"candidates": 8, "batch": 8, "pool": 100}, {"candidates": 200, "pool": 60}], ids=str
)
def test_a_pool_can_be_asked_to_its_last_document(settings):
    rules = episode(**settings, budget=settings["pool"])
    episodes, rng = played(Episodes([corpus()], 2, rules), 0), np.random.default_rng(0)
    for step in range(rules.steps):
        for row in range(2):
            places = episodes.slots[row, episodes.valid[row]]
            assert len(set(places.tolist())) == len(places) and not episodes.labelled[row, places].any()
        _, masked, over = episodes.step(np.array([allowed(mask, rng) for mask in episodes.valid]))
        assert not masked.any() and over.all() == over.any() == (step == rules.steps - 1)
    assert episodes.labelled.all()


def test_no_two_splits_share_a_document():
    base = corpus()
    episodes = played(Episodes([base], 1, episode(report=100)), 5)
    parts = [episodes.vectors[0], episodes.sample[0], episodes.head.held_out[0].T]
    rows = np.concatenate(parts)
    assert len(np.unique(rows, axis=0)) == len(rows) == 300 + 50 + 200 + 100
    known = {one.tobytes() for one in base.test_vectors}
    assert [one.tobytes() in known for one in episodes.head.held_out[0].T] == [False] * 200 + [True] * 100


def test_a_report_is_on_test_documents_from_all_over_the_file():
    base = corpus()
    order = np.argsort(base.test_labels, kind="stable")
    base = replace(base, test_vectors=base.test_vectors[order], test_labels=base.test_labels[order])
    episodes = played(Episodes([base], 1, episode(report=30)), 5)
    expected = np.arange(30) * len(order) // 30
    assert np.array_equal(episodes.head.held_out[0, :, -30:].T, base.test_vectors[expected])
    assert len(np.unique(base.test_labels[expected])) == base.classes


def test_one_seed_one_trajectory_alone_or_among_others():
    together, seeds = vector(3), (11, 12, 13)
    observed, _ = together.reset(seed=11)
    alone = [gymnasium.make(LABELING, corpora=[corpus(0), corpus(1)], episode=episode()) for _ in seeds]
    starts = [env.reset(seed=seed)[0] for env, seed in zip(alone, seeds, strict=True)]
    rngs = [np.random.default_rng(seed) for seed in seeds]
    for step in range(95):  # past the end of an episode, which begins the next by itself
        for row, start in enumerate(starts):
            assert all(np.array_equal(observed[name][row], start[name]) for name in start), (step, row)
        actions = [allowed(one["mask"], rng) for one, rng in zip(starts, rngs, strict=True)]
        observed, rewards, over, _, infos = together.step(np.array(actions))
        for row, env in enumerate(alone):
            starts[row], reward, ended, _, told = env.step(actions[row])
            assert rewards[row] == reward and over[row] == ended
            if ended:
                assert all(np.array_equal(infos["final_obs"][row][name], starts[row][name]) for name in starts[row])
                assert infos["final_info"]["mean_return"][row] == told["mean_return"]
                starts[row] = env.reset()[0]


def test_infos_of_an_episode_that_ends_are_gymnasiums_own():
    """Whoever reads those of a `SyncVectorEnv` reads ours: the observation of each environment is an object."""
    settings = {"corpora": [corpus()], "episode": episode(budget=24, batch=2)}
    told = []
    for mode, how in (("vector_entry_point", {}), ("sync", {"autoreset_mode": AutoresetMode.SAME_STEP})):
        env = gymnasium.make_vec(LABELING, num_envs=2, vectorization_mode=mode, vector_kwargs=how, **settings)
        env.reset(seed=0)
        for _ in range(4):
            masks = env.unwrapped.action_masks() if mode != "sync" else env.call("action_masks")
            infos = env.step(np.argmax(masks, axis=1))[-1]
        told.append(infos)
    ours, theirs = told
    for key in ("final_obs", "_final_obs"):
        assert (ours[key].shape, ours[key].dtype) == (theirs[key].shape, theirs[key].dtype)
    for mine, other in zip(ours["final_obs"], theirs["final_obs"], strict=True):
        assert mine.keys() == other.keys() and all(np.array_equal(mine[name], other[name]) for name in mine)
    assert np.array_equal(ours["final_info"]["mean_return"], theirs["final_info"]["mean_return"])


def test_seeds_of_a_vector_environment():
    env = vector(2)
    first, second = env.reset(seed=5)[0], env.reset(seed=[5, 6])[0]
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert not np.array_equal(env.reset()[0]["candidates"], first["candidates"])
    zero = env.reset(seed=0)[0]["candidates"]
    for seed in (np.int64(0), np.array([0, 1]), (0, 1)):
        assert np.array_equal(env.reset(seed=seed)[0]["candidates"], zero)
    assert env.np_random_seed == (0, 1)
    env.reset()
    assert env.np_random_seed == (0, 1), "chance goes on"
    for seed in ("ab", 1.5, [0, "b"]):
        with pytest.raises(DiscoverError, match="seed must be a whole number, or a list of one for each"):
            env.reset(seed=seed)
    for seeds in ([1], []):
        with pytest.raises(DiscoverError, match=f"a seed for each of 2 environments, found {len(seeds)}"):
            env.reset(seed=seeds)


def test_the_twin_of_margin_gains_nothing_over_itself():
    env = vector(2, twin=True)
    env.reset(seed=4)
    for _ in range(40):
        _, rewards, over, _, infos = env.step(env.unwrapped.episodes.greedy("margin"))
        assert rewards == pytest.approx([0, 0], abs=1e-15)
    assert over.all() and (infos["final_info"]["mean_return"] > 0).all()


def test_quotas_and_sources():
    assert quotas(np.zeros(4, np.float32), 8) == [2, 2, 2, 2]
    assert quotas(np.array([9, 0, 0], np.float32), 5) == [5, 0, 0]
    assert sum(quotas(np.array([1, 0.5, -2, 0], np.float32), 7)) == 7
    env = gymnasium.make(BATCH, corpora=[corpus()], episode=episode()).unwrapped
    env.reset(seed=0)
    ranks = env.episodes.observed[0, :, features.RANKED.index("margin")]
    assert ranks[env._pick("margin")] == ranks.max()
    for source in SOURCES:
        assert env.episodes.valid[0, env._pick(source)]
        if source.startswith("from_"):
            assert env.episodes.generator[env._pick(source)] == source.removeprefix("from_")


def test_the_state_tells_how_sure_a_sample_is():
    sure, no_labels = np.random.default_rng(0).random((3, 7)), np.zeros((3, 2), np.int64)
    for documents in (1, 2, 7):
        state = features.state(np.ones(3), no_labels, sure[:, :documents], np.zeros(3))
        found = state[:, [features.STATE.index(name) for name in ("sure_low", "sure", "sure_high")]]
        assert found == pytest.approx(np.quantile(sure[:, :documents], (0.1, 0.5, 0.9), axis=1).T, abs=1e-6)


def test_altered_tasks_are_tasks():
    for seed in range(30):
        other = altered(corpus(), np.random.default_rng(seed))
        assert 2 <= len(np.unique(other.labels)) <= 4
        assert len(other.vectors) == len(other.labels) == len(other.density) == len(other.cluster)


FORKED = """
import sys
sys.path.insert(0, sys.argv[1])
import gymnasium, torch
import numpy as np
from discover.policy.config import EpisodeConfig
from discover.policy.corpus import synthetic
torch.set_num_threads(2)
settings = {"corpora": [synthetic(np.random.default_rng(0), n=1500, classes=50, dimension=16)]}
settings["episode"] = EpisodeConfig(pool=600, reward=800)  # so many scores that torch takes threads to them
for mode in ("vector_entry_point", "async"):
    env = gymnasium.make_vec("envs:discover/Labeling-v0", num_envs=2, vectorization_mode=mode, **settings)
    observed, _ = env.reset(seed=0)
    env.step(observed["mask"].argmax(axis=1))
env.close()
print("stepped")
"""


def test_processes_that_gymnasium_forks_do_not_wait_for_threads():
    root = str(Path(__file__).parent.parent)
    done = subprocess.run([sys.executable, "-c", FORKED, root], capture_output=True, text=True, timeout=120)
    assert done.stdout.endswith("stepped\n"), done.stderr
