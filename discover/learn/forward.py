"""The forward pass of training: the tokens of a batch one below the other, so that nothing is spent on padding.

Of BERT's kind everything but attention treats a token by itself; only queries, keys and values are padded. Attention is
written out on a CPU, where the backward pass of torch's fused one takes a third of a whole step (runs/LOG.md). Any
other architecture computes padded, by its own code.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from discover.embed.transformer import first_position
from discover.embed.unpadded import ARCHITECTURES
from discover.learn.dropout import Dropout

TOKENS = "tokens"  # no pooling


class Tokens(NamedTuple):
    """The tokens of b documents, one below the other.

    Attributes:
        values: (t,) token ids, or (t, d) hidden states.
        lengths: (b,) tokens of each document.
    """

    values: torch.Tensor
    lengths: torch.Tensor

    @property
    def documents(self) -> torch.Tensor:
        """(t,) which document each token is of."""
        return torch.arange(len(self.lengths), device=self.lengths.device).repeat_interleave(self.lengths)

    @property
    def positions(self) -> torch.Tensor:
        """(t,) the place of each token in its document."""
        starts = self.lengths.cumsum(0) - self.lengths
        return torch.arange(len(self.values), device=self.lengths.device) - starts.repeat_interleave(self.lengths)


def gather(inputs: Sequence[torch.Tensor], device: torch.device) -> Tokens:
    """Put documents together.

    Args:
        inputs: token ids (t,) or hidden states (t, d) of each.
        device: where to.
    """
    values = torch.cat(list(inputs))
    values = values.float() if values.dim() == 2 else values.long()
    return Tokens(values.to(device), torch.tensor([len(one) for one in inputs], device=device))


def is_unpadded(transformer: Any) -> bool:
    """Whether a transformer is of the kind that goes without padding."""
    return type(transformer).__name__ in ARCHITECTURES and not transformer.config.is_decoder


def run(transformer: Any, tokens: Tokens) -> torch.Tensor:
    """Hidden states after the last block, (t, d).

    Args:
        transformer: what `Encoder.trainable` gives.
        tokens: ids for a whole transformer, hidden states for an upper part.
    """
    length = int(tokens.lengths.max())
    rows = tokens.documents * length + tokens.positions
    mask = torch.arange(length, device=rows.device) < tokens.lengths[:, None]
    if not is_unpadded(transformer):
        return _padded(transformer, tokens, rows, mask)
    hidden = tokens.values
    if hidden.dim() == 1:
        places = tokens.positions + first_position(transformer.config)
        hidden = transformer.embeddings(input_ids=hidden[None], position_ids=places[None])[0]
    for block in transformer.encoder.layer:
        hidden = _block(block, hidden, rows, mask)
    return hidden


def pool(hidden: torch.Tensor, tokens: Tokens, how: str) -> torch.Tensor:
    """Unit vectors, (b, d) float32: the mean of a document's tokens, or its first; or, of each token, (t, d)."""
    hidden = hidden.float()
    if how == TOKENS:
        found = hidden
    elif how == "cls":
        found = hidden[tokens.lengths.cumsum(0) - tokens.lengths]
    else:
        sums = hidden.new_zeros(len(tokens.lengths), hidden.shape[1]).index_add(0, tokens.documents, hidden)
        found = sums / tokens.lengths[:, None]
    return nn.functional.normalize(found, dim=-1)


def _padded(transformer: Any, tokens: Tokens, rows: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    given = tokens.values
    fill = transformer.config.pad_token_id or 0 if given.dim() == 1 else 0
    padded = given.new_full((mask.numel(), *given.shape[1:]), fill).index_copy(0, rows, given)
    name = "input_ids" if given.dim() == 1 else "inputs_embeds"
    inputs = {name: padded.view(*mask.shape, *given.shape[1:]), "attention_mask": mask.long()}
    return transformer(**inputs).last_hidden_state.flatten(0, 1)[rows]


def _block(block: Any, hidden: torch.Tensor, rows: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    attention, output = block.attention.self, block.attention.output
    projected = [part(hidden) for part in (attention.query, attention.key, attention.value)]
    mixed = _attend(projected, rows, mask, attention.num_attention_heads, attention.dropout)
    hidden = output.LayerNorm(output.dropout(output.dense(mixed)) + hidden)
    widened = block.intermediate.intermediate_act_fn(block.intermediate.dense(hidden))
    return block.output.LayerNorm(block.output.dropout(block.output.dense(widened)) + hidden)


def _attend(
    projected: Sequence[torch.Tensor], rows: torch.Tensor, mask: torch.Tensor, heads: int, dropout: Dropout
) -> torch.Tensor:
    """Scaled dot-product attention, (t, d), of queries, keys and values (t, d) each."""
    documents, length = mask.shape
    padded = [one.new_zeros(mask.numel(), one.shape[1]).index_copy(0, rows, one) for one in projected]
    query, key, value = (one.view(documents, length, heads, -1).transpose(1, 2) for one in padded)
    if mask.device.type == "cpu":
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
        shares = dropout(scores.masked_fill(~mask[:, None, None], -torch.inf).softmax(-1))
        mixed = shares.to(value.dtype) @ value
    else:
        share = float(dropout.p) if dropout.training else 0.0
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, mask[:, None, None], share)
    return mixed.transpose(1, 2).reshape(mask.numel(), -1)[rows]
