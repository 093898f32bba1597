"""Campaigns in the environment that are asked in batches, as the loop asks: a policy's picks, then a share by `auto`.

A batch is chosen from a real `View` of an episode by the package's own strategies, and rewarded by its own rules, so
what is measured is what runs.
"""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from discover.policy import features, ridge
from discover.policy.config import EpisodeConfig
from discover.policy.corpus import Corpus
from discover.policy.reward import Answered, load_reward
from discover.query.acquire import Picks, gumbel_top_k
from discover.query.strategies.auto import auto
from discover.query.view import PastRound, Progress, View, rest

Policy = Callable[[View, int, np.random.Generator], Picks]
SHARE, TEMPERATURE, FLOOR = 0.2, 0.05, 0.1  # as `query` has them by default


def rules(batch: int, rounds: int) -> EpisodeConfig:
    """Of campaigns with 25 seed labels.

    Candidates are many times the batch, as in a loop: where a batch takes a quarter of them, its last picks are worth
    less than its first, whoever makes them, and `auto`, which picks last of fewer, gains by it.
    """
    sizes = {"pool": 3000, "state": 200, "reward": 500}
    return EpisodeConfig(initial=25, budget=25 + batch * rounds, batch=batch, candidates=16 * batch, **sizes)


def surest(view: View, n: int, rng: np.random.Generator) -> Picks:
    """Sabotage: what the model is surest of."""
    return gumbel_top_k(view.probabilities.max(axis=1), n, rng, view.temperature, view.floor)


def repeated(view: View, n: int, rng: np.random.Generator) -> Picks:
    """Sabotage: what is most like something that is labelled."""
    near = (view.vectors @ view.labelled_vectors.T).max(axis=1)
    return gumbel_top_k(near, n, rng, view.temperature, view.floor)


def play(corpus: Corpus, policy: Policy, episode: EpisodeConfig, seeds: range, reward: str) -> tuple[Any, Any]:
    """The rounds of a campaign for each seed, as a strategy is shown them, and (seeds,) the mean return of each."""
    env = gymnasium.make_vec(
        "envs:discover/Labeling-v0",
        num_envs=len(seeds),
        vectorization_mode="vector_entry_point",
        corpora=[corpus],
        episode=episode,
    )
    env.reset(seed=list(seeds))
    episodes, rounds = env.unwrapped.episodes, [[] for _ in seeds]
    rngs = [np.random.default_rng([seed, 1]) for seed in seeds]
    while len(rounds[0]) < episode.steps // episode.batch:
        actions = np.empty((len(seeds), episode.batch), np.int64)
        for row, rng in enumerate(rngs):
            actions[row], past = _batch(episodes, row, policy, rng, reward)
            rounds[row].append(PastRound(len(rounds[row]) + 1, policy_rewards=past[0], auto_rewards=past[1]))
        for step in range(episode.batch):
            infos = env.step(actions[:, step])[-1]
            assert not infos["masked"].any()
    return rounds, infos["final_info"]["mean_return"]


def _batch(
    episodes: Any, row: int, policy: Policy, rng: np.random.Generator, reward: str
) -> tuple[NDArray[np.int64], tuple[tuple[float, ...], tuple[float, ...]]]:
    """The slots of one batch, (b,), and what its picks were worth: those of the policy, and those of `auto`."""
    slots = np.flatnonzero(episodes.valid[row])
    slots = slots[np.argsort(episodes.slots[row, slots])]  # in the order of the pool
    view = _view(episodes, row, slots)
    theirs = round(SHARE * episodes.rules.batch)
    ours = policy(view, episodes.rules.batch - theirs, rng).indices
    left, places = rest(view, ours)
    chosen = np.concatenate([ours, places[auto(left, theirs, rng).indices]])
    answers = episodes.labels[row, episodes.slots[row, slots[chosen]]]
    given = (lambda: view.vectors[chosen]), (lambda: view.labelled_vectors)
    worth = load_reward(reward)(Answered(answers, view.probabilities[chosen], *given, view.labels)).tolist()
    return slots[chosen], (tuple(worth[: len(ours)]), tuple(worth[len(ours) :]))


def _view(episodes: Any, row: int, slots: NDArray[np.int64]) -> View:
    head, places = episodes.head, episodes.slots[row, slots]
    labelled = episodes.order[row, : episodes.spent[row]]
    vectors = episodes.vectors[row, places]
    scores = (vectors @ head.weights[row])[None]
    likely = ridge.probabilities(scores, head.seen[row][None], head.sharpness[row][None])[0]
    return View(
        ids=places,
        generator=episodes.generator[slots],
        age=np.zeros(len(slots)),
        costs=np.ones(len(slots)),
        temperature=TEMPERATURE,
        floor=FLOOR,
        progress=Progress(
            float(episodes.spent[row]),
            float(episodes.rules.budget),
            (PastRound(0, cross_validated=float(head.validated[row])),),
        ),
        make_vectors=lambda: features.unit(vectors),
        make_probabilities=lambda: likely,
        make_labelled_vectors=lambda: features.unit(episodes.vectors[row, labelled]),
        make_labels=lambda: episodes.labels[row, labelled],
    )
