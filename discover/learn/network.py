"""The network that is fine-tuned: the upper blocks of the encoder, pooling, and a linear head over unit vectors.

The head starts from the classes' descriptions: its logits are then scaled cosines between document and description, so
the first answers refine a guess instead of starting from noise.
"""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from discover.embed.batching import Batch, batches
from discover.embed.encoder import pool

SCALE = 20.0  # logits of the head are SCALE times a cosine, about what contrastive encoders are trained with


class Network(nn.Module):
    """Hidden states, or token ids, to logits.

    Args:
        transformer: what `Encoder.trainable` gives.
        weights: (c, d) unit vectors that the head starts from.
        pooling: ``mean`` or ``cls``.
        whole: the transformer takes token ids.
    """

    def __init__(self, transformer: Any, weights: torch.Tensor, pooling: str, whole: bool):
        super().__init__()
        self.transformer = transformer
        self.head = nn.Linear(weights.shape[1], weights.shape[0])
        with torch.no_grad():
            self.head.weight.copy_(weights)
            self.head.bias.zero_()
        self.pooling = pooling
        self.whole = whole

    def embed(self, inputs: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Unit vectors, (b, d) float32, of token ids (b, t) or hidden states (b, t, d)."""
        name = "input_ids" if self.whole else "inputs_embeds"
        hidden = self.transformer(**{name: inputs}, attention_mask=mask).last_hidden_state
        return nn.functional.normalize(pool(hidden, mask, self.pooling), dim=-1)

    def forward(self, inputs: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Logits, (b, c) float32."""
        vectors = self.embed(inputs, mask)
        with torch.autocast(inputs.device.type, enabled=False):
            return self.head(vectors.float()) * SCALE

    def set_head(self, weights: NDArray[np.float64], bias: NDArray[np.float64]) -> None:
        """Replace the head by weights (c, d) and bias (c,)."""
        with torch.no_grad():
            self.head.weight.copy_(torch.from_numpy(weights))
            self.head.bias.copy_(torch.from_numpy(bias))

    def frozen(self, dtype: torch.dtype) -> "Network":
        """A copy for predictions: the transformer in ``dtype``, the head in float32."""
        twin = copy.deepcopy(self).eval().requires_grad_(False)
        twin.transformer.to(dtype)
        return twin


def stack(
    inputs: Sequence[torch.Tensor], batch: Batch, dtype: torch.dtype, fill: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs of one batch, (rows, length) or (rows, length, d), and their mask."""
    whole = inputs[batch.members[0]].dim() == 1
    shape = (batch.rows, batch.length, *inputs[batch.members[0]].shape[1:])
    stacked = torch.full(shape, fill, dtype=torch.int64) if whole else torch.zeros(shape, dtype=dtype)
    mask = torch.zeros(batch.rows, batch.length, dtype=torch.int64)
    mask[:, 0] = 1
    for row, member in enumerate(batch.members):
        stacked[row, : len(inputs[member])] = inputs[member]
        mask[row, : len(inputs[member])] = 1
    return stacked, mask


@torch.inference_mode()
def predict(
    network: Network, inputs: Sequence[torch.Tensor], token_budget: int, fill: int, vectors: bool = False
) -> NDArray[np.float64]:
    """Logits (n, c), or the unit vectors (n, d) under the head.

    Batches have fixed shapes: a document's are the same whatever else is asked for.
    """
    parameter = next(network.transformer.parameters())
    found = np.empty((len(inputs), network.head.in_features if vectors else network.head.out_features))
    for batch in batches([len(one) for one in inputs], token_budget):
        stacked, mask = (one.to(parameter.device) for one in stack(inputs, batch, parameter.dtype, fill))
        computed = network.embed(stacked, mask) if vectors else network(stacked, mask)
        found[batch.members] = computed[: len(batch.members)].double().cpu().numpy()
    return found
