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

from discover.embed.frozen import freeze, pool
from discover.learn import head


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
            return self.head(vectors.float()) * head.SCALE

    def set_head(self, weights: NDArray[np.float64], bias: NDArray[np.float64]) -> None:
        """Replace the head by weights (c, d) and bias (c,)."""
        with torch.no_grad():
            self.head.weight.copy_(torch.from_numpy(weights))
            self.head.bias.copy_(torch.from_numpy(bias))


class FrozenNetwork:
    """A copy of a network for predictions; a document's are the same bit for bit whatever else is asked for.

    Args:
        network: may be trained further without an effect here.
        dtype: that the transformer's copy computes in.
        limit: tokens of the longest document.
    """

    def __init__(self, network: Network, dtype: torch.dtype, limit: int):
        self._pooling = network.pooling
        twin = copy.deepcopy(network.transformer).eval().requires_grad_(False).to(dtype)
        self._transformer = freeze(twin, limit)
        self._weight = network.head.weight.detach().cpu().double().numpy()
        self._bias = network.head.bias.detach().cpu().double().numpy()

    def vectors(self, inputs: Sequence[torch.Tensor]) -> NDArray[np.float32]:
        """The unit vectors under the head, (n, d)."""
        found = np.empty((len(inputs), self._weight.shape[1]), dtype=np.float32)
        for members, hidden, mask in self._transformer.run(inputs):
            found[members] = nn.functional.normalize(pool(hidden, mask, self._pooling), dim=-1).cpu().numpy()
        return found

    def logits(self, inputs: Sequence[torch.Tensor]) -> NDArray[np.float64]:
        """Logits, (n, c)."""
        return head.logits(self.vectors(inputs), self._weight, self._bias)
