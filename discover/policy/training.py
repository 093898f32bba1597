"""How a policy is trained: decisions gathered on many tasks, imitation, then reinforcement; each part is kept.

A killed training goes on from what lies in its folder: the decisions of each corpus, the imitated scorer, and the last
checkpoints of the reinforcement. That is done with few and with many candidates a round, side by side; the mean of the
weights does better on unseen corpora than either (runs/LOG.md; Wortsman et al. 2022, https://arxiv.org/abs/2203.05482).
"""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from discover import tracking
from discover.child import side_by_side
from discover.errors import DiscoverError
from discover.policy import imitation, reinforcement
from discover.policy.config import EpisodeConfig, PolicyConfig
from discover.policy.corpus import DIMENSION, Corpus, altered, synthetic
from discover.policy.imitation import Decisions
from discover.policy.saved import load_policy, save_policy
from discover.policy.scorer import Scorer
from discover.policy.trials import make_env
from discover.progress import progress
from discover.run import publish

PARALLEL = 16  # episodes that decisions are gathered from
FEW_CLASSES, VARIED = 30, 3
ATTEMPTS = 10  # to alter a corpus so that enough of it is left


def train(corpora: Sequence[Corpus], config: PolicyConfig, folder: Path) -> Scorer:
    """Train a policy and publish it as ``folder/policy``.

    Args:
        corpora: those of the config, in its order.
        config: the rules.
        folder: for what is kept; the same call goes on with it, and changes nothing once the policy is published.

    Raises:
        DiscoverError: a corpus is too small for the rules.
    """
    if (folder / "policy").is_dir():
        return _kept(folder / "policy")
    made_up = [
        synthetic(np.random.default_rng([config.seed, one]), n=3500, classes=2 + one % 7, dimension=DIMENSION)
        for one in range(config.synthetic)
    ]
    tasks = [*corpora, *made_up]
    kept = folder / "decisions"
    kept.mkdir(parents=True, exist_ok=True)
    numbered = list(enumerate(tasks))
    decisions = [
        one
        for number, corpus in progress(numbered, len(numbered), "gather decisions")
        for one in _decisions_of(corpus, number, config, kept / f"{number:03d}-{corpus.name}.safetensors")
    ]
    trained = _trained(tasks, config, len(decisions))
    scorer = _imitated(decisions, config, folder, trained)
    if config.reinforcement.steps:
        wanted = sorted(set(config.reinforcement.candidates))
        jobs = 1 if len(wanted) == 1 else None
        found = dict(side_by_side(_reinforced, (tasks, config, folder), wanted, jobs))
        average = {name: np.mean([found[k][name] for k in wanted], axis=0) for name in scorer.state_dict()}
        scorer.load_state_dict({name: torch.from_numpy(weights) for name, weights in average.items()})
    save_policy(folder / "policy", scorer, trained)
    return scorer


def _reinforced(
    shared: tuple[Sequence[Corpus], PolicyConfig, Path], candidates: int
) -> tuple[int, dict[str, NDArray[np.float32]]]:
    """The weights that reinforcement learning makes of the imitated ones, with so many candidates a round."""
    tasks, config, folder = shared
    scorer = load_policy(folder / "imitated")[0]
    episode = config.episode.model_copy(update={"twin": True, "candidates": candidates})
    env = make_env(_practice(tasks, config), config.reinforcement.environments, episode)
    kept, curves = folder / "reinforcement" / str(candidates), folder / "tensorboard" / f"ppo_{candidates}"
    reinforcement.improve(scorer, env, config.reinforcement, kept, curves, config.seed)
    return candidates, {name: weights.numpy() for name, weights in scorer.state_dict().items()}


def _practice(tasks: Sequence[Corpus], config: PolicyConfig) -> list[Corpus]:
    """What reinforcement plays on: tasks of few classes, which play many times as fast, and altered ones of them."""
    rules, rng = config.episode, np.random.default_rng([config.seed, 3])
    few = [one for one in tasks if one.classes <= FEW_CLASSES] or list(tasks)
    varied = [altered(one, rng) for one in few for _ in range(VARIED)]
    return [*few, *(one for one in varied if len(one) >= rules.pool + rules.state + rules.reward)]


def _imitated(decisions: Sequence[Decisions], config: PolicyConfig, folder: Path, trained: dict[str, Any]) -> Scorer:
    """The scorer as imitation leaves it; learned once, and a policy of its own."""
    done = folder / "imitated"
    if done.is_dir():
        return _kept(done)
    torch.manual_seed(config.seed)  # of the first weights, whatever ran in this process before
    scorer = Scorer(config.hidden)
    curve: list[tracking.Point] = []
    for epoch, loss in enumerate(imitation.fit(scorer, decisions, config.imitation, config.seed)):
        curve.append(tracking.Point("cross_entropy", epoch, loss, time.time()))
        tracking.write(folder / "tensorboard" / "imitation", curve)
    save_policy(done, scorer, trained)
    return scorer


def _kept(policy: Path) -> Scorer:
    try:
        return load_policy(policy)[0]
    except DiscoverError as error:
        raise DiscoverError(f"{error}; remove {policy}, and this command makes it anew") from error


def _decisions_of(corpus: Corpus, number: int, config: PolicyConfig, path: Path) -> list[Decisions]:
    """The decisions of a corpus and its variants, gathered once."""
    try:
        arrays = load_file(path)
        return [Decisions(*(arrays[f"{i}.{part}"] for part in imitation.PARTS)) for i in range(len(arrays) // 3)]
    except (OSError, SafetensorError, KeyError):
        pass  # not yet there, or damaged
    found = list(_gathered(corpus, number, config))
    arrays = {f"{i}.{part}": getattr(one, part) for i, one in enumerate(found) for part in imitation.PARTS}
    with publish(path) as scratch:
        scratch.write_bytes(save(arrays))
    return found


def _gathered(corpus: Corpus, number: int, config: PolicyConfig) -> Iterator[Decisions]:
    rng = np.random.default_rng([config.seed, number])
    for variant in range(1 + config.imitation.variants):
        for candidates in config.imitation.candidates:
            episode = config.episode.model_copy(update={"candidates": candidates, "report": 0})
            env = _varied(corpus, episode, rng) if variant else make_env([corpus], PARALLEL, episode)
            yield imitation.gather(env, config.imitation.decisions, int(rng.integers(2**31)))


def _varied(corpus: Corpus, episode: EpisodeConfig, rng: np.random.Generator) -> VectorEnv:
    """An altered corpus that is still large enough; the corpus itself where chance finds none."""
    for _ in range(ATTEMPTS):
        try:
            return make_env([altered(corpus, rng)], PARALLEL, episode)
        except DiscoverError:
            continue
    return make_env([corpus], PARALLEL, episode)


def _trained(tasks: Sequence[Corpus], config: PolicyConfig, gathered: int) -> dict[str, Any]:
    return {
        "corpora": [{"name": one.name, "documents": len(one), "classes": one.classes} for one in tasks],
        "decision_sets": gathered,
        "config": config.model_dump(mode="json"),
    }
