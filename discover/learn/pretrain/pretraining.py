"""Pretraining from texts to a published encoder, step by step; each step is kept, and a killed one goes on."""

import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from discover.embed import transformer
from discover.embed.config import EncoderConfig
from discover.embed.device import choose_device, choose_dtype
from discover.embed.unpadded import LONGEST
from discover.errors import DiscoverError
from discover.learn.pretrain.config import SCRATCH, PretrainConfig
from discover.learn.pretrain.corpus import Corpus, check_size, load, tokenise
from discover.learn.pretrain.masking import masking_of
from discover.learn.pretrain.network import MaskedLanguageModel, small_transformer
from discover.learn.pretrain.publishing import publish_encoder
from discover.learn.pretrain.tokenizer import train_tokenizer
from discover.learn.pretrain.training import Curve, train
from discover.learn.pretrain.words import word_vectors
from discover.progress import progress
from discover.run import RunFolder, keep_settings, publish

SPELLED = 100_000  # texts that a tokenizer is made from, the first ones: an order by public ids, which are hashes
SETTINGS, TOKENS = "settings.json", "tokens.safetensors"
UNKNOWN = 0.05  # share of characters in unknown tokens from which on a tokenizer does not fit the pool


def pretrain(
    texts: Callable[[], Iterable[str]],
    encoder: EncoderConfig,
    config: PretrainConfig,
    seed: int,
    folder: RunFolder,
    documents: Sequence[int] = (),
) -> Path:
    """Make an encoder for the texts, and publish it as ``folder.encoder``.

    Args:
        texts: gives the documents, ordered by public id; not read again when the call goes on after a kill.
        encoder: tokens of a piece, device and number format.
        config: what is pretrained, and how long.
        seed: of all draws.
        folder: where the result and the way to it are kept.
        documents: row ids of the texts, kept until the end, as `folder.pretrained_on`.

    Raises:
        DiscoverError: the pool is too small, the start cannot be trained further, or it was begun with other settings.
    """
    work, start = folder.pretraining, None if config.scratch else transformer.find(config.start)
    known = transformer.load(start, torch.float32) if start else None
    limit = min(encoder.max_tokens, transformer.positions(known.config) if known else LONGEST)
    device = choose_device(encoder.device)
    dtype = choose_dtype(encoder.dtype, device)
    computed = {"seed": seed, "encoder.max_tokens": limit, "encoder.dtype": str(dtype).removeprefix("torch.")}
    settings = _settings(config, start) | computed
    if not folder.pretrained_on.is_file():
        tokenizer = _tokenizer(texts, start, known, config)
        corpus = tokenise(tokenizer, texts(), limit)
        check_size(corpus, config.batch_tokens)
        _begin(tokenizer, corpus, settings, folder, documents)
    keep_settings(work / SETTINGS, settings)
    tokenizer, corpus = transformer.load_tokenizer(work), load(work / TOKENS)
    _announce(corpus, config)
    masking = masking_of(tokenizer, config.masked, known.config.vocab_size if known else len(tokenizer))
    if known is None:
        words = word_vectors(corpus, masking.usual, config.width, seed)
        known = small_transformer(config, words, tokenizer, limit, seed)
    model = MaskedLanguageModel(known, config.dropout, seed).to(device)
    curve = train(model, corpus, masking, config, seed, folder, dtype)
    pooling = transformer.pooling_of(start) if start else "mean"
    card = {"start": config.start, "seed": seed, "dtype": computed["encoder.dtype"], **_told(corpus, config, curve)}
    publish_encoder(folder.encoder, model.transformer, tokenizer, pooling, card)
    return folder.encoder


def _settings(config: PretrainConfig, start: Path | None) -> dict[str, Any]:
    """What the result depends on; of another encoder its content, whatever its folder is called."""
    found = {f"pretrain.{key}": value for key, value in config.model_dump(exclude={"checkpoint"}).items()}
    return found | {"pretrain.start": transformer.fingerprint(start) if start else SCRATCH}


def _tokenizer(texts: Callable[[], Iterable[str]], start: Path | None, known: Any, config: PretrainConfig) -> Any:
    """The tokenizer of the encoder to begin with, or one for the texts."""
    if start is None:
        read = progress(itertools.islice(texts(), SPELLED), None, "read words")
        return train_tokenizer(read, config.vocabulary)
    found = transformer.load_tokenizer(start)
    transformer.check_fit(start, found, known)
    tied = known.get_input_embeddings().weight.shape[1] == known.config.hidden_size
    if not (found.is_fast and found.mask_token_id is not None and tied):
        raise DiscoverError(
            f"pretrain.start={config.start} must have a fast tokenizer with a mask token, and word embeddings as wide "
            f"as its states, to be trained further: name another encoder, or {SCRATCH}"
        )
    return found


def _begin(
    tokenizer: Any, corpus: Corpus, settings: dict[str, Any], folder: RunFolder, documents: Sequence[int]
) -> None:
    """Keep tokenizer, tokens and settings: what is trained on stays as it is, whatever comes into the pool."""
    with publish(folder.pretraining) as scratch:
        scratch.mkdir()
        tokenizer.save_pretrained(scratch)
        corpus.save(scratch / TOKENS)
        keep_settings(scratch / SETTINGS, settings)
        (scratch / folder.pretrained_on.name).write_text(json.dumps(list(documents)), encoding="utf-8")


def _announce(corpus: Corpus, config: PretrainConfig) -> None:
    characters, lost = corpus.characters
    unknown = lost / max(characters, 1)  # of tokens the share would be too low: an unknown word is one, however long
    print(
        f"{corpus.documents:,} documents, {len(corpus.ids):,} tokens, {unknown:.1%} of the characters unknown, "
        f"{corpus.steps(config.batch_tokens):,} steps a pass",
        flush=True,
    )
    if unknown > UNKNOWN and config.scratch:
        print(
            f"the tokenizer of {config.vocabulary} entries does not know much of this text: a higher "
            "pretrain.vocabulary has room for more of its letters",
            flush=True,
        )
    elif unknown > UNKNOWN:
        print(f"{config.start} does not know much of this text: pretrain.start: {SCRATCH} may serve better", flush=True)


def _told(corpus: Corpus, config: PretrainConfig, curve: Curve) -> dict[str, Any]:
    """What the card says of the training."""
    steps = corpus.steps(config.batch_tokens)
    passes = np.reshape(curve.losses, (config.passes, steps)).mean(1)
    return {
        "documents": corpus.documents,
        "pieces": len(corpus.lengths),
        "tokens": len(corpus.ids),
        "steps": len(curve.losses),
        "loss": [round(float(one), 4) for one in passes],
        "held_out_loss": [round(one, 4) for one in curve.held_out],
        "settings": config.model_dump(),
    }
