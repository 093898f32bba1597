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
from discover.learn import adapters, forward, head
from discover.learn.config import Adapter
from discover.learn.dropout import install


class Network(nn.Module):
    """Tokens to logits.

    The word embeddings stay as they are: an answer touches few of the tens of thousands of words, and learning them
    costs a quarter of the time for nothing that could be measured (runs/LOG.md).

    Args:
        transformer: what `Encoder.trainable` gives; it belongs to the network from now on.
        weights: (c, d) unit vectors that the head starts from.
        pooling: ``mean`` or ``cls``; or ``tokens``, where the head sees each token by itself.
        dropout: share of what the blocks hand on that is dropped in training.
        adapter: what is trained instead of the transformer's own weights, and its rank; None trains those.
    """

    def __init__(
        self,
        transformer: Any,
        weights: torch.Tensor,
        pooling: str,
        dropout: float = 0.0,
        adapter: tuple[Adapter, int] | None = None,
    ):
        super().__init__()
        for module in transformer.modules():
            if isinstance(module, nn.Embedding):
                module.requires_grad_(False)
        install(transformer, dropout)
        self.transformer = adapters.insert(transformer, *adapter) if adapter else transformer
        self.adapted = adapter is not None
        self.head = nn.Linear(weights.shape[1], weights.shape[0])
        self.set_head(weights.numpy(), np.zeros(len(weights)))
        self.pooling = pooling

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.head.weight.device

    def embed(self, tokens: forward.Tokens) -> torch.Tensor:
        """Unit vectors, (b, d) float32; of t tokens, (t, d), where they are not pooled."""
        return forward.pool(forward.run(self.transformer, tokens), tokens, self.pooling)

    def classify(self, vectors: torch.Tensor) -> torch.Tensor:
        """Logits, (b, c) float32, of unit vectors."""
        with torch.autocast(vectors.device.type, enabled=False):
            return self.head(vectors.float()) * head.SCALE

    def trained(self) -> dict[str, torch.Tensor]:
        """The tensors that training changes, by name."""
        wanted = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
        return {name: one.cpu().contiguous() for name, one in self.state_dict().items() if name in wanted}

    def restore(self, trained: dict[str, torch.Tensor]) -> None:
        """Take over what `trained` gave.

        Raises:
            RuntimeError: a tensor is missing, unknown, or of another shape.
        """
        missing = self.trained().keys() ^ trained.keys()
        if missing:
            raise RuntimeError(f"{len(missing)} tensors do not fit, like {min(missing)}")
        self.load_state_dict(trained, strict=False)

    def trained_head(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The head's weights (c, d) and bias (c,)."""
        weight, bias = (one.detach().cpu().double().numpy() for one in (self.head.weight, self.head.bias))
        return weight, bias

    def merged(self) -> Any:
        """A copy of the transformer as it predicts: in evaluation mode, adapters folded into the weights."""
        twin = copy.deepcopy(self.transformer).eval()
        return adapters.merge(twin) if self.adapted else twin

    def set_head(self, weights: NDArray[np.floating], bias: NDArray[np.floating]) -> None:
        """Replace the head by weights (c, d) and bias (c,)."""
        with torch.no_grad():
            self.head.weight.copy_(torch.from_numpy(weights))
            self.head.bias.copy_(torch.from_numpy(bias))


class FrozenNetwork:
    """A copy of a network's transformer for predictions; a document's vector is the same whatever else is asked for.

    Args:
        network: may be trained further without an effect here.
        dtype: that the copy computes in.
        limit: tokens of the longest document.
    """

    def __init__(self, network: Network, dtype: torch.dtype, limit: int):
        self._pooling = network.pooling
        self._dimension = network.head.in_features
        self._transformer = freeze(network.merged().requires_grad_(False).to(dtype), limit)

    def vectors(self, inputs: Sequence[torch.Tensor]) -> NDArray[np.float32]:
        """The unit vectors under the head, (n, d), bit for bit the same in any company."""
        found = np.empty((len(inputs), self._dimension), dtype=np.float32)
        for members, hidden, mask in self._transformer.run(inputs, "encode"):
            found[members] = nn.functional.normalize(pool(hidden, mask, self._pooling), dim=-1).cpu().numpy()
        return found

    def states(self, inputs: Sequence[torch.Tensor]) -> list[NDArray[np.float32]]:
        """The unit vectors of each document's tokens, (t, d), likewise."""
        found: list[NDArray[np.float32]] = [np.empty((0, self._dimension), np.float32)] * len(inputs)
        for members, hidden, _ in self._transformer.run(inputs, "encode"):
            units = nn.functional.normalize(hidden.float(), dim=-1).cpu().numpy()
            for row, member in enumerate(members):
                found[member] = units[row, : len(inputs[member])]
        return found
