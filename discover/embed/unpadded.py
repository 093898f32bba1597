"""BERT without padding, on a CPU: the tokens of many documents stand one below the other in a matrix of fixed height.

Everything but attention treats a token by itself, so nothing is spent on padding there; attention runs over documents
of exactly one length at a time and needs no mask. A fixed height means that a document's result never depends on which
others share the matrix, bit for bit; of attention that is known for bfloat16 and the usual sizes only, so others are
left to `discover.embed.padded`. After Zhai et al., "ByteTransformer", 2022, https://arxiv.org/abs/2210.03052.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from discover.embed.cores import each_on_a_core
from discover.embed.packing import PackedLinear
from discover.embed.transformer import first_position
from discover.progress import progress

ARCHITECTURES = ("BertModel", "CamembertModel", "RobertaModel", "XLMRobertaModel")
ROWS = 1024  # of a matrix; measured in runs/LOG.md
LONGEST = 512  # documents beyond it would need much memory for their scores
SMALLEST_PRODUCT = 4096  # multiplications below which torch picks the kernel of a batched product by the batch


@dataclass(frozen=True)
class Stretch:
    """Documents of one length that stand together.

    Attributes:
        members: positions of the documents in the sequence that was planned.
        length: tokens of each.
        start: the first of their rows.
        stop: the row after their last.
    """

    members: list[int]
    length: int
    start: int
    stop: int


def plan(lengths: Sequence[int], rows: int) -> list[list[Stretch]]:
    """Fill matrices of ``rows`` rows, always with the longest documents that still fit.

    Args:
        lengths: tokens of each document, from 1 to ``rows``.
        rows: of a matrix.
    """
    waiting = defaultdict(list)
    for position, length in enumerate(lengths):
        waiting[length].append(position)
    sizes = sorted(waiting)
    matrices = []
    while sizes:
        matrix: list[Stretch] = []
        start = 0
        while fitting := bisect_right(sizes, rows - start):
            length = sizes[fitting - 1]
            count = (rows - start) // length
            members, waiting[length] = waiting[length][:count], waiting[length][count:]
            if not waiting[length]:
                sizes.remove(length)
            matrix.append(Stretch(members, length, start, start + len(members) * length))
            start = matrix[-1].stop
        matrices.append(matrix)
    return matrices


def can_run(model: Any) -> bool:
    """Whether `UnpaddedBert` computes what this transformer does: architecture, device, number format, sizes."""
    return (
        type(model).__name__ in ARCHITECTURES
        and next(model.parameters()).device.type == "cpu"
        and next(model.parameters()).dtype == torch.bfloat16
        and model.config.hidden_size // model.config.num_attention_heads % 16 == 0
        and model.config.hidden_act == "gelu"
        and not model.config.is_decoder
        and getattr(model.config, "position_embedding_type", "absolute") == "absolute"
    )


class UnpaddedBert:
    """The forward pass of a frozen transformer that `can_run`.

    Args:
        model: all of a transformer, or a part of it from `transformer.lower_part` or `transformer.upper_part`.
        limit: tokens of the longest document.

    Attributes:
        layout: how documents are put together, which may change the last bits of a result.
    """

    def __init__(self, model: Any, limit: int):
        self._rows = max(ROWS, limit)
        self._embeddings = model.embeddings
        self._first_position = first_position(model.config)
        self._dtype = next(model.parameters()).dtype
        self._layers = [_Layer(layer, model.config.num_attention_heads, self._rows) for layer in model.encoder.layer]
        self.layout = f"unpadded {self._rows}"

    def run(
        self, inputs: Sequence[torch.Tensor], title: str = ""
    ) -> Iterator[tuple[list[int], torch.Tensor, torch.Tensor]]:
        """See `discover.embed.frozen.Frozen`."""
        matrices = plan([len(one) for one in inputs], self._rows)
        found = each_on_a_core(lambda matrix: self._hidden(inputs, matrix), matrices)
        found = progress(found, len(matrices), title) if title else found
        for matrix, hidden in zip(matrices, found, strict=True):
            for stretch in matrix:
                shape = (len(stretch.members), stretch.length)
                states = hidden[stretch.start : stretch.stop].view(*shape, -1)
                yield stretch.members, states, torch.ones(shape, dtype=torch.int64)

    @torch.inference_mode()
    def _hidden(self, inputs: Sequence[torch.Tensor], matrix: list[Stretch]) -> torch.Tensor:
        """Hidden states, (rows, d); the rows after the last stretch mean nothing."""
        given = torch.cat([inputs[member] for stretch in matrix for member in stretch.members])
        filled = given.new_zeros(self._rows, *given.shape[1:])
        filled[: len(given)] = given
        if filled.dim() == 2:
            hidden = filled.to(self._dtype)
        else:
            places = torch.full((self._rows,), self._first_position)
            for stretch in matrix:
                places[stretch.start : stretch.stop] += torch.arange(stretch.length).repeat(len(stretch.members))
            hidden = self._embeddings(input_ids=filled.long()[None], position_ids=places[None])[0]
        for layer in self._layers:
            hidden = layer(hidden, matrix)
        return hidden


class _Layer:
    def __init__(self, layer: Any, heads: int, rows: int):
        attention = layer.attention.self
        parts = (attention.query, attention.key, attention.value)
        weight = torch.cat([part.weight.detach() for part in parts])
        bias = torch.cat([part.bias.detach() for part in parts])
        self._heads = heads
        self._projections = PackedLinear(weight, bias, rows)
        self._output = _packed(layer.attention.output.dense, rows)
        self._output_norm = layer.attention.output.LayerNorm
        self._up = _packed(layer.intermediate.dense, rows)
        self._down = _packed(layer.output.dense, rows)
        self._down_norm = layer.output.LayerNorm

    def __call__(self, hidden: torch.Tensor, matrix: list[Stretch]) -> torch.Tensor:
        projected = self._projections(hidden)
        mixed = torch.empty_like(hidden)
        for stretch in matrix:
            rows, shape = slice(stretch.start, stretch.stop), (len(stretch.members), stretch.length)
            mixed[rows].view(*shape, self._heads, -1).copy_(attend(projected[rows].view(*shape, -1), self._heads))
        mixed[matrix[-1].stop :] = 0
        hidden = self._output_norm(self._output.plus(mixed, hidden))
        return self._down_norm(self._down.plus(self._up.gelu(hidden), hidden))


def attend(projected: torch.Tensor, heads: int) -> torch.Tensor:
    """Scaled dot-product attention of n documents without padding, (n, t, heads, d / heads).

    Args:
        projected: (n, t, 3 d): query, key and value of each token.
        heads: among which d is split.
    """
    documents, length, width = projected.shape
    size = width // 3 // heads
    split = projected.view(documents, length, 3, heads, size).permute(2, 0, 3, 1, 4)
    if heads * length * length * size <= SMALLEST_PRODUCT or length > LONGEST:
        mixed = nn.functional.scaled_dot_product_attention(*split)
    else:  # faster than torch's fused attention by a sixteenth of the whole encoder: documents are short
        query, key, value = split.reshape(3, documents * heads, length, size)
        # torch's softmax is several times slower over rows that are no multiple of a vector register's 16 numbers.
        scores = query.new_full((documents * heads, length, -(-length // 16) * 16), -torch.inf)
        found = scores[:, :, :length]
        torch.baddbmm(query.new_empty(1, 1, 1), query, key.transpose(1, 2), beta=0, alpha=size**-0.5, out=found)
        shares = scores.softmax(-1, dtype=torch.float32).to(query.dtype)
        mixed = (shares[:, :, :length] @ value).view(documents, heads, length, size)
    return mixed.transpose(1, 2)


def _packed(linear: nn.Linear, rows: int) -> PackedLinear:
    return PackedLinear(linear.weight.detach(), linear.bias.detach(), rows)
