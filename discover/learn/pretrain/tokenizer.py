"""A WordPiece tokenizer for the pool; the same texts give the same one.

Schuster & Nakajima, "Japanese and Korean voice search", 2012. BERT's normaliser sets Chinese characters apart, and
lowers case; it would take accents off, and with them Hindi's vowels and the tones of Vietnamese, which stay. In every
script without blanks a character is a word, with the marks that follow it, as `discover.pool.words` has it.

The library's trainer numbers letters in the order of a hash table and breaks ties by these numbers, so that two
trainings on one text differ. Here the letters are given to it in order, as if they were special, and what it found
becomes a plain vocabulary.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from discover.pool.words import UNSPACED

PAD, UNKNOWN, FIRST, LAST, MASK = SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
CONTINUED = "##"  # begins an entry that goes on with a word
LETTERS = 0.9  # of the vocabulary, at most: rarer ones are unknown
TWICE = 2  # an entry must have been seen so often
LONGEST_WORD = 256  # characters; what is longer is unknown: it is no word of a language, and takes quadratic time


def train_tokenizer(texts: Iterable[str], size: int) -> Any:
    """A tokenizer of at most ``size`` entries, as transformers wants it."""
    from transformers import PreTrainedTokenizerFast

    normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.BertNormalizer(strip_accents=False)])
    unspaced = pre_tokenizers.Split(Regex(rf"[{UNSPACED}]\p{{M}}*"), "isolated")
    splitter = pre_tokenizers.Sequence([pre_tokenizers.BertPreTokenizer(), unspaced])
    words = Counter(word for text in texts for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
    vocabulary = _vocabulary(words, size)
    made = Tokenizer(models.WordPiece(vocab=vocabulary, unk_token=UNKNOWN, max_input_chars_per_word=LONGEST_WORD))
    made.normalizer, made.pre_tokenizer = normalizer, splitter
    made.decoder = decoders.WordPiece(prefix=CONTINUED)
    made.post_processor = processors.TemplateProcessing(
        single=f"{FIRST} $A {LAST}",
        pair=f"{FIRST} $A {LAST} $B {LAST}",
        special_tokens=[(one, SPECIAL.index(one)) for one in (FIRST, LAST)],
    )
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return PreTrainedTokenizerFast(tokenizer_object=made, **dict(zip(names, SPECIAL, strict=True)))


def _vocabulary(words: Counter[str], size: int) -> dict[str, int]:
    """Entry to id: the special ones, then letters, then what the trainer merges."""
    letters = _letters(words, round(LETTERS * size))
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        min_frequency=TWICE,
        special_tokens=[*SPECIAL, *letters],
        continuing_subword_prefix=CONTINUED,
        show_progress=False,
    )
    scratch = Tokenizer(models.WordPiece(unk_token=UNKNOWN))
    scratch.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    known = set(letters)
    scratch.train_from_iterator(_spelled(words, known), trainer)
    return dict(scratch.get_vocab())


def _letters(words: Counter[str], most: int) -> list[str]:
    """Letters as entries, the commonest of them, those inside of a word apart from those at its beginning."""
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for entry in _entries(word):
            counts[entry] += count
    seen = [entry for entry, count in counts.items() if count >= TWICE]
    return sorted(seen, key=lambda entry: (-counts[entry], entry))[:most]


def _spelled(words: Counter[str], letters: set[str]) -> Iterator[str]:
    """Each word as often as it was seen, without those that cannot be spelled."""
    for word, count in sorted(words.items()):
        if letters.issuperset(_entries(word)):
            yield from repeat(word, count)


def _entries(word: str) -> Sequence[str]:
    return [letter if at == 0 else CONTINUED + letter for at, letter in enumerate(word)]
