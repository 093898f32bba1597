"""Scores of entities: an entity counts as found where its bounds and its type are right, all of them.

Computed by seqeval (Nakayama 2018), which counts as the CoNLL-2000 script does. It takes tags of tokens, so both
answers about a document are tagged over the pieces that their own bounds cut it into, which loses nothing.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from seqeval.metrics.v1 import precision_recall_fscore_support
from seqeval.scheme import IOB2

from discover.learn.tags import tag_names, tags_of

SCORES = ("entity_precision", "entity_recall", "entity_f1", "macro_f1", "per_class")


def scores(predicted: NDArray[np.object_], y: NDArray[np.object_], classes: Sequence[str]) -> dict[str, Any]:
    """Precision, recall and F1 over all entities of n documents; 0 where there is nothing to divide by.

    Besides `macro_f1`, the mean over the types that occur in either, and `per_class`, the same scores of each type with
    its `support`, the entities that there are.

    Args:
        predicted: n tuples of (first character, the one after the last, class index).
        y: likewise, the truth.
        classes: c names.
    """
    names = tag_names(map(str, range(len(classes))))  # seqeval would split a type's name at its hyphens
    pairs = [_tagged(one, other, names) for one, other in zip(predicted, y, strict=True)]
    found, truth = [one for one, _ in pairs], [other for _, other in pairs]
    occurring = sorted({kind for answers in (predicted, y) for one in answers for *_, kind in one})
    per_class = {name: dict.fromkeys(("precision", "recall", "f1", "support"), 0.0) for name in classes}
    if not occurring:
        return dict(zip(SCORES, (0.0, 0.0, 0.0, 0.0, per_class), strict=True))
    settings = {"scheme": IOB2, "zero_division": 0}
    precision, recall, f1, _ = precision_recall_fscore_support(truth, found, average="micro", **settings)
    each = np.array(precision_recall_fscore_support(truth, found, average=None, **settings), np.float64)
    for kind, column in zip(sorted(occurring, key=str), each.T.tolist(), strict=True):  # seqeval's order is of names
        per_class[classes[kind]] = dict(zip(("precision", "recall", "f1", "support"), column, strict=True))
    whole = (float(precision), float(recall), float(f1), float(each[2].mean()), per_class)
    return dict(zip(SCORES, whole, strict=True))


def _tagged(one: Sequence[Any], other: Sequence[Any], names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Two answers about a document as tags of the same pieces."""
    pieces = list(pairwise(sorted({bound for spans in (one, other) for span in spans for bound in span[:2]})))
    first, second = ([names[tag] for tag in tags_of(spans, pieces)[0]] for spans in (one, other))
    return first, second
