"""Incremental fine-tuning with replay: AdamW with warm-up and linear decay over new answers and a share of the old.

Each pass sees every new answer and another draw of old ones, so an increment costs what the new answers cost, however
many have been taught. Rehearsal against forgetting: Robins, "Catastrophic forgetting, rehearsal and pseudorehearsal",
1995. Left out: dropout (the copies are few and short, and results must repeat), gradient accumulation.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from discover.embed.device import autocast
from discover.embed.padded import Batch, bucket, stack
from discover.learn.config import LearnConfig
from discover.learn.network import Network
from discover.progress import progress

WARM_UP = 0.1
LAYER_DECAY = 0.9
CLIP = 1.0


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
    device, fill = next(network.parameters()).device, network.transformer.config.pad_token_id or 0
    optimizer = torch.optim.AdamW(_groups(network, config))
    warm = max(1, round(WARM_UP * len(steps)))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm, (len(steps) - step) / max(1, len(steps) - warm))
    )
    weights = torch.from_numpy(class_weights(examples.classes, network.head.out_features)).float().to(device)
    targets = torch.from_numpy(examples.classes).to(device)
    network.requires_grad_(True).eval()
    for members in progress(steps, len(steps), "train"):
        length = bucket(max(len(examples.inputs[member]) for member in members))
        inputs, mask = stack(examples.inputs, Batch(members, len(members), length), torch.float32, fill)
        with autocast(device, dtype):
            logits = network(inputs.to(device), mask.to(device))
        loss = torch.nn.functional.cross_entropy(logits, targets[members], weights)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), CLIP)
        optimizer.step()
        schedule.step()


def class_weights(classes: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """Weights of the loss, (c,): the square root of inverse frequency, with mean 1 over the answers.

    The root is a compromise: full balancing trades much accuracy on the large classes for little on the rare ones.
    """
    frequency = np.bincount(classes, minlength=count).astype(np.float64)
    weights = 1 / np.sqrt(np.maximum(frequency, 1))
    return weights / (weights @ frequency / len(classes))


def _plan(examples: Examples, config: LearnConfig, rng: np.random.Generator) -> Iterator[list[int]]:
    fresh, old = np.flatnonzero(examples.fresh), np.flatnonzero(~examples.fresh)
    lengths = np.array([len(one) for one in examples.inputs])
    if not len(fresh):
        return
    for _ in range(config.epochs):
        again = rng.choice(old, min(len(old), round(config.replay * len(fresh))), replace=False)
        seen = rng.permutation(np.concatenate([fresh, again]))
        # Similar lengths share a batch, so that little is padded; which ones do changes with each pass.
        noisy = lengths[seen] * np.exp(rng.normal(0, 0.15, len(seen)))
        seen = seen[np.argsort(noisy, kind="stable")]
        groups = np.array_split(seen, max(1, round(len(seen) / config.batch)))
        for at in rng.permutation(len(groups)):
            yield [int(member) for member in groups[at]]


def _groups(network: Network, config: LearnConfig) -> list[dict]:
    """Parameter groups: matrices decay, biases and norms do not; deeper layers learn more slowly."""
    layers = [name for name, child in network.transformer.named_modules() if isinstance(child, torch.nn.ModuleList)]
    prefix = f"{layers[0]}." if layers else ""
    depths = {
        name: int(name.removeprefix(prefix).split(".")[0])
        for name, _ in network.transformer.named_parameters()
        if prefix and name.startswith(prefix)
    }
    top = max(depths.values(), default=0)
    groups = []
    for name, parameter in network.transformer.named_parameters():
        below = top - depths[name] if name in depths else top + 1 if "embed" in name else 0
        decay = config.weight_decay if parameter.dim() > 1 else 0.0
        rate = config.learning_rate * LAYER_DECAY**below
        groups.append({"params": [parameter], "lr": rate, "weight_decay": decay})
    groups.append({"params": list(network.head.parameters()), "lr": config.head_learning_rate, "weight_decay": 0.0})
    return groups
