"""Incremental fine-tuning with replay: AdamW with warm-up and linear decay over new answers and a share of the old.

Each pass sees every new answer and another draw of old ones, so an increment costs what the new answers cost, however
many have been taught. Rehearsal against forgetting: Robins, "Catastrophic forgetting, rehearsal and pseudorehearsal",
1995. Similar lengths share a batch; one of many tokens is computed in parts whose gradients add up.
"""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from discover.embed.device import autocast
from discover.learn import forward, head
from discover.learn.config import LearnConfig
from discover.learn.network import Network
from discover.progress import progress

TAU = 0.3  # temperature of the contrast


@dataclass(frozen=True)
class Examples:
    """What a training sees, in an order that depends on the documents alone.

    Attributes:
        inputs: token ids (t,) or hidden states (t, d) of each of the m documents.
        classes: (m,) class indices.
        fresh: (m,) whether the answer is new or was corrected; the rest is replayed.
    """

    inputs: Sequence[torch.Tensor]
    classes: NDArray[np.int64]
    fresh: NDArray[np.bool_]

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """(m,) tokens of each document."""
        return np.array([len(one) for one in self.inputs], np.int64)


def train(
    network: Network,
    examples: Examples,
    config: LearnConfig,
    rng: np.random.Generator,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Fine-tune in place; the same network, examples and generator state give the same weights bit for bit."""
    steps = list(_plan(examples, config, rng))
    if not steps:
        return
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(_groups(network, config), fused=True)
    warm = max(1, round(config.warm_up * len(steps)))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm, (len(steps) - step) / max(1, len(steps) - warm))
    )
    network.train()
    with _seeded(int(rng.integers(2**31)), network.device):
        for members in progress(steps, len(steps), "train"):
            optimizer.zero_grad(set_to_none=True)
            for part in _parts(members, examples.lengths, config.batch_tokens):
                (_loss(network, examples, part, config, dtype) * len(part) / len(members)).backward()
            torch.nn.utils.clip_grad_norm_(trained, config.clip)
            optimizer.step()
            schedule.step()
    network.eval()


def contrast(vectors: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Supervised contrastive loss: documents of one class attract each other, more than others do.

    The mean over documents i, and over those others j that share the class of i, of
    -log(exp(v_i v_j / TAU) / sum over k != i of exp(v_i v_k / TAU)); 0 for an i that is alone in its class. Khosla et
    al., "Supervised contrastive learning", 2020, https://arxiv.org/abs/2004.11362; beside cross-entropy for few labels:
    Gunel et al. 2021, https://arxiv.org/abs/2011.01403.

    Args:
        vectors: (b, d) unit vectors.
        targets: (b,) classes.
    """
    itself = torch.eye(len(targets), dtype=torch.bool, device=targets.device)
    alike = (targets[:, None] == targets) & ~itself
    similar = (vectors @ vectors.T / TAU).masked_fill(itself, -torch.inf)
    likely = torch.where(alike, similar - similar.logsumexp(1, keepdim=True), 0.0).sum(1)
    return -(likely / alike.sum(1).clamp(min=1)).mean()


def _loss(
    network: Network, examples: Examples, members: NDArray[np.int64], config: LearnConfig, dtype: torch.dtype
) -> torch.Tensor:
    """Mean cross-entropy over some examples, each weighted by its class; and the contrast between classes."""
    weights = head.class_weights(examples.classes, network.head.out_features)[examples.classes[members]]
    with autocast(network.device, dtype):
        vectors = network.embed(forward.gather([examples.inputs[member] for member in members], network.device))
    targets = torch.from_numpy(examples.classes[members]).to(network.device)
    losses = torch.nn.functional.cross_entropy(network.classify(vectors), targets, reduction="none")
    loss = (losses * torch.from_numpy(weights).float().to(network.device)).mean()
    return loss + config.contrast * contrast(vectors, targets) if config.contrast else loss


def _plan(examples: Examples, config: LearnConfig, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    fresh, old = np.flatnonzero(examples.fresh), np.flatnonzero(~examples.fresh)
    if not len(fresh):
        return
    taken = 0
    for number in itertools.count():
        if number >= config.epochs and taken >= config.steps:
            return
        again = rng.choice(old, min(len(old), round(config.replay * len(fresh))), replace=False)
        seen = rng.permutation(np.concatenate([fresh, again]))
        # Similar lengths share a batch, so that attention is padded little; which ones do changes with each pass.
        noisy = examples.lengths[seen] * np.exp(rng.normal(0, 0.15, len(seen)))
        seen = seen[np.argsort(noisy, kind="stable")]
        groups = np.array_split(seen, max(1, round(len(seen) / config.batch)))
        taken += len(groups)
        for at in rng.permutation(len(groups)):
            yield groups[at]


def _parts(members: NDArray[np.int64], lengths: NDArray[np.int64], budget: int) -> Iterator[NDArray[np.int64]]:
    """Split a step's documents into consecutive parts of at most so many tokens, or of one document."""
    part = np.cumsum(lengths[members]) // budget
    for number in np.unique(part):
        yield members[part == number]


def _groups(network: Network, config: LearnConfig) -> list[dict[str, Any]]:
    """Parameter groups: matrices decay, biases and norms do not; deeper layers learn more slowly."""
    layers = [name for name, child in network.transformer.named_modules() if isinstance(child, torch.nn.ModuleList)]
    prefix = f"{layers[0]}." if layers else ""
    named = [(name, one) for name, one in network.transformer.named_parameters() if one.requires_grad]
    depths = {
        name: int(name.removeprefix(prefix).split(".")[0]) for name, _ in named if prefix and name.startswith(prefix)
    }
    top = max(depths.values(), default=0)
    groups: list[dict[str, Any]] = []
    for name, parameter in named:
        below = top - depths[name] if name in depths else top + 1 if "embed" in name else 0
        decay = config.weight_decay if parameter.dim() > 1 else 0.0
        rate = config.rate * config.layer_decay**below
        groups.append({"params": [parameter], "lr": rate, "weight_decay": decay})
    groups.append({"params": list(network.head.parameters()), "lr": config.head_learning_rate, "weight_decay": 0.0})
    return groups


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Dropout draws from torch's global generator: it is seeded for a training, then put back."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
