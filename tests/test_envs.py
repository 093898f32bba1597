import functools
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from pydantic import ValidationError
from stable_baselines3.common.env_checker import check_env as check_for_sb3

from discover.errors import DiscoverError
from discover.evaluate import metrics
from discover.policy import features, ridge
from discover.policy.config import EpisodeConfig
from discover.policy.corpus import altered, prepare, synthetic
from envs.batch import SOURCES, quotas
from envs.episodes import Episodes
from envs.head import RidgeHeads
from envs.scores import Scorer

LABELING, BATCH = "envs:discover/Labeling-v0", "envs:discover/Batch-v0"


@functools.cache
def corpus(seed=0):
    return synthetic(np.random.default_rng(seed), n=700, classes=4, dimension=16)


def episode(**settings):
    return EpisodeConfig(**{"budget": 60, "candidates": 16, "pool": 300, "state": 50, "reward": 200, **settings})


def vector(count, **settings):
    return gymnasium.make_vec(
        LABELING,
        num_envs=count,
        vectorization_mode="vector_entry_point",
        corpora=[corpus(0), corpus(1)],
        episode=episode(**settings),
    )


def allowed(mask, rng):
    return int(rng.choice(np.flatnonzero(mask)))


def played(episodes, steps, seed=0):
    """Begin every episode and pick at random for some steps."""
    rng = np.random.default_rng(seed)
    episodes.reset({row: np.random.default_rng(seed + row) for row in range(len(episodes.time))})
    for _ in range(steps):
        episodes.step(np.array([allowed(mask, rng) for mask in episodes.valid]))
    return episodes


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
    parts = [episodes.vectors[0], episodes.sample[0], episodes.head.held_out[0]]
    rows = np.concatenate(parts)
    assert len(np.unique(rows, axis=0)) == len(rows) == 300 + 50 + 200 + 100
    known = {one.tobytes() for one in base.test_vectors}
    assert [one.tobytes() in known for one in episodes.head.held_out[0]] == [False] * 200 + [True] * 100


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
    for seeds in ([1], []):
        with pytest.raises(DiscoverError, match=f"a seed for each of 2 environments, found {len(seeds)}"):
            env.reset(seed=seeds)


def test_the_head_is_a_batch_fit_after_a_thousand_updates():
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(1000, 33)).astype(np.float32), rng.integers(5, size=1000)
    held_out = rng.normal(size=(200, 33)).astype(np.float32)
    heads = RidgeHeads(2, 33, 5, 200)
    for head in range(2):
        heads.reset(head, held_out, rows[:0], labels[:0])
    for row, label in zip(rows, labels, strict=True):
        heads.teach(np.stack([row, row]), np.array([label, label]), np.array([True, False]))
    fitted = ridge.fit(rows, labels, 5)
    assert np.abs(heads.weights[0] - fitted.weights).max() < 1e-5
    assert np.abs(heads.inverse[0] - fitted.inverse).max() < 1e-5
    assert np.abs(heads.scores[0] - (held_out @ fitted.weights).T).max() < 1e-4  # single precision, until refreshed
    heads.refresh(np.array([0]), rows[None], labels[None])
    assert np.abs(heads.scores[0] - (held_out @ fitted.weights).T).max() < 1e-5
    assert (heads.sharpness[0], heads.validated[0]) == pytest.approx((fitted.sharpness, fitted.validated))
    assert heads.counts[1].sum() == 0 and not heads.weights[1].any()


def test_leave_one_out_is_that_of_refits():
    rng = np.random.default_rng(1)
    labels = rng.integers(3, size=40)
    rows = rng.normal(size=(40, 6)) + np.eye(3, 6)[labels]
    right = []
    for left_out in range(40):
        kept = np.arange(40) != left_out
        right.append((rows[left_out] @ ridge.fit(rows[kept], labels[kept], 3).weights).argmax() == labels[left_out])
    assert ridge.fit(rows, labels, 3).validated == pytest.approx(np.mean(right))


