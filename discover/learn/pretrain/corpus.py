"""Texts as token ids: tokenised once, cut into pieces that the encoder can read, and kept in a file."""

import hashlib
import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from discover.errors import DiscoverError
from discover.progress import progress

ARRAYS = ("ids", "begins", "lengths")
CHUNK = 2000  # texts that are tokenised at a time
HELD_OUT, MOST_HELD_OUT = 0.02, 1000  # of the pieces, to see how well words are guessed that were not learned
FEWEST_STEPS = 10  # of a pass


@dataclass(frozen=True, eq=False)
class Corpus:
    """Pieces of text, each with its special tokens, one below the other.

    Attributes:
        ids: (t,) token ids.
        begins: (t,) whether a word begins there; what follows up to the next one belongs to it.
        lengths: (n,) tokens of each piece.
        documents: how many texts the pieces are of.
        characters: how many these have, blanks left out, and how many of them are in unknown tokens.
    """

    ids: NDArray[np.int32]
    begins: NDArray[np.bool_]
    lengths: NDArray[np.int64]
    documents: int
    characters: tuple[int, int]

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """(n,) the first token of each piece."""
        return np.cumsum(self.lengths, dtype=np.int64) - self.lengths

    @property
    def held_out(self) -> NDArray[np.int64]:
        """(h,) pieces that are not learned: the first ones, in an order by public ids, which are hashes."""
        return np.arange(max(1, min(MOST_HELD_OUT, round(HELD_OUT * len(self.lengths)))))

    @property
    def learned(self) -> NDArray[np.int64]:
        """(n - h,) the others."""
        return np.arange(len(self.held_out), len(self.lengths))

    def rows(self, members: NDArray[np.int64]) -> NDArray[np.int64]:
        """The tokens of some pieces, one piece below the other: positions in ``ids``."""
        lengths = self.lengths[members]
        return np.repeat(self.starts[members], lengths) + inside(lengths)

    def steps(self, budget: int) -> int:
        """Steps of a pass, of about so many tokens each, and at least the longest piece."""
        lengths = self.lengths[self.learned]
        return max(1, int(lengths.sum()) // max(budget, int(lengths.max())))

    def plan(self, budget: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
        """A pass: the pieces of each step. Similar lengths share one, which of them do changes with each pass."""
        noisy = self.lengths[self.learned] * np.exp(rng.normal(0, 0.15, len(self.learned)))
        order = self.learned[np.argsort(noisy, kind="stable")]
        total, steps = self.lengths[order].cumsum(), self.steps(budget)
        groups = np.split(order, np.searchsorted(total, total[-1] * np.arange(1, steps) / steps, "right"))
        return [groups[at] for at in rng.permutation(steps)]

    def save(self, path: Path) -> None:
        """Write it to a file."""
        arrays = {name: getattr(self, name) for name in ARRAYS}
        said = {"documents": json.dumps(self.documents), "characters": json.dumps(self.characters)}
        path.write_bytes(save(arrays, said | {"sha256": _digest(arrays)}))


def inside(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """(t,) where each token is in its piece, of pieces of these lengths one below the other."""
    return np.arange(lengths.sum()) - np.repeat(lengths.cumsum() - lengths, lengths)


def load(path: Path) -> Corpus:
    """What `Corpus.save` has written.

    Raises:
        DiscoverError: it is missing or damaged.
    """
    try:
        with safe_open(path, "numpy") as file:
            arrays, said = {name: file.get_tensor(name) for name in ARRAYS}, file.metadata()
        if said["sha256"] != _digest(arrays):
            raise ValueError("it is damaged")
        characters, unknown = json.loads(said["characters"])
        return Corpus(**arrays, documents=json.loads(said["documents"]), characters=(characters, unknown))
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise DiscoverError(
            f"{path} must hold the pool's tokens, but {error}: remove {path.parent}, to begin anew"
        ) from error


def _digest(arrays: dict[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for name in ARRAYS:
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.hexdigest()


def tokenise(tokenizer: Any, texts: Iterable[str], limit: int) -> Corpus:
    """Cut texts into pieces of at most ``limit`` tokens.

    Args:
        tokenizer: a fast one of transformers.
        texts: read once, some thousand at a time.
        limit: special tokens included.
    """
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    parts = [Corpus(np.empty(0, np.int32), np.empty(0, bool), np.empty(0, np.int64), 0, (0, 0))]
    texts = progress(texts, None, "tokenise")
    while chunk := list(itertools.islice(texts, CHUNK)):
        parts.append(_tokenised(tokenizer.backend_tokenizer, chunk, limit, tokenizer.unk_token_id))
    ids, begins, lengths = (np.concatenate([getattr(one, name) for one in parts]) for name in ARRAYS)
    characters, unknown = (sum(each) for each in zip(*(one.characters for one in parts), strict=True))
    return Corpus(ids, begins, lengths, sum(one.documents for one in parts), (characters, unknown))


def _tokenised(backend: Any, texts: list[str], limit: int, nothing: int | None) -> Corpus:
    around = np.array(backend.encode("").ids, np.int32)
    before, after = np.split(around, [len(around) // 2])
    room = limit - len(around)
    ids, begins, lengths = [before[:0]], [before[:0] > 0], []
    characters = unknown = 0
    for found in backend.encode_batch(texts, add_special_tokens=False):
        words = np.array([-1 if word is None else word for word in found.word_ids], np.int64)
        for at in range(0, len(words), room):
            part = slice(at, at + room)
            ids += [before, np.array(found.ids[part], np.int32), after]
            begins += [before >= 0, np.diff(words[part], prepend=-2) != 0, after >= 0]
            lengths.append(len(words[part]) + len(around))
        held = np.diff(np.array(found.offsets, np.int64).reshape(-1, 2)).ravel()
        characters += int(held.sum())
        unknown += int(held[np.array(found.ids) == (-1 if nothing is None else nothing)].sum())
    kept = np.concatenate(ids), np.concatenate(begins), np.array(lengths, np.int64)
    return Corpus(*kept, len(texts), (characters, unknown))


def check_size(corpus: Corpus, budget: int) -> None:
    """Refuse a pool that is too small.

    Raises:
        DiscoverError: it does not fill a few steps.
    """
    if len(corpus.lengths) < 2 or len(corpus.ids) < FEWEST_STEPS * budget:
        raise DiscoverError(
            f"the pool is too small to pretrain on: {FEWEST_STEPS} steps of pretrain.batch_tokens={budget} take "
            f"{FEWEST_STEPS * budget:,} tokens, it has {len(corpus.ids):,} in {corpus.documents:,} documents; crawl or "
            "import more, or set pretrain.batch_tokens lower"
        )
