"""Spans of a text, as files write them: checked, and carried through cleaning.

A span counts characters (code points) of the text as it was written, its end excluded; what is kept counts those of the
cleaned text. Cleaning drops and joins characters, so each bound goes through it between its neighbours, and one that
falls inside of what cleaning changes has no place in the result: it is refused, never shifted.
"""

import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import accumulate, chain, pairwise
from typing import Any

from discover.errors import DiscoverError
from discover.pool.document import clean

OUTSIDE = "O"  # the tag of what is in no entity
KEYS = ("start", "end", "label")
PRIVATE = (range(0xE000, 0xF900), range(0xF0000, 0xFFFFE))  # characters that no standard gives a meaning
SHOWN = 60  # characters of what a message quotes

Span = tuple[int, int, Any]


def placed(value: Any, text: str) -> list[Span]:
    """The spans that are said of a text, by their start: first character, the one after the last, label as written.

    Args:
        value: a list of objects with `start`, `end` and `label`, or of these three in a list, as doccano exports them;
            where one has a `text`, it must be the span's.
        text: what they count in; the result counts in `clean(text)`.

    Raises:
        DiscoverError: one is no span of the text, or two overlap.
    """
    if not isinstance(value, list | tuple):
        raise DiscoverError(f"label is not a list of spans: {type(value).__name__}")
    found = sorted((_span(one, text) for one in value), key=lambda span: span[:2])
    for before, after in pairwise(found):
        if after[0] < before[1]:
            raise DiscoverError(f"spans overlap: {_quoted(text, *before[:2])} and {_quoted(text, *after[:2])}")
    cleaned = clean(text)
    if cleaned == text or not found:
        return found
    bounds = _carried(text, cleaned, found)
    moved = [(*bound, span[2]) for bound, span in zip(bounds, found, strict=True)]
    for start, end, _ in moved:
        _check(cleaned, start, end)
    return moved


def joined(tokens: Any, tags: Any) -> tuple[str, list[dict[str, Any]] | None]:
    """A text out of tokens with a space between them, and its spans out of their BIO tags; none where tags are None.

    An I after O, or after another type, begins an entity, as in the evaluation of CoNLL-2000 (`conlleval`); so files
    with tags of the older kind, where B only parts two neighbours, are read as they are meant.

    Args:
        tokens: a list of text, or that as JSON.
        tags: the same: `O`, or `B-` or `I-` and a type.

    Raises:
        DiscoverError: they are no such lists, or not equally long.
    """
    words = _listed(tokens, "tokens")
    found: list[dict[str, Any]] = []
    if tags is None or tags == "":
        return " ".join(words), None
    said, at = _listed(tags, "tags"), 0
    if len(said) != len(words):
        raise DiscoverError(f"tokens and tags differ in length: {len(words)} and {len(said)}")
    for word, tag in zip(words, said, strict=True):
        kind, _, name = tag.partition("-")
        if tag != OUTSIDE and (kind not in ("B", "I") or not name):
            raise DiscoverError(f"tag is none of B-x, I-x and O: {tag!r:.60}")
        goes_on = kind == "I" and found and found[-1]["label"] == name and found[-1]["end"] == at - 1
        if goes_on:
            found[-1]["end"] = at + len(word)
        elif tag != OUTSIDE:
            found.append({"start": at, "end": at + len(word), "label": name})
        at += len(word) + 1
    return " ".join(words), found


def pieces(text: str, spans: Sequence[Mapping[str, Any]], limit: int) -> list[tuple[str, str]]:
    """The beginning of a text in pieces, each with the type of its entity, or nothing.

    Args:
        text: cleaned.
        spans: of an answer as files write it.
        limit: characters that are shown; an entity is not cut.
    """
    found: list[tuple[str, str]] = []
    at = 0
    for span in spans:
        if span["end"] > limit:
            break
        found += [(text[at : span["start"]], ""), (text[span["start"] : span["end"]], span["label"])]
        at = span["end"]
    rest = text[at : max(at, limit)]
    found.append((rest + "…" if at + len(rest) < len(text) else rest, ""))
    return [piece for piece in found if piece[0]]


def is_tag(name: str) -> bool:
    """Whether a name is a BIO tag and not the type of an entity."""
    return name == OUTSIDE or name.startswith(("B-", "I-"))


def _span(one: Any, text: str) -> Span:
    if isinstance(one, list | tuple) and len(one) == len(KEYS):
        one = dict(zip(KEYS, one, strict=True))
    if not isinstance(one, dict) or any(key not in one for key in KEYS):
        raise DiscoverError(f"span lacks start, end or label: {one!r:.80}")
    start, end = one["start"], one["end"]
    for bound in (start, end):
        if type(bound) is not int:  # True is an int to Python
            raise DiscoverError(f"span bound is no whole number: {bound!r:.40}")
    if end < start:
        raise DiscoverError(f"span ends before it begins: {start} to {end}")
    if start < 0 or end > len(text):
        raise DiscoverError(f"span out of range: {start} to {end}, the text has {len(text)} characters")
    _check(text, start, end)
    if one.get("text") not in (None, text[start:end]):
        raise DiscoverError(
            f"span does not hold its text: {_quoted(text, start, end)} is said to be {one['text']!r:.60}; "
            "start and end count characters, not bytes or UTF-16 units"
        )
    return start, end, one["label"]


def _check(text: str, start: int, end: int) -> None:
    held = text[start:end]
    if not held:
        raise DiscoverError(f"empty span: {start} to {end}")
    if held.isspace():
        raise DiscoverError(f"span of blanks: {start} to {end}")
    if held[0].isspace() or held[-1].isspace():
        raise DiscoverError(f"span has a blank at its edge: {_quoted(text, start, end)}")


def _carried(text: str, cleaned: str, spans: Sequence[Span]) -> list[tuple[int, int]]:
    """Where the bounds of spans are in the cleaned text."""
    written = [bound for span in spans for bound in span[:2]]
    bounds = _bounds(text, cleaned, written)
    if bounds is None:  # the first that cannot be carried is the last of the shortest row that cannot
        rows = range(1, len(spans) + 1)
        lost = spans[bisect_left(rows, True, key=lambda n: _bounds(text, cleaned, written[: 2 * n]) is None)]
        raise DiscoverError(
            f"span is cut by cleaning: {_quoted(text, *lost[:2])} begins or ends inside of what becomes one "
            "character, or none"
        )
    return list(zip(bounds[::2], bounds[1::2], strict=True))


def _bounds(text: str, cleaned: str, bounds: Sequence[int]) -> list[int] | None:
    """Bounds, in ascending order, after cleaning: a mark put at each must change nothing else."""
    mark = next((one for one in map(chr, chain(*PRIVATE)) if one not in text), chr(PRIVATE[0][0]))
    parts = clean(mark.join(text[a:b] for a, b in pairwise([0, *bounds, len(text)]))).split(mark)
    if len(parts) != len(bounds) + 1 or "".join(parts) != cleaned:
        return None
    return list(accumulate(map(len, parts[:-1])))


def _listed(value: Any, name: str) -> list[str]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise DiscoverError(f"{name} are not a JSON list: {error}") from error
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise DiscoverError(f"{name} are not a list of text: {value!r:.60}")
    return value


def _quoted(text: str, start: int, end: int) -> str:
    held = text[start:end]
    return f"{held if len(held) <= SHOWN else held[:SHOWN] + '…'!r} ({start} to {end})"
