"""The encoder: texts to unit vectors, and to the activations of any layer, with a frozen transformer.

A document's result is the same bit for bit whatever else is encoded with it (`discover.embed.batching`).
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from discover.embed import transformer
from discover.embed.batching import Batch, batches
from discover.embed.config import EncoderConfig
from discover.embed.device import choose_device, choose_dtype
from discover.embed.packing import pack
from discover.progress import progress

CHARACTERS_A_TOKEN = 64  # longer texts are cut before the tokenizer, which would read all of a book


class Encoder:
    """A frozen transformer.

    Args:
        config: which model, on which device, how precise.

    Attributes:
        version: 16 hexadecimal digits over weights, tokenizer, truncation, number format and pooling; vectors of two
            versions never meet in one index.
        dimension: of a vector.
        layers: blocks of the transformer.

    Raises:
        DiscoverError: the model cannot be found, is damaged, or lacks files.
    """

    def __init__(self, config: EncoderConfig):
        self.config = config
        self.folder = transformer.find(config.model)
        self.device = choose_device(config.device)
        self.dtype = choose_dtype(config.dtype, self.device)
        self.pooling = transformer.pooling_of(self.folder)
        weights = transformer.fingerprint(self.folder)
        self._model = transformer.load(self.folder, self.dtype).to(self.device)
        self._tokenizer = transformer.load_tokenizer(self.folder)
        self._parts: dict[int, Any] = {}
        settings = self._model.config
        self.dimension: int = settings.hidden_size
        self.layers = transformer.layers_of(self._model)
        self.limit = min(config.max_tokens, _positions(settings))
        self.token_budget = 512 if self.device.type == "cpu" else 65536
        described = f"{weights} {self.limit} {self.dtype} {self.pooling} {self.token_budget}"
        self.version = hashlib.sha256(described.encode()).hexdigest()[:16]

    def tokenize(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Token ids of each text, special tokens included, at most ``limit`` each."""
        if not texts:
            return []
        cut = [text[: self.limit * CHARACTERS_A_TOKEN] for text in texts]
        found = self._tokenizer(
            cut, truncation=True, max_length=self.limit, return_attention_mask=False, return_token_type_ids=False
        )
        return [np.asarray(ids, dtype=np.int32) for ids in found["input_ids"]]

    def encode(self, texts: Sequence[str], progress: bool = False) -> NDArray[np.float32]:
        """Unit vectors, (n, d) float32: the mean of the last layer's tokens, or its first token."""
        tokens = self.tokenize(texts)
        vectors = np.empty((len(tokens), self.dimension), dtype=np.float32)
        whole = self._part(self.layers)
        for batch, hidden, mask in self._run(whole, tokens, "encode" if progress else ""):
            pooled = torch.nn.functional.normalize(pool(hidden, mask, self.pooling), dim=-1)
            vectors[batch.members] = pooled[: len(batch.members)].cpu().numpy()
        return vectors

    def lower(self, tokens: Sequence[NDArray[np.int32]], layer: int) -> list[torch.Tensor]:
        """Activations after the first ``layer`` blocks: for each document a (tokens, d) tensor on the CPU.

        They are bfloat16 where the encoder computes in it, float16 otherwise.
        """
        kept = torch.bfloat16 if self.dtype == torch.bfloat16 else torch.float16
        found: list[torch.Tensor] = [torch.empty(0)] * len(tokens)
        for batch, hidden, _ in self._run(self._part(layer), tokens, ""):
            hidden = hidden.clamp(-65000, 65000).to(kept).cpu()
            for row, member in enumerate(batch.members):
                found[member] = hidden[row, : len(tokens[member])].clone()
        return found

    def trainable(self, layer: int) -> Any:
        """A fresh float32 copy to fine-tune: the blocks from ``layer`` on, or the whole transformer when it is 0.

        The former is called with ``inputs_embeds`` (what `lower` gives), the latter with ``input_ids``.
        """
        model = transformer.load(self.folder, torch.float32)
        return (transformer.upper_part(model, layer) if layer else model).to(self.device)

    def pad_token(self) -> int:
        """The id that fills a row."""
        return int(self._tokenizer.pad_token_id or 0)

    @torch.inference_mode()
    def _part(self, layer: int) -> Any:
        if layer not in self._parts:
            cut = transformer.lower_part(self._model, layer)
            self._parts[layer] = pack(cut, self.token_budget)
        return self._parts[layer]

    @torch.inference_mode()
    def _run(
        self, part: Any, tokens: Sequence[NDArray[np.int32]], title: str
    ) -> Iterator[tuple[Batch, torch.Tensor, torch.Tensor]]:
        todo = batches([len(ids) for ids in tokens], self.token_budget, self.limit)
        for batch in progress(todo, len(todo), title) if title else todo:
            ids, mask = (torch.from_numpy(array).to(self.device) for array in batch.pad(tokens, self.pad_token()))
            yield batch, part(input_ids=ids, attention_mask=mask).last_hidden_state, mask


def pool(hidden: torch.Tensor, mask: torch.Tensor, how: str) -> torch.Tensor:
    """One float32 vector a row, (b, d), from hidden states (b, t, d) and mask (b, t): tokens' mean, or the first."""
    if how == "cls":
        return hidden[:, 0].float()
    weight = mask.unsqueeze(-1).float()
    return (hidden.float() * weight).sum(1) / weight.sum(1)


def _positions(settings: Any) -> int:
    """Tokens the model has positions for; RoBERTa's kind spends the first ones on padding."""
    positions = getattr(settings, "max_position_embeddings", 0) or 10**9
    shifted = settings.model_type in ("roberta", "xlm-roberta", "camembert", "mpnet")
    return positions - (settings.pad_token_id + 1 if shifted else 0)