@pytest.mark.parametrize("metric", ["macro_f1", "accuracy"])
def test_quality_is_that_of_the_metrics(metric):
    rng = np.random.default_rng(2)
    scorer, scores = Scorer(3, 50, 30, 6), rng.normal(size=(3, 6, 80)).astype(np.float32)
    truth = rng.integers(5, size=(3, 80))
    for row in range(3):
        scorer.reset(row, truth[row])
    for reported, part in ((False, slice(50)), (True, slice(50, None))):
        expected = [getattr(metrics, metric)(scores[row, :, part].argmax(axis=0), truth[row, part]) for row in range(3)]
        assert scorer.quality(scores, metric, reported) == pytest.approx(expected)


def test_what_is_seen_is_what_a_batch_fit_says():
    """The real loop fits the ridge head to all labels at once; the environment must show the same."""
    episodes = played(Episodes([corpus()], 2, episode()), 25)
    found = episodes.raw(np.arange(2), episodes.beliefs(np.arange(2))[1])
    for row in range(2):
        places = episodes.order[row, : episodes.spent[row]]
        rows, labels = episodes.vectors[row, places], episodes.labels[row, places]
        vectors = episodes.vectors[row, episodes.slots[row]]
        head = ridge.fit(rows, labels, 4)
        scores, counts = vectors @ head.weights, np.bincount(labels, minlength=4)
        likely = ridge.probabilities(scores, counts > 0, episodes.head.sharpness[row])
        means = np.stack(
            [rows[labels == one].mean(axis=0) if (labels == one).any() else rows[0] * 0 for one in range(4)]
        )
        sample = episodes.sample[row].astype(np.float64)
        beliefs = sample @ head.weights
        probable = ridge.probabilities(beliefs, counts > 0, episodes.head.sharpness[row])
        unlabelled = ridge.sampled(sample, sample.T @ sample / len(sample), beliefs, probable)
        expected = {
            **features.uncertainty(likely),
            **ridge.prospects(vectors, head.inverse, scores, likely, unlabelled),
            "rarity": features.rarity(likely, counts),
            "disagreement": features.disagreement(likely, vectors, means, counts > 0),
            "labelled": features.similarity(features.unit(vectors), features.unit(rows)),
            "crowd": features.crowd(
                (episodes.cluster[row, episodes.slots[row]][:, None] == episodes.cluster[row, places]).sum(1)
            ),
        }
        for name, values in expected.items():
            assert found[name][row] == pytest.approx(values, abs=1e-6), name


def test_features_lie_between_nought_and_one_and_ties_share_a_rank():
    values, valid = np.array([[3.0, 1.0, 3.0, 2.0, 9.0]]), np.array([[True, True, True, True, False]])
    assert features.ranks(values[..., None], valid)[0, :4, 0] == pytest.approx([2.5 / 3, 0, 2.5 / 3, 1 / 3])
    assert features.ranks(values[..., None], valid & (values == 2))[0, 3, 0] == 0.5
    episodes = played(Episodes([corpus()], 2, episode()), 33)
    assert episodes.observed.min() >= 0 and episodes.observed.max() <= 1
    assert not episodes.observed[~episodes.valid].any()
    assert episodes.state[:, features.STATE.index("left")] == pytest.approx(1 - 53 / 60)


def test_the_look_ahead_is_what_a_refit_gains():
    episodes = played(Episodes([corpus()], 1, episode()), 10)
    gains = episodes.lookahead()[0]
    places = episodes.order[0, : episodes.spent[0]]
    held_out, truth = episodes.head.held_out[0], np.eye(4)[episodes.scorer._truth[0]]
    weights = [np.ones(200), episodes.scorer.balance(0)]

    def errors(more):
        rows = np.append(places, np.array(more, np.int64))
        head = ridge.fit(episodes.vectors[0, rows], episodes.labels[0, rows], 4)
        squares = np.square(held_out @ head.weights - truth).sum(axis=1)
        return np.array([weight @ squares for weight in weights])

    valid = episodes.valid[0]
    gained = np.array([errors([]) - errors([slot]) for slot in episodes.slots[0][valid]])
    expected = ((gained - gained.mean(axis=0)) / gained.std(axis=0)).sum(axis=1)
    expected = (expected - expected.mean()) / expected.std()
    assert gains[valid] == pytest.approx(expected, abs=1e-5)
    assert np.isneginf(gains[~valid]).all()


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


