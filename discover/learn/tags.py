"""Spans of characters as tags of words, and back: the BIO scheme.

A word is outside of every span (O), begins one of some class (B-class), or goes on with it (I-class). Ramshaw & Marcus,
"Text chunking using transformation-based learning", 1995, in the form of CoNLL-2002 (IOB2). Tag 0 is O, 1 + 2 k begins
class k, and 2 + 2 k goes on with it.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from discover.pool.answers import Span
from discover.pool.spans import OUTSIDE

Place = tuple[int, int]  # of a word: first character, the one after the last
Run = tuple[int, int, int]  # the words of a span: the first, the one after the last, class index


def tag_names(classes: Iterable[str]) -> list[str]:
    """The 2 c + 1 tags of c classes, in order."""
    return [OUTSIDE, *(f"{mark}-{name}" for name in classes for mark in "BI")]


def may_follow(count: int) -> NDArray[np.bool_]:
    """(k + 1, k) whether a tag may come after another: I-x comes after B-x or I-x alone. The last row is the start.

    Args:
        count: of the tags, k.
    """
    tags = np.arange(count)
    before = np.append(tags, 0)[:, None]  # a text begins as if after O
    inside = (tags > 0) & (tags % 2 == 0)
    return ~inside | ((before + 1) // 2 == (tags + 1) // 2)


def tags_of(spans: Iterable[Span], words: Sequence[Place]) -> tuple[NDArray[np.int64], int]:
    """The tags of w words, and how many spans they do not tell as they are.

    A span has the words that it shares a character with, all of each; of two that share a word, the first has it. What
    lies beyond the last word, where a text was cut, is not told.

    Args:
        spans: of the text, in order.
        words: where they are, in order.
    """
    starts, stops = (np.array([word[side] for word in words], np.int64) for side in (0, 1))
    found, untold, free = np.zeros(len(words), np.int64), 0, 0
    for start, stop, kind in spans:
        first = max(free, int(np.searchsorted(stops, start, "right")))
        last = int(np.searchsorted(starts, stop, "left"))
        untold += first >= last or (starts[first], stops[last - 1]) != (start, stop)
        if first < last:
            found[first], found[first + 1 : last] = 1 + 2 * kind, 2 + 2 * kind
            free = last
    return found, untold


def runs_of(tags: Sequence[int] | NDArray[np.int64]) -> list[Run]:
    """The words of each span that the tags of w words tell, in order."""
    found: list[Run] = []
    for word, tag in enumerate(np.asarray(tags).tolist()):
        if tag % 2:
            found.append((word, word + 1, tag // 2))
        elif tag:
            found[-1] = (found[-1][0], word + 1, found[-1][2])
    return found


def spans_of(tags: Sequence[int] | NDArray[np.int64], words: Sequence[Place]) -> tuple[Span, ...]:
    """The spans that the tags of w words tell, in order."""
    return tuple((words[first][0], words[stop - 1][1], kind) for first, stop, kind in runs_of(tags))
