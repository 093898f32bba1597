"""The environments: actions, corpora and settings that are refused, and what to do about it."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from pydantic import ValidationError

from discover.errors import DiscoverError
from discover.policy.config import EpisodeConfig
from discover.policy.corpus import prepare, synthetic
from envs.batch import SOURCES, Batch
from envs.episodes import Episodes
from envs.labeling import Labeling
from envs.vector import VectorLabeling
from tests.episodes import BATCH, LABELING, corpus, episode, vector


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


@pytest.mark.parametrize(("name", "action"), [(LABELING, 0), (BATCH, np.zeros(len(SOURCES)))])
def test_a_step_out_of_turn_is_refused(name, action):
    env = gymnasium.make(name, corpora=[corpus()], episode=episode(budget=21)).unwrapped
    with pytest.raises(DiscoverError, match="expected a reset before the first step, and after the last, found none"):
        env.step(action)
    env.reset(seed=0)
    assert env.step(action)[2]
    with pytest.raises(DiscoverError, match="call reset"):
        env.step(action)
    env.reset(seed=0)
    assert env.step(action)[2]


def test_nothing_is_drawn():
    for name in (LABELING, BATCH):
        assert gymnasium.make(name, render_mode=None, corpora=[corpus()], episode=episode()).render_mode is None
    assert gymnasium.make_vec(LABELING, render_mode=None, vectorization_mode="vector_entry_point").render_mode is None
    for make in (Labeling, Batch, VectorLabeling):
        with pytest.raises(DiscoverError, match="render_mode must be None, found 'human': nothing is drawn here"):
            make(render_mode="human")


@pytest.mark.parametrize("action", [np.zeros(3), np.full(len(SOURCES), np.nan), 0.5])
def test_a_batch_is_made_up_by_a_number_a_source(action):
    env = gymnasium.make(BATCH, corpora=[corpus()], episode=episode()).unwrapped
    env.reset(seed=0)
    assert isinstance(env.step([0.0] * len(SOURCES))[1], float)
    with pytest.raises(DiscoverError, match="an action must be 10 finite numbers, one a source, found"):
        env.step(action)
    largest, beyond = np.full(len(SOURCES), -1.0), np.full(len(SOURCES), -3e38, np.float32)
    largest[0], beyond[0] = 1, 3e38
    seen = []
    for same in (largest, beyond):
        env.reset(seed=1)
        seen.append(env.step(same)[0])
    assert np.array_equal(*seen)


def test_rules_may_come_as_plain_values():
    for make in (Labeling, Batch, VectorLabeling):
        assert make(episode={"initial": 5, "budget": 20}).episodes.rules.budget == 20
        with pytest.raises(DiscoverError, match="episode: unknown key 'budgets': did you mean 'budget'"):
            make(episode={"budgets": 20})
        with pytest.raises(DiscoverError, match="needs at least one corpus"):
            make(corpora=[])


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
    with pytest.raises(DiscoverError, match="expected a reset before the first step"):
        vector(2).step(np.zeros(2, np.int64))
    with pytest.raises(
        DiscoverError,
        match=r"corpus, synthetic, has 700 documents, whose pool of \d+ must hold the budget of 690",
    ):
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