@pytest.mark.parametrize("action", [-1, 16, 1.0, None, [0], [0, 0]])
def test_an_action_that_is_no_slot_is_refused(action):
    env = gymnasium.make(LABELING, corpora=[corpus()], episode=episode()).unwrapped
    env.reset(seed=0)
    with pytest.raises(DiscoverError, match="must be a whole number from 0 to 15, for each of 1 episodes, found"):
        env.step(action)
    assert env.episodes.time == 0


@pytest.mark.parametrize("actions", [[0], [0, 0, 0], [[0], [0]], [0, -1]])
def test_actions_of_several_environments_are_one_each(actions):
    env = vector(2)
    env.reset(seed=0)
    with pytest.raises(DiscoverError, match="for each of 2 episodes, found"):
        env.step(np.array(actions))


@pytest.mark.parametrize("action", [np.zeros(3), np.full(len(SOURCES), np.nan), 0.5])
def test_a_batch_is_made_up_by_a_number_a_source(action):
    env = gymnasium.make(BATCH, corpora=[corpus()], episode=episode()).unwrapped
    env.reset(seed=0)
    assert isinstance(env.step([0.0] * len(SOURCES))[1], float)
    with pytest.raises(DiscoverError, match="an action must be 10 finite numbers, one a source, found"):
        env.step(action)


def test_altered_tasks_are_tasks():
    for seed in range(30):
        other = altered(corpus(), np.random.default_rng(seed))
        assert 2 <= len(np.unique(other.labels)) <= 4
        assert len(other.vectors) == len(other.labels) == len(other.density) == len(other.cluster)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": ["a"] * 60}, "labels must be whole numbers that count from 0, found 'a': number the classes"),
        ({"labels": np.full(60, 0.5)}, r"labels must be whole numbers that count from 0, found '0\.5'"),
        ({"test_labels": np.full(9, -1)}, "test_labels must count from 0, found -1"),
        ({"vectors": np.full((60, 4), np.nan)}, "vectors must hold finite numbers"),
        ({"vectors": np.zeros(60)}, r"labels \(n,\), n at least 1, found \(60,\)"),
        ({"test_vectors": np.zeros((9, 3))}, r"test_vectors must be \(n, 4\) .*, found \(9, 3\) and \(9,\)"),
        ({"labels": [0] * 59}, r"found \(60, 4\) and \(59,\)"),
    ],
)
def test_a_corpus_of_ones_own_is_checked(change, message):
    rng = np.random.default_rng(0)
    arrays = {"vectors": rng.normal(size=(60, 4)), "labels": [0, 1] * 30}
    arrays |= {"test_vectors": rng.normal(size=(9, 4)), "test_labels": [0] * 9}
    assert prepare("mine", **arrays).classes == 2
    with pytest.raises(DiscoverError, match=f"corpus 'mine': .*{message}"):
        prepare("mine", **arrays | change)


def test_refusals_say_what_to_do():
    with pytest.raises(DiscoverError, match="needs at least one corpus"):
        Episodes([], 1, episode())
    other = synthetic(np.random.default_rng(0), n=700, dimension=8)
    with pytest.raises(DiscoverError, match=r"must have vectors of one size, found"):
        Episodes([corpus(), replace(other, name="other")], 1, episode())
    with pytest.raises(DiscoverError, match=r"has 700 documents, whose pool of \d+ must hold the budget of 690"):
        Episodes([corpus()], 1, episode(budget=690))
    with pytest.raises(ValidationError, match="budget counts the seed labels, so it must be over initial, 20"):
        EpisodeConfig(budget=20)
    with pytest.raises(ValidationError, match="batch must be at most candidates, 32"):
        EpisodeConfig(batch=33)
    with pytest.raises(DiscoverError, match=r"corpus 'x': labels must count from 0, found -1"):
        broken = corpus()
        type(broken)(
            "x",
            broken.vectors,
            broken.labels - 1,
            broken.test_vectors,
            broken.test_labels,
            broken.density,
            broken.cluster,
        )
