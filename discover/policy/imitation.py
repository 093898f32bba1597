"""A scorer taught to prefer what a look-ahead prefers (imitation learning: Liu, Buntine & Haffari 2018, ALIL).

The look-ahead knows the candidates' labels and the reward documents: in closed form it says what each label would gain
(`envs.episodes.Episodes.lookahead`). Decisions are gathered while several behaviours play, the oracle among them, so
that the scorer has seen the states that good and bad policies lead to; it learns by listwise cross-entropy from the
softmax of the standardised gains. Left out: DAgger and squared errors, which were no better where they were measured.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from torch.nn.functional import log_softmax

from discover.policy.config import ImitationConfig
from discover.policy.features import NAMES
from discover.policy.heuristics import HEURISTICS, ORACLE, utilities
from discover.policy.scorer import Scorer
from discover.progress import progress

BEHAVIOURS = (*HEURISTICS, ORACLE)
PARTS = ("candidates", "state", "gains")


@dataclass(frozen=True, eq=False)
class Decisions:
    """Decisions and what each choice would have gained.

    Attributes:
        candidates: (n, k, f) float16: many are kept, and ranks need no more.
        state: (n, g) float16.
        gains: (n, k) float16, standardised; minus infinity where a candidate may not be picked.
    """

    candidates: NDArray[np.float16]
    state: NDArray[np.float16]
    gains: NDArray[np.float16]

    def __len__(self) -> int:
        return len(self.state)


def gather(env: VectorEnv, count: int, seed: int) -> Decisions:
    """Play behaviours and keep every few decisions.

    Args:
        env: ``discover/Labeling-v0``, vectorised.
        count: decisions to keep, at least.
        seed: of the environments and the behaviours.
    """
    rng = np.random.default_rng([seed, 1])
    observed, _ = env.reset(seed=seed)
    behaviours = rng.integers(len(BEHAVIOURS), size=env.num_envs)
    kept: list[tuple[NDArray[np.float16], ...]] = []
    while sum(len(one[1]) for one in kept) < count:
        candidates = observed["candidates"].reshape(env.num_envs, -1, len(NAMES))
        mask = observed["mask"] > 0
        gains = env.unwrapped.lookahead()
        if rng.random() < 0.25:
            kept.append(tuple(array.astype(np.float16) for array in (candidates, observed["state"], gains)))
        wanted = np.empty(mask.shape)
        for number, name in enumerate(BEHAVIOURS):
            rows = behaviours == number
            wanted[rows] = gains[rows] if name == ORACLE else utilities(name, candidates[rows], rng)
        observed, _, over, _, _ = env.step(np.where(mask, wanted, -np.inf).argmax(axis=1))
        behaviours = np.where(over, rng.integers(len(BEHAVIOURS), size=env.num_envs), behaviours)
    return Decisions(*(np.concatenate(part) for part in zip(*kept, strict=True)))


def fit(scorer: Scorer, decisions: Sequence[Decisions], config: ImitationConfig, seed: int) -> Iterator[float]:
    """Teach a scorer; the mean loss of each pass as it ends. The seed is that of the batches' order."""
    optimizer = torch.optim.Adam(scorer.parameters(), lr=config.learning_rate)
    total = sum(-(-len(one) // config.batch) for one in decisions) * config.epochs
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total)
    rng = np.random.default_rng([seed, 2])
    for _ in progress(range(config.epochs), config.epochs, "imitate"):
        losses = []
        for candidates, state, gains in _batches(decisions, config.batch, rng):
            target = torch.softmax(config.sharpness * gains, dim=-1)
            logits = scorer(candidates, state).masked_fill(gains == -torch.inf, -1e9)
            found = -(target * log_softmax(logits, dim=-1)).sum(dim=-1).mean()
            optimizer.zero_grad()
            found.backward()
            optimizer.step()
            schedule.step()
            losses.append(found.item())
        yield float(np.mean(losses))


def _batches(
    decisions: Sequence[Decisions], size: int, rng: np.random.Generator
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Batches of decisions with equally many candidates, in a drawn order."""
    parts = [
        (one, rows)
        for one in decisions
        for rows in np.array_split(rng.permutation(len(one)), max(1, -(-len(one) // size)))
    ]
    for number in rng.permutation(len(parts)):
        one, rows = parts[number]
        candidates, state, gains = (torch.from_numpy(getattr(one, part)[rows]).float() for part in PARTS)
        yield candidates, state, gains
