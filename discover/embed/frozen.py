"""A frozen transformer, or a part of one, over documents of any number and length."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch

from discover.embed.padded import PaddedTransformer
from discover.embed.unpadded import UnpaddedBert, can_run


class Frozen(Protocol):
    """Gives hidden states, the same bit for bit whatever else is computed with a document.

    A killed run that goes on meets the documents in other company than one that was not, and must end with the same.

    Attributes:
        layout: how documents are put together, which may change the last bits of a result.
    """

    layout: str

    def run(
        self, inputs: Sequence[torch.Tensor], title: str = ""
    ) -> Iterator[tuple[list[int], torch.Tensor, torch.Tensor]]:
        """Yield positions of n documents, their hidden states (n, t, d), and the mask (n, t); each document once.

        Args:
            inputs: token ids (t,) of each document, or hidden states (t, d) for an upper part.
            title: of a progress bar; none without.
        """


def freeze(model: Any, limit: int) -> Frozen:
    """The fastest forward pass for a transformer or a part of it, which belongs to the result from now on.

    Args:
        model: on its device and in its number format.
        limit: tokens of the longest document.
    """
    return UnpaddedBert(model, limit) if can_run(model) else PaddedTransformer(model, limit)


def pool(hidden: torch.Tensor, mask: torch.Tensor, how: str) -> torch.Tensor:
    """One float32 vector a row, (b, d), from hidden states (b, t, d) and mask (b, t): tokens' mean, or the first."""
    if how == "cls":
        return hidden[:, 0].float()
    weight = mask.unsqueeze(-1).float()
    return (hidden.float() * weight).sum(1) / weight.sum(1)
