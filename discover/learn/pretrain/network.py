"""A transformer with a head that guesses words: its logits are products with the word embeddings."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from discover.learn import forward
from discover.learn.dropout import install
from discover.learn.pretrain.config import HEAD_SIZE, PretrainConfig
from discover.learn.pretrain.masking import Masked


class MaskedLanguageModel(nn.Module):
    """Guesses what stood in the place of masked tokens; BERT's head, its product with the word embeddings tied.

    Args:
        transformer: with word embeddings; it belongs to the model from now on, and all of it is trained.
        dropout: share of what the blocks hand on that is dropped in training.
        seed: of the head's random start.
    """

    def __init__(self, transformer: Any, dropout: float, seed: int):
        super().__init__()
        install(transformer, dropout)
        self.transformer = transformer.requires_grad_(True)
        size, width = transformer.get_input_embeddings().weight.shape
        self.dense, self.norm = nn.Linear(width, width), nn.LayerNorm(width)
        self.bias = nn.Parameter(torch.zeros(size))
        with torch.no_grad():
            self.dense.weight.normal_(std=0.02, generator=torch.Generator().manual_seed(seed))
            self.dense.bias.zero_()

    def losses(self, part: Masked) -> torch.Tensor:
        """-log p of each token that was to be guessed, (k,) float32.

        The product with the vocabulary is made for these alone.
        """
        hidden = forward.run(self.transformer, part.tokens)[part.rows]
        hidden = self.norm(nn.functional.gelu(self.dense(hidden)))
        logits = nn.functional.linear(hidden, self.transformer.get_input_embeddings().weight, self.bias)
        return nn.functional.cross_entropy(logits.float(), part.wanted, reduction="none")


def small_transformer(
    config: PretrainConfig, words: NDArray[np.float32] | None, tokenizer: Any, positions: int, seed: int
) -> Any:
    """A BERT that knows nothing yet but its words.

    Args:
        config: how large.
        words: (v, width) what the word embeddings start from; None: random, as the rest.
        tokenizer: that it is for.
        positions: tokens of the longest piece.
        seed: of its random weights.
    """
    from transformers import BertConfig, BertModel

    settings = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=config.width,
        num_hidden_layers=config.layers,
        num_attention_heads=config.width // HEAD_SIZE,
        intermediate_size=4 * config.width,
        max_position_embeddings=positions,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng([]), torch.no_grad():
        torch.manual_seed(seed)
        made = BertModel(settings, add_pooling_layer=False)
        if words is not None:
            made.embeddings.word_embeddings.weight.copy_(torch.from_numpy(words))
    return made
