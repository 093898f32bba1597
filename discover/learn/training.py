"""Incremental fine-tuning with replay: AdamW with warm-up and linear decay over new answers and a share of the old.

Each pass sees every new answer and another draw of old ones, so the passes cost what the new answers cost, however many
have been taught. Rehearsal against forgetting: Robins, "Catastrophic forgetting, rehearsal and pseudorehearsal", 1995.
Similar lengths share a batch.
"""

import ctypes
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from discover.learn.config import LearnConfig
from discover.learn.gradient import Examples, Gradient
from discover.learn.network import Network
from discover.progress import progress


def train(
    network: Network,
    examples: Examples,
    config: LearnConfig,
    rng: np.random.Generator,
    dtype: torch.dtype = torch.float32,
) -> list[tuple[float, float]]:
    """Fine-tune in place; the same network, examples and generator state give the same weights bit for bit.

    Returns:
        The loss and the encoder's learning rate at each step.
    """
    steps = list(_plan(examples, config, rng))
    if not steps:
        return []
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(_groups(network, config), fused=True)
    gradient = Gradient(network, examples, config, dtype)

    def share(step: int) -> float:
        return rate_share(step, len(steps), config.warm_up)

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
    losses = []
    network.train()
    with _seeded(int(rng.integers(2**31)), network.device):
        for members in progress(steps, len(steps), "train"):
            optimizer.zero_grad(set_to_none=True)
            gradient.add(members)
            losses.append(gradient.loss)
            torch.nn.utils.clip_grad_norm_(trained, config.clip)
            optimizer.step()
            schedule.step()
    network.eval()
    del optimizer, gradient
    give_back()
    return [(float(loss), config.rate * share(step)) for step, loss in enumerate(losses)]


def rate_share(step: int, steps: int, warm_up: float) -> float:
    """Share of the learning rate at a step of so many: it rises for a share of them, then falls towards 0."""
    warm = max(1, round(warm_up * steps))
    return min((step + 1) / warm, (steps - step) / max(1, steps - warm))


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
        if config.balance == "sampling":
            seen = rng.choice(seen, len(seen), p=examples.weights[seen] / examples.weights[seen].sum())
        # Similar lengths share a batch, so that attention is padded little; which ones do changes with each pass.
        noisy = examples.lengths[seen] * np.exp(rng.normal(0, 0.15, len(seen)))
        seen = seen[np.argsort(noisy, kind="stable")]
        groups = np.array_split(seen, max(1, round(len(seen) / config.batch)))
        taken += len(groups)
        for at in rng.permutation(len(groups)):
            yield groups[at]


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
    groups.append({"params": list(network.head.parameters()), "lr": config.head_rate, "weight_decay": 0.0})
    return groups


def give_back() -> None:
    """Give back what the allocator kept of batches of many lengths: up to gigabytes (runs/LOG.md)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # only glibc has it
    if trim:
        trim(0)


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Dropout draws from torch's global generator: it is seeded for a training, then put back."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
