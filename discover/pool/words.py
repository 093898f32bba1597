"""Words of a text: what an answer costs by, and where a word ends, whatever a tokenizer thinks.

Most scripts part words by blanks. Chinese, Japanese, Thai, Lao, Khmer, Burmese and Tibetan do not: there each character
counts as a word, as word processors have it. Which word goes with which is a matter of dictionaries, and left out.
"""

import re
import unicodedata

UNSPACED = (  # blocks of scripts without blanks between words
    "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\ua9e0-\ua9ff\uaa60-\uaa7f"  # Thai, Lao, Tibetan; Burmese; Khmer
    "\u2e80-\u2fdf\u3005-\u3007\u3040-\u312f\u31a0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f"
    "\U0001b000-\U0001b16f\U00020000-\U0003ffff"  # kana and Chinese characters, here and in the line above
)
_WORD = re.compile(rf"[{UNSPACED}]|[^\s{UNSPACED}]+")
_ALONE = re.compile(f"[{UNSPACED}]")


def count_words(text: str) -> int:
    """How many words a text has: what stands between blanks; of scripts without blanks each character."""
    return len(_WORD.findall(text))


def parts(before: str, after: str) -> bool:
    """Whether a word ends between two characters: unless both are letters or digits of a script with blanks."""
    return not _is_mark(after) and not (_joins(before) and _joins(after))


def with_marks(text: str, stop: int) -> int:
    """A stop after the accents and vowel signs that follow it: they go on with the character before."""
    while stop < len(text) and _is_mark(text[stop]):
        stop += 1
    return stop


def whole_word(text: str, stop: int) -> int:
    """A stop in the middle of a word, moved to the end of it."""
    while stop < len(text) and not parts(text[stop - 1], text[stop]):
        stop += 1
    return stop


def _joins(character: str) -> bool:
    return (character.isalnum() or _is_mark(character)) and not _ALONE.match(character)


def _is_mark(character: str) -> bool:
    return unicodedata.category(character)[0] == "M"
