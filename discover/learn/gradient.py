"""The gradient of one step: cross-entropy and supervised contrast, in parts where memory or cores want it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from discover.embed.device import autocast
from discover.learn import forward, head
from discover.learn.config import LearnConfig
from discover.learn.dropout import seeded
from discover.learn.halves import halves_for
from discover.learn.network import Network

TAU = 0.3  # temperature of the contrast
UNTOLD = -100  # in the place of a tag: a token that says nothing of its own
COMPANY = 1.0  # documents of its class that one must meet in a batch for the contrast to help (runs/LOG.md)
WORTH_HALVING = 600  # tokens of a batch from which two threads are faster on halves of it than together (runs/LOG.md)


@dataclass(frozen=True)
class Examples:
    """What a training sees, in an order that depends on the documents alone.

    Attributes:
        inputs: token ids (t,) or hidden states (t, d) of each of the m documents.
        classes: (m,) class indices; or (m, c) 0 and 1, of several labels; or (m,) tags of each one's tokens, (t,).
        fresh: (m,) whether the answer is new or was corrected; the rest is replayed.
    """

    inputs: Sequence[torch.Tensor]
    classes: NDArray[Any]
    fresh: NDArray[np.bool_]

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """(m,) tokens of each document."""
        return np.array([len(one) for one in self.inputs], np.int64)

    @property
    def tagged(self) -> bool:
        """Whether each token has a tag."""
        return self.classes.dtype == object

    @property
    def single(self) -> bool:
        """Whether each document has one class."""
        return self.classes.ndim == 1 and not self.tagged

    @cached_property
    def weights(self) -> NDArray[np.float64]:
        """(m,) what each document counts for by its class, mean 1; all alike where it has several labels, or tags."""
        if not self.single:
            return np.ones(len(self.classes))
        return head.class_weights(self.classes, self.classes.max() + 1)[self.classes]

    def company(self, batch: int) -> float:
        """How many others of its class a document meets in a batch, on average; 0 where it has several, or tags."""
        if not self.single:
            return 0.0
        counts, m = np.bincount(self.classes), len(self.classes)
        return (batch - 1) * float((counts * (counts - 1)).sum()) / max(1, m * (m - 1))


class Gradient:
    """Adds gradients of steps to a network's parameters.

    A batch over the token budget is computed in parts: the vectors first, then each part once more when its share of
    the gradient is known. So memory is bounded, and a document still meets the whole batch in the contrast. Gao et
    al., "Scaling deep contrastive learning batch size under memory limited setup", 2021,
    https://arxiv.org/abs/2101.06983. On a CPU with several cores a batch is halved likewise, and both halves are
    computed at a time.

    Args:
        network: whose parameters get it.
        examples: what is learned.
        config: how rare classes are balanced, the weight of the contrast, and the token budget.
        dtype: to compute in.

    Attributes:
        loss: of the last examples, a tensor of no dimension.
    """

    loss: torch.Tensor

    def __init__(self, network: Network, examples: Examples, config: LearnConfig, dtype: torch.dtype):
        self._network, self._examples, self._config, self._dtype = network, examples, config, dtype
        self._trained = [one for one in network.transformer.parameters() if one.requires_grad]
        self._weights = examples.weights if config.balance == "loss" else np.ones(len(examples.classes))
        self._contrast = config.contrast if examples.company(config.batch) >= COMPANY else 0.0
        self._halves = halves_for(network.transformer, network.device)

    def add(self, members: NDArray[np.int64]) -> None:
        """Add the gradient of the mean loss over some examples."""
        parts = split(members, self._examples.lengths, self._config.batch_tokens)
        tokens = int(self._examples.lengths[members].sum())
        if len(parts) > 1:
            self._add_parts(members, parts)
        elif self._halves and tokens >= WORTH_HALVING and len(members) > 1:
            self._add_halves(members, halve(members, self._examples.lengths))
        else:
            self._loss(self._embed(members, _seed()), members).backward()

    def _add_parts(self, members: NDArray[np.int64], parts: Sequence[NDArray[np.int64]]) -> None:
        seeds = [_seed() for _ in parts]  # of the same dropout both times
        with torch.no_grad():
            found = [self._embed(part, seed) for part, seed in zip(parts, seeds, strict=True)]
        for part, seed, wanted in zip(parts, seeds, self._wanted(found, members), strict=True):
            self._embed(part, seed).backward(wanted)

    def _add_halves(self, members: NDArray[np.int64], halves: Sequence[NDArray[np.int64]]) -> None:
        assert self._halves is not None
        found = self._halves.map(self._embed, halves, [_seed() for _ in halves])
        wanted = self._wanted([one.detach() for one in found], members)
        first, second = self._halves.map(self._grown, found, wanted)
        for parameter, one, other in zip(self._trained, first, second, strict=True):
            if one is not None and other is not None:
                parameter.grad = one.add_(other)

    def _grown(self, vectors: torch.Tensor, wanted: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return torch.autograd.grad(vectors, self._trained, wanted, allow_unused=True)

    def _embed(self, part: NDArray[np.int64], seed: int) -> torch.Tensor:
        inputs = [self._examples.inputs[member] for member in part]
        with seeded(seed, self._network.device), autocast(self._network.device, self._dtype):
            return self._network.embed(forward.gather(inputs, self._network.device))

    def _wanted(self, found: Sequence[torch.Tensor], members: NDArray[np.int64]) -> Sequence[torch.Tensor]:
        """The loss's gradient at the vectors of each part; that of the head goes where it belongs."""
        vectors = torch.cat(list(found)).requires_grad_()
        self._loss(vectors, members).backward()
        assert vectors.grad is not None
        return vectors.grad.split([len(one) for one in found])

    def _loss(self, vectors: torch.Tensor, members: NDArray[np.int64]) -> torch.Tensor:
        """Mean cross-entropy, each document with its weight; and the contrast between classes.

        Of several labels it is the sum of their binary cross-entropies, without a contrast: documents share a label
        and differ in another. Of tags it is the mean over all words that have one.
        """
        logits = self._network.classify(vectors)
        if self._examples.tagged:
            tags = torch.from_numpy(np.concatenate(self._examples.classes[members])).to(vectors.device)
            told = max(1, int((tags != UNTOLD).sum()))
            loss = torch.nn.functional.cross_entropy(logits, tags, ignore_index=UNTOLD, reduction="sum") / told
            self.loss = loss.detach()
            return loss
        targets = torch.from_numpy(self._examples.classes[members]).to(vectors.device)
        weights = torch.from_numpy(self._weights[members]).float().to(vectors.device)
        if targets.ndim == 2:
            each = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets.float(), reduction="none")
            loss = (each.sum(1) * weights).mean()
        else:
            losses = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
            loss = (losses * weights).mean()
            if self._contrast:
                loss = loss + self._contrast * contrast(vectors, targets)
        self.loss = loss.detach()
        return loss


def split(members: NDArray[np.int64], lengths: NDArray[np.int64], budget: int) -> list[NDArray[np.int64]]:
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


def halve(members: NDArray[np.int64], lengths: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Split two documents or more into consecutive halves of about as many tokens."""
    tokens = lengths[members].cumsum()
    half = int(np.searchsorted(tokens, tokens[-1] / 2))
    return np.split(members, [min(max(1, half), len(members) - 1)])


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


def _seed() -> int:
    return int(torch.randint(2**31, ()))
