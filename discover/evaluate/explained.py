"""Explanations as plain values: what `discover predict`, the queue and the report hold of them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from discover.pool.document import Document
from discover.pool.labels import Labels

if TYPE_CHECKING:
    from discover.learn.explain import Explanation

BEGINNING = 160  # characters of a neighbour's text
LEVELS = 4  # of a word's strength
FAINT = 0.15  # of the strongest weight: what is weaker is not marked


def plain(
    explanations: Sequence["Explanation"], labels: Labels, answered: Mapping[int, Document]
) -> list[dict[str, Any]]:
    """Each as a `label` with its `probability`, `words`, and `neighbours`.

    A word is its first character, the one after its last, and its weight; a neighbour has `id`, `label`, `similarity`,
    and the beginning of its `text`.

    Args:
        explanations: of n documents.
        labels: what their answers are.
        answered: the neighbours' documents, by row id.
    """
    return [
        {
            "label": labels.classes[one.predicted],
            "probability": round(one.probability, 6),
            "words": [[word.start, word.stop, round(word.weight, 4)] for word in one.words],
            "neighbours": [
                {
                    "id": answered[near.row].public_id,
                    "label": labels.value(*labels.kept(np.array([near.answer]))),
                    "similarity": round(near.similarity, 4),
                    "text": answered[near.row].text[:BEGINNING],
                }
                for near in one.neighbours
                if answered[near.row].text  # else it was removed, and the model does not know yet
            ],
        }
        for one in explanations
    ]


def shown(found: Mapping[str, Any], limit: int, multilabel: bool) -> dict[str, Any]:
    """What a page shows of an explanation that has its `text`: `label`, `pieces`, and `neighbours`, labels as spoken.

    Args:
        found: one of `plain`, and its `text`.
        limit: characters of the text, as for `pieces`.
        multilabel: whether a document may have several labels. The likeliest one is explained even where none was
            given, so its probability stands beside it.
    """
    return {
        "label": f"{found['label']} ({found['probability']:.0%})" if multilabel else found["label"],
        "pieces": pieces(found["text"], found["words"], limit),
        "neighbours": [{**near, "label": spoken(near["label"])} for near in found["neighbours"]],
    }


def spoken(label: str | Sequence[str]) -> str:
    """A label, or several, as a page writes them."""
    return label if isinstance(label, str) else ", ".join(label)


def pieces(text: str, words: Sequence[Sequence[Any]], limit: int) -> list[tuple[str, int]]:
    """The beginning of a text in pieces, each with what its word did: from -LEVELS, most against, to LEVELS, most for.

    Args:
        text: of the document.
        words: of its explanation.
        limit: characters that are shown; a word is not cut.
    """
    strongest = max((abs(weight) for *_, weight in words), default=0.0)
    found: list[tuple[str, int]] = []
    at = 0
    for start, stop, weight in words:
        if stop > limit:
            break
        share = abs(weight) / strongest if strongest else 0.0
        if share >= FAINT:
            level = min(LEVELS, 1 + int(share * LEVELS))
            found += [(text[at:start], 0), (text[start:stop], level if weight > 0 else -level)]
            at = stop
    rest = text[at : max(at, limit)]
    found.append((rest + "…" if at + len(rest) < len(text) else rest, 0))
    return [piece for piece in found if piece[0]]
