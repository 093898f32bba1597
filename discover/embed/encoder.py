"""The encoder: texts to unit vectors, and to the activations of any layer, with a frozen transformer."""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from discover.embed import transformer
from discover.embed.config import EncoderConfig
from discover.embed.device import choose_device, choose_dtype
from discover.embed.frozen import Frozen, freeze, pool
from discover.errors import DiscoverError
from discover.pool.words import parts, whole_word, with_marks

CHARACTERS_A_TOKEN = 64  # longer texts are cut before the tokenizer, which would read all of a book


class Words(NamedTuple):
    """A text as the tokenizer cuts it, as far as it is read.

    Attributes:
        tokens: (t,) ids, as `Encoder.tokenize` gives them.
        of: (t,) the position of the word that each token is of; -1 for special tokens.
        spans: first character and the one after the last, of each word.
    """

    tokens: torch.Tensor
    of: NDArray[np.int64]
    spans: list[tuple[int, int]]


class Encoder:
    """A frozen transformer.

    Args:
        config: which model, on which device, how precise.

    Attributes:
        weights: SHA-256 of the model's files.
        version: 16 hexadecimal digits over weights, tokenizer, truncation, number format and pooling; vectors of two
            versions never meet in one index.
        reads: of that, what a vector is of: weights, tokens and pooling, by name.
        computes: and how: number format and layout, of which nothing but the last digits depends.
        dimension: of a vector.
        layers: blocks of the transformer.
        limit: tokens of the longest text.
        tokenizer: as transformers has it.

    Raises:
        DiscoverError: the model cannot be found, is damaged, lacks files, or has a tokenizer that does not fit it.
    """

    def __init__(self, config: EncoderConfig):
        self.config = config
        self.folder = transformer.find(config.model)
        self.device = choose_device(config.device)
        self.dtype = choose_dtype(config.dtype, self.device)
        self.pooling = transformer.pooling_of(self.folder)
        self._stamp = transformer.stamp(self.folder)
        self.weights = transformer.fingerprint(self.folder)
        self._model = transformer.load(self.folder, self.dtype).to(self.device)
        self.tokenizer = transformer.load_tokenizer(self.folder)
        transformer.check_fit(self.folder, self.tokenizer, self._model)
        self._parts: dict[int, Frozen] = {}
        self.dimension: int = self._model.config.hidden_size
        self.layers = transformer.layers_of(self._model)
        self.limit = min(config.max_tokens, transformer.positions(self._model.config))
        self.reads = {"weights": self.weights, "max_tokens": self.limit, "pooling": self.pooling}
        self.computes = {"dtype": str(self.dtype).removeprefix("torch."), "layout": str(self._part(self.layers).layout)}
        described = f"{self.weights} {self.limit} {self.dtype} {self.pooling} {self._part(self.layers).layout}"
        self.version = hashlib.sha256(described.encode()).hexdigest()[:16]

    def check(self) -> None:
        """See that the folder still holds the model that was loaded: by sizes and times, by digests where they differ.

        Raises:
            DiscoverError: it holds another, or none.
        """
        stamp = transformer.stamp(self.folder)
        if stamp == self._stamp:
            return
        if transformer.fingerprint(self.folder) != self.weights:
            raise DiscoverError(
                f"the model in {self.folder} has changed since this process loaded it: put the one of before back and "
                "give the same command again, or start a new run with --run"
            )
        self._stamp = stamp

    def tokenize(self, texts: Sequence[str]) -> list[torch.Tensor]:
        """Token ids (t,) int32 of each text, special tokens included, from 1 to ``limit`` each."""
        if not texts:
            return []
        return [self._ids(ids) for ids in self._read(list(texts))["input_ids"]]

    def words(self, text: str) -> Words:
        """The words of a text, which is cut as for `tokenize`.

        A word ends where the tokenizer lets one end, and where its script does (`discover.pool.words`): of tokenizers
        that part words at blanks alone, as SentencePiece's do, the quotation marks around a name would else be of it.

        Raises:
            DiscoverError: the tokenizer does not say which characters a token stands for.
        """
        if not self.tokenizer.is_fast:
            raise DiscoverError(
                f"words need a tokenizer that knows their places, a tokenizer.json, and {self.folder} has none: "
                "choose another encoder.model, or do without explanations (label.explain: false)"
            )
        read = self._read(text, return_offsets_mapping=True)
        tokens = self._ids(read["input_ids"])
        of, spans = np.full(len(tokens), -1), list[tuple[int, int]]()
        last, end = None, 0
        for token, (number, (start, stop)) in enumerate(zip(read.word_ids(), read["offset_mapping"], strict=True)):
            held = text[start:stop]
            if number is None or not held.strip():
                continue  # special, or the mark that some tokenizers put in the place of a space
            start, stop = start + len(held) - len(held.lstrip()), stop - len(held) + len(held.rstrip())
            # Before `end` it is another piece of a character that the word has already.
            goes_on = start < end or (number == last and not parts(text[start - 1], text[start]))
            stop = with_marks(text, stop)  # tokenizers that drop accents leave them out
            first, last, end = spans.pop()[0] if goes_on else start, number, max(stop, end)
            spans.append((first, end))
            of[token] = len(spans) - 1
        if spans:  # the last may be cut in the middle
            spans[-1] = (spans[-1][0], whole_word(text, end))
        return Words(tokens, of, spans)

    def _read(self, texts: str | list[str], **more: bool) -> Any:
        """What the tokenizer says of a text, or of several."""
        most = self.limit * CHARACTERS_A_TOKEN
        cut = texts[:most] if isinstance(texts, str) else [text[:most] for text in texts]
        return self.tokenizer(
            cut,
            truncation=True,
            max_length=self.limit,
            return_attention_mask=False,
            return_token_type_ids=False,
            **more,
        )

    def _ids(self, ids: list[int]) -> torch.Tensor:
        return torch.tensor(ids or [self.tokenizer.pad_token_id or 0], dtype=torch.int32)

    @property
    def blank(self) -> int:
        """The token that stands for a word of which nothing is known."""
        known = (self.tokenizer.unk_token_id, self.tokenizer.mask_token_id, self.tokenizer.pad_token_id, 0)
        return next(token for token in known if token is not None)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors, (n, d) float32: the mean of the last layer's tokens, or its first token."""
        tokens = self.tokenize(texts)
        vectors = np.empty((len(tokens), self.dimension), dtype=np.float32)
        for members, hidden, mask in self._part(self.layers).run(tokens):
            vectors[members] = torch.nn.functional.normalize(pool(hidden, mask, self.pooling), dim=-1).cpu().numpy()
        return vectors

    def lower(self, tokens: Sequence[torch.Tensor], layer: int) -> list[torch.Tensor]:
        """Activations after the first ``layer`` blocks: for each document a (t, d) tensor on the CPU.

        They are bfloat16 where the encoder computes in it, float16 otherwise.
        """
        kept = torch.bfloat16 if self.dtype == torch.bfloat16 else torch.float16
        found: list[torch.Tensor] = [torch.empty(0)] * len(tokens)
        for members, hidden, _ in self._part(layer).run(tokens):
            hidden = hidden.clamp(-65000, 65000).to(kept).cpu()
            for row, member in enumerate(members):
                found[member] = hidden[row, : len(tokens[member])].clone()
        return found

    def trainable(self, layer: int) -> Any:
        """A fresh float32 copy to fine-tune: the blocks from ``layer`` on, or the whole transformer when it is 0.

        The former is called with ``inputs_embeds`` (what `lower` gives), the latter with ``input_ids``.
        """
        self.check()
        model = transformer.load(self.folder, torch.float32)
        return (transformer.upper_part(model, layer) if layer else model).to(self.device)

    def _part(self, layer: int) -> Frozen:
        if layer not in self._parts:
            self._parts[layer] = freeze(transformer.lower_part(self._model, layer), self.limit)
        return self._parts[layer]
