"""Incremental fine-tuning with replay: AdamW with warm-up and linear decay over new answers and a share of the old.

Each pass sees every new answer and another draw of old ones, so the passes cost what the new answers cost, however many
have been taught. Rehearsal against forgetting: Robins, "Catastrophic forgetting, rehearsal and pseudorehearsal", 1995.
Similar lengths share a batch; one of many tokens is computed in parts, and its gradient is the same.
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
    weights = torch.from_numpy(head.class_weights(examples.classes, network.head.out_features)).float()
    warm = max(1, round(config.warm_up * len(steps)))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm, (len(steps) - step) / max(1, len(steps) - warm))
    )
    network.train()
    with _seeded(int(rng.integers(2**31)), network.device):
        for members in progress(steps, len(steps), "train"):
            optimizer.zero_grad(set_to_none=True)
            _backward(network, examples, members, weights.to(network.device), config, dtype)
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


def _backward(
    network: Network,
    examples: Examples,
    members: NDArray[np.int64],
    weights: torch.Tensor,
    config: LearnConfig,
    dtype: torch.dtype,
) -> None:
    """Add the gradient of one step's loss to the parameters.

    Of a batch in parts the vectors are computed first, and each part once more when its share of the gradient is known:
    so memory is bounded, and a document still meets the whole batch in the contrast. Gao et al., "Scaling deep
    contrastive learning batch size under memory limited setup", 2021, https://arxiv.org/abs/2101.06983.
    """

    def embed(part: NDArray[np.int64]) -> torch.Tensor:
        with autocast(network.device, dtype):
            return network.embed(forward.gather([examples.inputs[member] for member in part], network.device))

    def loss(vectors: torch.Tensor) -> torch.Tensor:
        targets = torch.from_numpy(examples.classes[members]).to(network.device)
        losses = torch.nn.functional.cross_entropy(network.classify(vectors), targets, reduction="none")
        mean = (losses * weights[targets]).mean()
        return mean + config.contrast * contrast(vectors, targets) if config.contrast else mean

    parts = _parts(members, examples.lengths, config.batch_tokens)
    if len(parts) == 1:
        loss(embed(members)).backward()
        return
    seeds = torch.randint(2**31, (len(parts),)).tolist()  # of the same dropout both times
    with torch.no_grad():
        found = []
        for part, seed in zip(parts, seeds, strict=True):
            with _seeded(seed, network.device):
                found.append(embed(part))
        vectors = torch.cat(found)
    loss(vectors.requires_grad_()).backward()
    assert vectors.grad is not None
    for part, seed, gradient in zip(parts, seeds, vectors.grad.split([len(part) for part in parts]), strict=True):
        with _seeded(seed, network.device):
            embed(part).backward(gradient)


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


def _parts(members: NDArray[np.int64], lengths: NDArray[np.int64], budget: int) -> list[NDArray[np.int64]]:
    """Split a step's documents into consecutive parts of at most so many tokens, or of one document."""
    parts: list[list[int]] = [[]]
    room = budget
    for member in members.tolist():
        if parts[-1] and lengths[member] > room:
            parts.append([])
            room = budget
        parts[-1].append(member)
        room -= int(lengths[member])
    return [np.array(part, np.int64) for part in parts]


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
