"""Near-duplicates by MinHash: word shingles, signatures, bands (Broder 1997).

Two documents whose shingle sets have Jaccard similarity J agree in one band with probability J^6, and in at least one
of 20 bands with probability 1 - (1 - J^6)^20: 0.998 at J = 0.8, 0.27 at J = 0.5. What the bands let through is judged
by its exact Jaccard similarity, so the signature decides only what is looked at.
"""

import re
import unicodedata
from collections.abc import Sequence
from itertools import groupby

import numpy as np
from datasketch import MinHash
from numpy.typing import NDArray

from discover.pool.words import UNSPACED

SHINGLE_WORDS = 3
BANDS = 20
ROWS = 6
BLOCK = 4096


def _ranges(*categories: str, but: str) -> str:
    """Characters of some categories as a set in a regular expression has them: of those beyond ASCII, before U+10000.

    Where a set goes beyond, each range costs a comparison at each blank.
    """
    of = (code for code in range(0x80, 0x10000) if unicodedata.category(chr(code)) in categories)
    found = [code for code in of if not re.match(f"[{but}]", chr(code))]
    runs = ([code for _, code in run] for _, run in groupby(enumerate(found), lambda one: one[1] - one[0]))
    return "".join(rf"\u{run[0]:04x}-\u{run[-1]:04x}" for run in runs)


# Vowel signs and tones are of their word, though to Python they are no letters. Emoji (but for the colour of a skin),
# currencies and signs of arithmetic say something, as do the signs of C++, C# and -5: each is a word. Punctuation is
# none, nor are the signs that quote, rule, tag and part (< = > | ~, wide ones too, arrows, boxes, bullets, © ® ™).
_MARKS = _ranges("Mn", "Mc", but="\ufe00-\ufe0f")
_PARTING = "¦©®™\u2190-\u21ff\u2500-\u25ff\uff1c-\uff1e\uff5c\uff5e\ufffd"
_SIGNS = "$" + _ranges("Sc", "Sm", "So", but=_PARTING) + "\U0001f000-\U0001f3fa\U0001f400-\U0001faff"
_WORD = re.compile(
    rf"[^\W{UNSPACED}]+(?:[{_MARKS}]+[^\W{UNSPACED}]*)*|[{UNSPACED}{_SIGNS}]|(?<=\w)[#+]+|-(?=\d)(?<![\w)]-)"
)
_BLANK = MinHash(num_perm=BANDS * ROWS, seed=1)


def shingles(text: str) -> frozenset[str]:
    """The distinct runs of three words or signs, in lower case, without punctuation; a shorter text is one shingle."""
    words = _WORD.findall(text.lower())
    if not words:
        return frozenset([text])
    last = max(1, len(words) - SHINGLE_WORDS + 1)
    return frozenset(" ".join(words[start : start + SHINGLE_WORDS]) for start in range(last))


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    """Size of the intersection over size of the union."""
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared)


def signature(text: str) -> NDArray[np.uint32]:
    """(BANDS * ROWS,) minima of the shingles' hashes under as many permutations."""
    sketch = _BLANK.copy()
    encoded = [shingle.encode("utf-8", "replace") for shingle in shingles(text)]
    for start in range(0, len(encoded), BLOCK):  # the work space is BLOCK x permutations, also for a book
        sketch.update_batch(encoded[start : start + BLOCK])
    return np.asarray(sketch.hashvalues, np.uint32)


def bands(texts: Sequence[str]) -> NDArray[np.int64]:
    """(n, BANDS) hashes: near-duplicates very likely agree in at least one column; columns never agree by position."""
    if not texts:
        return np.zeros((0, BANDS), np.int64)
    rows = np.stack([signature(text) for text in texts]).reshape(len(texts), BANDS, ROWS).astype(np.uint64)
    mixed = np.broadcast_to(np.arange(1, BANDS + 1, dtype=np.uint64), (len(texts), BANDS)).copy()
    for row in range(ROWS):  # multiply and shift, as in the finalisers of MurmurHash and splitmix64
        mixed = (mixed ^ rows[:, :, row]) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    return mixed.view(np.int64)


# What is really computed here of several scripts and of signs names the scheme: bands of another one are never compared
# with these.
_TRIED = "the quick brown fox 北京 ジョン กิน कूल c++ c# -5 € 😀"
SCHEME = f"{SHINGLE_WORDS}w-{BANDS}x{ROWS}-{int(bands([_TRIED])[0].sum()) % 2**32:08x}"
