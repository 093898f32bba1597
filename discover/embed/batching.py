"""Batches of fixed shapes, so that a document's vector never depends on which others share its batch.

Matrix kernels choose their blocking by the shape of the whole batch, and with it the order of the sums. Here the shape
follows from the document alone: the padded length is a bucket of its own number of tokens, and the rows of a batch
follow from that length; dummy rows fill what is left. Every batch has something masked: attention code that looks
whether it can skip the mask then takes the same branch in all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Batch:
    """Documents that are computed together.

    Attributes:
        members: positions of the documents in the sequence that was batched; they take the first rows.
        rows: of the batch, dummies included.
        length: tokens a row, padding included.
    """

    members: list[int]
    rows: int
    length: int

    def pad(self, arrays: Sequence[NDArray], fill: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Token ids and attention mask, (rows, length) both; ``arrays`` is the whole batched sequence."""
        ids = np.full((self.rows, self.length), fill, dtype=np.int64)
        mask = np.zeros((self.rows, self.length), dtype=np.int64)
        mask[:, 0] = 1  # a row with nothing to attend to would be NaN
        for row, member in enumerate(self.members):
            tokens = arrays[member]
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        return ids, mask


def bucket(length: int) -> int:
    """The padded length of a document with ``length`` tokens: steps of 8, of 16 from 128, of 32 from 256."""
    step = 8 if length <= 128 else 16 if length <= 256 else 32
    return max(1, -(-length // step)) * step


def batches(lengths: Sequence[int], token_budget: int, limit: int | None = None) -> list[Batch]:
    """Group documents by padded length, the longest first.

    Args:
        lengths: tokens of each document.
        token_budget: tokens a batch may hold, padding included; a batch always has room for one document.
        limit: the longest row that the model can take.
    """
    groups: dict[int, list[int]] = {}
    for position, length in enumerate(lengths):
        padded = bucket(length) if limit is None else min(bucket(length), limit)
        groups.setdefault(padded, []).append(position)
    found = []
    for padded in sorted(groups, reverse=True):
        rows, waiting = max(2, token_budget // padded), groups[padded]
        while waiting:
            members, waiting = waiting[:rows], waiting[rows:]
            if len(members) == rows and all(lengths[member] == padded for member in members):
                waiting.insert(0, members.pop())  # a dummy takes its row
            found.append(Batch(members, rows, padded))
    return found
