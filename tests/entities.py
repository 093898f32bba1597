"""Sentences with names in them, and a small encoder to learn these with, for the tests of the tagger."""

import itertools
import random
import shutil
from pathlib import Path

import pytest
import torch
import transformers

from discover.embed.config import EncoderConfig
from discover.embed.encoder import Encoder
from discover.embed.transformer import find
from discover.learn.tags import spans_of, tag_names

CLASSES = {"person": "", "creative-work": ""}
NAMES = {"person": ["Ada Lovelace", "Turing", "Grace Hopper", "Knuth"], "creative-work": ["Dune", "Moby Dick", "Emma"]}
FILLER = "we read that when it rained and said so to all of them before noon in the town again".split()


def sentences(count: int, seed: int) -> list[tuple[list[str], list[str]]]:
    """Tokens and BIO tags, of sentences that hold none to two names."""
    rng, found = random.Random(seed), []
    for number in range(count):
        tokens, tags = [f"n{number}"], ["O"]
        for kind in rng.choices([None, *NAMES], k=2):
            more = rng.choices(FILLER, k=rng.randint(2, 5))
            tokens, tags = tokens + more, tags + ["O"] * len(more)
            if kind:
                words = rng.choice(NAMES[kind]).split()
                tokens, tags = tokens + words, tags + [f"B-{kind}"] + [f"I-{kind}"] * (len(words) - 1)
        found.append((tokens, tags))
    return found


def answered(tokens: list[str], tags: list[str]) -> tuple[str, tuple[tuple[int, int, int], ...]]:
    """The text, and its answer in numbers."""
    starts = [0, *itertools.accumulate(len(token) + 1 for token in tokens)]
    places = [(start, start + len(token)) for start, token in zip(starts, tokens, strict=False)]
    return " ".join(tokens), spans_of([tag_names(CLASSES).index(tag) for tag in tags], places)


TEXTS, ANSWERS = zip(*(answered(*one) for one in sentences(160, 1)), strict=True)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small BERT with random weights, and the packaged tokenizer."""
    folder = tmp_path_factory.mktemp("small")
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        if (find("all-MiniLM-L6-v2") / name).is_file():
            shutil.copy(find("all-MiniLM-L6-v2") / name, folder)
    size = {"hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 128, "num_hidden_layers": 2}
    torch.manual_seed(0)
    transformers.BertModel(transformers.BertConfig(vocab_size=30522, **size)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def encoder(model: Path) -> Encoder:
    return Encoder(EncoderConfig(model=str(model), max_tokens=32))


LEARN = {
    "method": "full",
    "epochs": 12,
    "steps": 0,
    "learning_rate": 3e-3,
    "head_learning_rate": 1e-2,
    "dropout": 0.0,
    "batch": 16,
}
