"""Whole-word masking: which words of a batch are to be guessed, and what stands in their place.

Of the words that are drawn every token is guessed; 80 % of these are replaced by the mask, 10 % by any token, 10 % stay
as they are. Devlin et al., "BERT", 2019, https://arxiv.org/abs/1810.04805; whole words: its repository, 2019. More
words than their 15 %: Wettig et al., "Should you mask 15 % in masked language modeling?", 2023,
https://arxiv.org/abs/2202.08005.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from discover.learn.forward import Tokens
from discover.learn.pretrain.corpus import Corpus


@dataclass(frozen=True, eq=False)
class Masking:
    """How words are masked.

    Attributes:
        share: of the words that are drawn.
        mask: id of the token that replaces one.
        usual: (v,) whether an id may be guessed, or replace another: not the special ones.
    """

    share: float
    mask: int
    usual: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Masked:
    """A part of a step.

    Attributes:
        tokens: (t,) ids as the model sees them, of b pieces.
        rows: (k,) positions of what is to be guessed.
        wanted: (k,) ids that stood there.
    """

    tokens: Tokens
    rows: torch.Tensor
    wanted: torch.Tensor


def masking_of(tokenizer: Any, share: float, size: int) -> Masking:
    """Masking with a tokenizer's own tokens.

    Args:
        tokenizer: has a mask token.
        share: of the words that are drawn.
        size: of the vocabulary.
    """
    usual = np.ones(size, bool)
    usual[tokenizer.all_special_ids] = False
    usual[len(tokenizer) :] = False
    return Masking(share, int(tokenizer.mask_token_id), usual)


def mask(
    corpus: Corpus, members: NDArray[np.int64], masking: Masking, rng: np.random.Generator, device: torch.device
) -> Masked:
    """Some pieces with words to be guessed; at least one, if there is a word at all."""
    rows = corpus.rows(members)
    ids, begins = corpus.ids[rows], corpus.begins[rows]
    word, guessable = begins.cumsum() - 1, masking.usual[ids]
    hidden = np.flatnonzero((rng.random(word[-1] + 1) < masking.share)[word] & guessable)
    if not len(hidden):
        hidden = np.flatnonzero(guessable)[:1]
    how, seen = rng.random(len(hidden)), ids.copy()
    seen[hidden[how < 0.8]] = masking.mask
    other = hidden[how >= 0.9]
    seen[other] = rng.choice(np.flatnonzero(masking.usual), len(other))
    lengths = torch.from_numpy(corpus.lengths[members])
    tokens = Tokens(torch.from_numpy(seen).long().to(device), lengths.to(device))
    return Masked(tokens, torch.from_numpy(hidden).to(device), torch.from_numpy(ids[hidden]).long().to(device))
