"""Any transformer in padded batches of fixed shapes: a document's result never depends on which others share its batch.

Matrix kernels choose their blocking by the shape of the whole batch, and with it the order of the sums. Here the shape
follows from the document alone: the padded length is a bucket of its own number of tokens, and the rows of a batch
follow from that length; dummy rows fill what is left. Every batch has something masked: attention code that looks
whether it can skip the mask then takes the same branch in all of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from discover.embed.packing import pack
from discover.progress import progress

CPU_TOKENS = 512  # of a batch, padding included; measured in runs/LOG.md
GPU_TOKENS = 65536


@dataclass(frozen=True)
class Batch:
    """Documents that are computed together.

    Attributes:
        members: positions of the documents in the sequence that was batched; they take the first rows.
        rows: of the batch, dummies included.
        length: tokens a row, padding included.
    """

    members: list[int]
    rows: int
    length: int


def bucket(length: int) -> int:
    """The padded length of a document with ``length`` tokens: steps of 8, of 16 from 128, of 32 from 256."""
    step = 8 if length <= 128 else 16 if length <= 256 else 32
    return max(1, -(-length // step)) * step


def batches(lengths: Sequence[int], token_budget: int, limit: int) -> list[Batch]:
    """Group documents by padded length, the longest first.

    Args:
        lengths: tokens of each document.
        token_budget: tokens a batch may hold, padding included; a batch always has room for one document.
        limit: the longest row that the model can take.
    """
    groups: dict[int, list[int]] = {}
    for position, length in enumerate(lengths):
        padded = min(bucket(length), limit)
        groups.setdefault(padded, []).append(position)
    found = []
    for padded in sorted(groups, reverse=True):
        rows, waiting = max(2, token_budget // padded), groups[padded]
        while waiting:
            members, waiting = waiting[:rows], waiting[rows:]
            if len(members) == rows and all(lengths[member] == padded for member in members):
                waiting.insert(0, members.pop())  # a dummy takes its row
            found.append(Batch(members, rows, padded))
    return found


def stack(
    inputs: Sequence[torch.Tensor], batch: Batch, dtype: torch.dtype, fill: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs of one batch, (rows, length) or (rows, length, d), and their mask.

    Args:
        inputs: token ids (t,) or hidden states (t, d) of the whole batched sequence.
        batch: whose members are stacked.
        dtype: of stacked hidden states.
        fill: the token id that fills a row.
    """
    whole = inputs[batch.members[0]].dim() == 1
    shape = (batch.rows, batch.length, *inputs[batch.members[0]].shape[1:])
    stacked = torch.full(shape, fill, dtype=torch.int64) if whole else torch.zeros(shape, dtype=dtype)
    mask = torch.zeros(batch.rows, batch.length, dtype=torch.int64)
    mask[:, 0] = 1  # a row with nothing to attend to would be NaN
    for row, member in enumerate(batch.members):
        stacked[row, : len(inputs[member])] = inputs[member]
        mask[row, : len(inputs[member])] = 1
    return stacked, mask


class PaddedTransformer:
    """The forward pass of a frozen transformer of any architecture, on any device.

    Args:
        model: a transformer or a part of it; it belongs to this object from now on.
        limit: tokens of the longest document.

    Attributes:
        layout: how documents are put together, which may change the last bits of a result.
    """

    def __init__(self, model: Any, limit: int):
        parameter = next(model.parameters())
        self._device, self._dtype = parameter.device, parameter.dtype
        self._tokens = CPU_TOKENS if self._device.type == "cpu" else GPU_TOKENS
        self._limit = limit
        self._fill = model.config.pad_token_id or 0
        self._model = pack(model, self._tokens)
        self.layout = f"padded {self._tokens}"

    @torch.inference_mode()
    def run(
        self, inputs: Sequence[torch.Tensor], title: str = ""
    ) -> Iterator[tuple[list[int], torch.Tensor, torch.Tensor]]:
        """See `discover.embed.frozen.Frozen`."""
        todo = batches([len(one) for one in inputs], self._tokens, self._limit)
        for batch in progress(todo, len(todo), title) if title else todo:
            padded, mask = (one.to(self._device) for one in stack(inputs, batch, self._dtype, self._fill))
            name = "input_ids" if padded.dim() == 2 else "inputs_embeds"
            hidden = self._model(**{name: padded}, attention_mask=mask).last_hidden_state
            count = len(batch.members)
            yield batch.members, hidden[:count], mask[:count]
