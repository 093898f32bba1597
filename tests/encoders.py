"""Encoders for tests."""

from pathlib import Path

import torch
from transformers import AutoTokenizer, BertConfig, BertModel

from discover.embed.transformer import PACKAGED, find


def write_encoder(folder: Path, seed: int = 0) -> Path:
    """A small transformer with random weights, and the default's tokenizer."""
    size = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64, "num_hidden_layers": 3}
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        BertModel(BertConfig(initializer_range=0.2, **size)).save_pretrained(folder)
    AutoTokenizer.from_pretrained(find(PACKAGED)).save_pretrained(folder)
    return folder
