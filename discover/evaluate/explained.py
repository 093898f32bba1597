"""Explanations as plain values: what `discover predict`, the queue and the report hold of them."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from discover.pool.document import Document
from discover.pool.labels import Labels

if TYPE_CHECKING:
    from discover.learn.explain import Explanation, Neighbour

BEGINNING = 160  # characters of a neighbour's text
AROUND = 70  # characters on both sides of a span that is a neighbour
LEVELS = 4  # of a word's strength
FAINT = 0.15  # of the strongest weight: what is weaker is not marked

Piece = tuple[str, int, bool]  # of a text: what its word did, and whether it is of the span that is explained


def plain(
    explanations: Sequence["Explanation"] | Sequence[list["Explanation"]],
    labels: Labels,
    answered: Mapping[int, Document],
) -> list[dict[str, Any]]:
    """Each as a `label` with its `probability`, `words`, and `neighbours`; of entities a list, `spans`, of such.

    A word is its first character, the one after its last, and its weight; a neighbour has `id`, `label`, `similarity`,
    and the beginning of its `text`. A span has its `start` and `end` too, and so has a neighbour of it: they count in
    the `text` beside them, which is what is around that span.

    Args:
        explanations: of n documents; of entities a list of each document's.
        labels: what their answers are.
        answered: the neighbours' documents, by row id.
    """
    return [
        {"spans": [_span(one, labels, answered) for one in each]}
        if isinstance(each, list)
        else {"label": labels.classes[each.predicted], **_reason(each, labels, answered)}
        for each in explanations
    ]


def _span(one: "Explanation", labels: Labels, answered: Mapping[int, Document]) -> dict[str, Any]:
    start, end, kind = one.predicted
    return {"start": start, "end": end, "label": labels.classes[kind], **_reason(one, labels, answered)}


def _reason(one: "Explanation", labels: Labels, answered: Mapping[int, Document]) -> dict[str, Any]:
    return {
        "probability": round(one.probability, 6),
        "words": [[word.start, word.stop, round(word.weight, 4)] for word in one.words],
        "neighbours": [
            _neighbour(near, labels, answered[near.row])
            for near in one.neighbours
            if answered[near.row].text  # else it was removed, and the model does not know yet
        ],
    }


def _neighbour(near: "Neighbour", labels: Labels, document: Document) -> dict[str, Any]:
    similarity = round(near.similarity, 4)
    if labels.task != "spans":
        label = labels.value(*labels.kept(np.array([near.answer])))
        return {"id": document.public_id, "label": label, "similarity": similarity, "text": document.text[:BEGINNING]}
    start, end, kind = near.answer
    first = max(0, start - AROUND)
    return {
        "id": document.public_id,
        "label": labels.classes[kind],
        "similarity": similarity,
        "start": start - first,
        "end": end - first,
        "text": document.text[first : end + AROUND],
    }


def shown(found: Mapping[str, Any], limit: int, multilabel: bool) -> list[dict[str, Any]]:
    """What a page shows of an explanation that has its `text`: reasons, one, or one a span.

    Each has `label`, as spoken, `pieces` of the text, and `neighbours` with `label`, `similarity` and `pieces`.

    Args:
        found: one of `plain`, and its `text`.
        limit: characters of the text, as for `pieces`.
        multilabel: whether a document may have several labels. The likeliest one is explained even where none was
            given, so its probability stands beside it.
    """
    text = found["text"]
    if "spans" not in found:
        label = f"{found['label']} ({found['probability']:.0%})" if multilabel else found["label"]
        return [_shown(found, label, pieces(text, found["words"], limit))]
    return [
        _shown(
            span,
            f"{text[span['start'] : span['end']]} ({span['label']}, {span['probability']:.0%})",
            pieces(text, span["words"], limit, (span["start"], span["end"])),
        )
        for span in found["spans"]
    ]


def _shown(reason: Mapping[str, Any], label: str, marked: list[Piece]) -> dict[str, Any]:
    neighbours = [
        {
            "label": spoken(near["label"]),
            "similarity": near["similarity"],
            "pieces": pieces(near["text"], [], len(near["text"]), (near.get("start", 0), near.get("end", 0))),
        }
        for near in reason["neighbours"]
    ]
    return {"label": label, "pieces": marked, "neighbours": neighbours}


def spoken(label: str | Sequence[str]) -> str:
    """A label, or several, as a page writes them."""
    return label if isinstance(label, str) else ", ".join(label)


def pieces(text: str, words: Sequence[Sequence[Any]], limit: int, held: tuple[int, int] = (0, 0)) -> list[Piece]:
    """The beginning of a text, or what is around a span, in pieces.

    Each has what its word did, from -LEVELS, most against, to LEVELS, most for, and whether it is of the span.

    Args:
        text: of the document.
        words: of its explanation.
        limit: characters that are shown; a marked word is not cut, and the span neither.
        held: the span's first character, and the one after its last.
    """
    strongest = max((abs(weight) for *_, weight in words), default=0.0)
    low = max(0, min(held[0], held[1] - limit // 2)) if held[1] > limit else 0
    high = min(len(text), max(low + limit, held[1]))
    levels = {}
    for start, stop, weight in words:
        share = abs(weight) / strongest if strongest else 0.0
        if low <= start and stop <= high and share >= FAINT:
            level = min(LEVELS, 1 + int(share * LEVELS))
            levels[start, stop] = level if weight > 0 else -level
    cuts = sorted({low, high, *held, *(bound for word in levels for bound in word)})
    found = [
        (text[start:stop], levels.get((start, stop), 0), held[0] <= start < held[1])
        for start, stop in pairwise(one for one in cuts if low <= one <= high)
    ]
    before, after = [("…", 0, False)] * (low > 0), [("…", 0, False)] * (high < len(text))
    return [*before, *found, *after]
