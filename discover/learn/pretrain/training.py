"""Masked-language-model training: AdamW over passes of the corpus, with checkpoints.

What is drawn depends on seed, pass and step alone, so a training that was killed goes on from its last checkpoint and
ends with the same weights, bit for bit. Loshchilov & Hutter, "Decoupled weight decay regularization", 2019; the second
moment's decay, 0.98, is that of Liu et al., "RoBERTa", 2019.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from discover import tracking
from discover.embed.device import autocast
from discover.errors import DiscoverError
from discover.learn.dropout import seeded
from discover.learn.gradient import halve, split
from discover.learn.halves import halves_for
from discover.learn.pretrain.config import PretrainConfig
from discover.learn.pretrain.corpus import Corpus
from discover.learn.pretrain.masking import Masked, Masking, mask
from discover.learn.pretrain.network import MaskedLanguageModel
from discover.learn.training import give_back, rate_share
from discover.progress import progress
from discover.run import RunFolder, crashpoint, publish

BETAS = (0.9, 0.98)
CHECKPOINT = "checkpoint.safetensors"


@dataclass
class Curve:
    """How a training went.

    Attributes:
        losses: the mean -log p of what was to be guessed, of each step.
        held_out: the same on the held-out pieces, after each pass.
    """

    losses: list[float] = field(default_factory=list)
    held_out: list[float] = field(default_factory=list)

    def points(self, steps: int) -> Iterator[tracking.Point]:
        """For TensorBoard, with so many steps a pass; in an order that a longer training only adds to."""
        for step, loss in enumerate(self.losses):
            yield tracking.Point("loss", step, loss)
            if (step + 1) % steps == 0:
                yield tracking.Point("held_out_loss", step, self.held_out[step // steps])


class Gradient:
    """Gives the gradient of a step, computed in two halves at a time where that is faster.

    Args:
        model: whose parameters get it.
        corpus: the pieces.
        masking: which words are to be guessed.
        seed: of what is masked and dropped.
        dtype: to compute in.
    """

    def __init__(self, model: MaskedLanguageModel, corpus: Corpus, masking: Masking, seed: int, dtype: torch.dtype):
        self._model, self._corpus, self._masking, self._seed, self._dtype = model, corpus, masking, seed, dtype
        self._device = model.bias.device
        self._trained = list(model.parameters())
        self._halves = halves_for(model.transformer, self._device)

    def set(self, members: NDArray[np.int64], step: int) -> float:
        """Set the gradient of the mean loss over some pieces, which is returned."""
        rng = np.random.default_rng([self._seed, 1, step])
        halving = self._halves is not None and len(members) > 1
        drawn = halve(members, self._corpus.lengths) if halving else [members]
        parts = [mask(self._corpus, one, self._masking, rng, self._device) for one in drawn]
        seeds = rng.integers(2**31, size=len(parts)).tolist()
        counts = [max(1, sum(len(one.rows) for one in parts))] * len(parts)
        if self._halves and halving:
            found = self._halves.map(self._part, parts, seeds, counts)
        else:
            found = list(map(self._part, parts, seeds, counts))
        for parameter, *each in zip(self._trained, *(gradients for _, gradients in found), strict=True):
            given = [one for one in each if one is not None]
            parameter.grad = sum(given[1:], start=given[0]) if given else None
        return sum(loss for loss, _ in found)

    def _part(self, part: Masked, seed: int, count: int) -> tuple[float, tuple[torch.Tensor | None, ...]]:
        with seeded(seed, self._device), autocast(self._device, self._dtype):
            loss = self._model.losses(part).sum() / count
        return loss.item(), torch.autograd.grad(loss, self._trained, allow_unused=True)


def train(
    model: MaskedLanguageModel,
    corpus: Corpus,
    masking: Masking,
    config: PretrainConfig,
    seed: int,
    folder: RunFolder,
    dtype: torch.dtype,
) -> Curve:
    """Train in place; after a kill the same call goes on.

    Args:
        model: as it begins, on its device.
        corpus: what is learned, and what is held out.
        masking: which words are to be guessed.
        config: how long, and how.
        seed: of all draws.
        folder: for the checkpoint and TensorBoard's event file.
        dtype: to compute in.

    Raises:
        DiscoverError: the weights grew without bound.
    """
    optimizer = torch.optim.AdamW(_groups(model, config), lr=config.rate, betas=BETAS, fused=True)
    gradient = Gradient(model, corpus, masking, seed, dtype)
    checkpoint = folder.pretraining / CHECKPOINT
    curve = _resume(checkpoint, model, optimizer)
    steps, begin, saved = corpus.steps(config.batch_tokens), len(curve.losses), time.monotonic()
    total = steps * config.passes
    plan: list[NDArray[np.int64]] = []
    model.train()
    for step in progress(range(begin, total), total - begin, "pretrain"):
        if not plan or step % steps == 0:
            plan = corpus.plan(config.batch_tokens, np.random.default_rng([seed, 0, step // steps]))
        curve.losses.append(gradient.set(plan[step % steps], step))
        _check(curve.losses[-1], folder.pretraining)
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        for group in optimizer.param_groups:
            group["lr"] = config.rate * rate_share(step, total, config.warm_up)
        optimizer.step()
        if (step + 1) % steps == 0:
            curve.held_out.append(held_out_loss(model, corpus, masking, config.batch_tokens, seed, dtype))
            _tell(curve, steps, config.passes)
        if step + 1 == total or time.monotonic() - saved >= config.checkpoint:
            _save(checkpoint, model, optimizer, curve)
            tracking.write(folder.tensorboard / "pretraining", curve.points(steps))
            saved = time.monotonic()
        crashpoint(f"pretrain_{step + 1}")
    model.eval()
    del optimizer, gradient
    give_back()
    return curve


@torch.no_grad()
def held_out_loss(
    model: MaskedLanguageModel, corpus: Corpus, masking: Masking, budget: int, seed: int, dtype: torch.dtype
) -> float:
    """Mean -log p of what was to be guessed in the held-out pieces, the same words each time; in evaluation mode."""
    device, rng, losses = model.bias.device, np.random.default_rng([seed, 2]), []
    model.eval()
    for members in split(corpus.held_out, corpus.lengths, budget):
        with autocast(device, dtype):
            losses.append(model.losses(mask(corpus, members, masking, rng, device)))
    model.train()
    return float(torch.cat(losses).mean())


def _groups(model: MaskedLanguageModel, config: PretrainConfig) -> list[dict[str, object]]:
    """Matrices decay, biases and norms do not."""
    matrices = [one for one in model.parameters() if one.dim() > 1]
    others = [one for one in model.parameters() if one.dim() < 2]
    return [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]


def _check(loss: float, folder: Path) -> None:
    if not np.isfinite(loss):
        raise DiscoverError(
            f"the loss must stay finite, but it became {loss}: remove {folder}, set pretrain.learning_rate lower, and "
            "give the command again"
        )


def _tell(curve: Curve, steps: int, passes: int) -> None:
    done = len(curve.held_out)
    loss, held_out = np.mean(curve.losses[-steps:]), curve.held_out[-1]
    print(f"pass {done} of {passes} · loss {loss:.3f} · on held-out text {held_out:.3f}", flush=True)


def _save(path: Path, model: MaskedLanguageModel, optimizer: torch.optim.Optimizer, curve: Curve) -> None:
    tensors = {f"model.{name}": one.cpu().contiguous() for name, one in model.state_dict().items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": one.cpu().contiguous() for name, one in state.items()}
    tensors |= {f"curve.{name}": torch.tensor(one, dtype=torch.float64) for name, one in vars(curve).items()}
    with publish(path) as scratch:
        scratch.write_bytes(save(tensors))


def _resume(path: Path, model: MaskedLanguageModel, optimizer: torch.optim.Optimizer) -> Curve:
    """Take over the last checkpoint, if there is one that can be read."""
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError):
        return Curve()
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, one in tensors.items():
        kind, _, rest = name.partition(".")
        if kind == "optimizer":
            number, _, key = rest.partition(".")
            state.setdefault(int(number), {})[key] = one
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    model.load_state_dict({k.removeprefix("model."): one for k, one in tensors.items() if k.startswith("model.")})
    return Curve(tensors["curve.losses"].tolist(), tensors["curve.held_out"].tolist())
