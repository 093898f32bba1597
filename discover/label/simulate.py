"""A simulated annotator at work: it claims and answers through the queue, as a person does."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

from discover.label.queue import Queue
from discover.pool.document import Document

ANNOTATOR = "simulated"
AT_A_TIME = 100


class Oracle(Protocol):
    """What a file in `label/oracles` offers."""

    def answer(self, documents: Sequence[Document]) -> list[Any]:
        """One answer a document, in order, as a file would give it: a label, or several in a list; None skips it."""


def answer_open(queue: Queue, arm: str, oracle: Oracle) -> Counter[str]:
    """Answer every open question of an arm that nobody else holds; a killed call goes on where it stopped.

    Returns:
        How many were "answered" and how many "skipped".

    Raises:
        DiscoverError: the oracle's answer is none that the queue accepts.
    """
    counts: Counter[str] = Counter()
    while questions := queue.claim(arm, ANNOTATOR, AT_A_TIME):
        said = oracle.answer([question.document for question in questions])
        for question, label in zip(questions, map(queue.accepted.read, said), strict=True):
            if label is None:
                queue.skip(question.slot, question.token, ANNOTATOR)
            else:
                queue.answer(question.slot, question.token, ANNOTATOR, label)
            counts["skipped" if label is None else "answered"] += 1
    return counts
