"""What a learner is given of documents, by row id: tokens or activations, vectors, and an order that is theirs."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from discover.embed.encoder import Encoder
from discover.learn.activations import ActivationCache
from discover.pool.document import Document


class Documents:
    """Documents as the layers of an encoder take them.

    Args:
        encoder: the frozen transformer.
        texts: gives the texts of row ids, aligned with them.
        cache: keeps what is computed.
        layer: the lowest one that is trained.
        stored: gives stored vectors (k, d) of row ids; without it documents are encoded when needed.
    """

    def __init__(
        self,
        encoder: Encoder,
        texts: Callable[[Sequence[int]], list[str]],
        cache: ActivationCache,
        layer: int,
        stored: Callable[[Sequence[int]], NDArray[np.float32]] | None,
    ):
        self._encoder, self._texts, self._cache, self._layer = encoder, texts, cache, layer
        self.vectors = stored or self._encoded
        self._keys: dict[int, str] = {}

    def inputs(self, ids: list[int]) -> list[torch.Tensor]:
        """Token ids, or activations below the layers that are trained."""

        def compute(missing: list[int]) -> list[torch.Tensor]:
            tokens = self._encoder.tokenize(self._texts(missing))
            return self._encoder.lower(tokens, self._layer) if self._layer else tokens

        return self._cache.get((self._encoder.version, self._layer), ids, compute)

    def ordered(self, ids: list[int]) -> list[int]:
        """By public id, which is a hash of the text: neither row ids nor arrival may change a result."""
        missing = [row for row in ids if row not in self._keys]
        self._keys.update(zip(missing, (Document(text).public_id for text in self._texts(missing)), strict=True))
        return sorted(ids, key=lambda row: self._keys[row])

    def _encoded(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """(k, d) vectors of the frozen encoder."""

        def compute(missing: list[int]) -> list[torch.Tensor]:
            return list(torch.from_numpy(self._encoder.encode(self._texts(missing))))

        kept = self._cache.get((self._encoder.version, "vector"), list(ids), compute)
        return torch.stack(kept).numpy() if kept else np.empty((0, self._encoder.dimension), np.float32)
