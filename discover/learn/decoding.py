"""The likeliest tags of a sentence, how likely they are, and how likely the second likeliest are.

The probability of a sequence of tags is exp(sum of its tags' logits) over the same of all sequences that `may_follow`
allows: a linear-chain model whose transitions are 0 or forbidden. Viterbi's algorithm finds the best one, its list form
(Seshadri & Sundberg, "List Viterbi decoding algorithms", 1994) the score of the second, and the forward algorithm the
sum. A span has the probability of all sequences with it, by two forward sums: over these, and over all others. Shapes:
n documents, w words of one, k tags.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logsumexp

from discover.learn.tags import Run, may_follow

TOGETHER = 256  # documents of about the same length that are decoded at a time
FORBIDDEN = -1e30  # score of what cannot be, where gradients are taken: those of -inf are not numbers

Floats = NDArray[np.float64]
Logits = Sequence[Floats]  # (w, k) of each document


class Decoded(NamedTuple):
    """What was found.

    Attributes:
        tags: (w,) of each of n documents, the likeliest.
        likely: (n, 2) log-probabilities of the best and the second best sequence; of a text without words 0 and -inf.
    """

    tags: list[NDArray[np.int64]]
    likely: Floats


def decode(logits: Logits) -> Decoded:
    """The best tags, and the log-probabilities of the best and the second best."""
    tags: list[NDArray[np.int64]] = [np.empty(0, np.int64)] * len(logits)
    likely = np.tile([0.0, -np.inf], (len(logits), 1))
    for members, padded, lengths in _batches(logits):
        paths, scores = _viterbi(padded, lengths)
        likely[members] = scores - _log_sums(padded, lengths)[:, None]
        for member, path, length in zip(members.tolist(), paths, lengths.tolist(), strict=True):
            tags[member] = path[:length]
    return Decoded(tags, likely)


def log_likelihoods(logits: Logits, tags: Sequence[NDArray[np.int64]]) -> Floats:
    """(n,) log-probability of given tags, (w,) of each document, which must be allowed."""
    found = np.array([one[np.arange(len(one)), own].sum() for one, own in zip(logits, tags, strict=True)], np.float64)
    for members, padded, lengths in _batches(logits):
        found[members] -= _log_sums(padded, lengths)
    return found


def span_log_odds(logits: torch.Tensor, run: Run) -> torch.Tensor:
    """(n,) log-odds, log(p / (1 - p)), of an answer with exactly this span: with its words, no word more, in its class.

    What the other words are does not matter. Both sums are of what they say, neither is 1 less the other, so that the
    log-odds are exact however close to 1 the probability is; and differentiable.

    Args:
        logits: (n, w, k) of n readings of one text, divided by the temperature, in float64.
        run: the words.
    """
    k = logits.shape[2]
    after, start = (torch.from_numpy(one).clamp(min=FORBIDDEN).to(logits.device) for one in _transitions(k))
    fits = torch.from_numpy(_that_fit(run, logits.shape[1], k)).to(logits.device)

    def reached(sums: torch.Tensor) -> torch.Tensor:
        return (sums[:, :, None] + after).logsumexp(1)

    begun = logits[:, 0] + start
    with_it, without = begun.masked_fill(~fits[0], FORBIDDEN), begun.masked_fill(fits[0], FORBIDDEN)
    for word in range(1, logits.shape[1]):
        on, off = reached(with_it), reached(without)
        lost = on.masked_fill(fits[word], FORBIDDEN)
        with_it = on.masked_fill(~fits[word], FORBIDDEN) + logits[:, word]
        without = torch.logaddexp(off, lost) + logits[:, word]
    return with_it.logsumexp(1) - without.logsumexp(1)


def _that_fit(run: Run, words: int, k: int) -> NDArray[np.bool_]:
    """(w, k) whether a word's tag agrees with a span: of its own words one tag does, of the next all that end it."""
    first, stop, kind = run
    fits = np.ones((words, k), bool)
    fits[first:stop] = False
    fits[first, 1 + 2 * kind] = True
    fits[first + 1 : stop, 2 + 2 * kind] = True
    fits[stop : stop + 1, 2 + 2 * kind] = False
    return fits


def _batches(logits: Logits) -> Iterator[tuple[NDArray[np.int64], Floats, NDArray[np.int64]]]:
    """Positions of documents with words, their logits padded (b, t, k), and how many words they have (b,)."""
    lengths = np.array([len(one) for one in logits], np.int64)
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] > 0]
    for start in range(0, len(order), TOGETHER):
        members = order[start : start + TOGETHER]
        padded = np.zeros((len(members), lengths[members[-1]], logits[members[0]].shape[1]))
        for row, member in enumerate(members.tolist()):
            padded[row, : lengths[member]] = logits[member]
        yield members, padded, lengths[members]


def _transitions(k: int) -> tuple[Floats, Floats]:
    """Scores (k, k) of a tag after another, and (k,) of a first one: 0, or -inf."""
    scores = np.where(may_follow(k), 0.0, -np.inf)
    return scores[:-1], scores[-1]


def _viterbi(padded: Floats, lengths: NDArray[np.int64]) -> tuple[NDArray[np.int64], Floats]:
    """The best paths (b, t), and the scores of the two best (b, 2)."""
    b, t, k = padded.shape
    after, first = _transitions(k)
    two = np.full((b, 2, k), -np.inf)  # the scores of the two best paths that end in each tag
    two[:, 0] = padded[:, 0] + first
    came = np.zeros((b, t, k), np.int64)  # by which tag the best of them came
    came[:, 0] = np.arange(k)
    for word in range(1, t):
        reached = (two[..., None] + after).reshape(b, 2 * k, k)
        from_ = reached.argmax(axis=1)
        best = np.take_along_axis(reached, from_[:, None], axis=1)
        np.put_along_axis(reached, from_[:, None], -np.inf, axis=1)
        new = np.concatenate([best, reached.max(axis=1, keepdims=True)], axis=1) + padded[:, word, None]
        goes_on = word < lengths
        two = np.where(goes_on[:, None, None], new, two)
        came[:, word] = np.where(goes_on[:, None], from_, np.arange(k))  # of an ended one: the tag itself
    last = two[:, 0].argmax(axis=1)
    paths = np.empty((b, t), np.int64)
    for word in range(t - 1, -1, -1):
        paths[:, word] = last
        last = came[np.arange(b), word, last]
    return paths, -np.sort(-two.reshape(b, 2 * k), axis=1)[:, :2]


def _log_sums(padded: Floats, lengths: NDArray[np.int64]) -> Floats:
    """(b,) log of the sum over all paths of exp(score)."""
    after, first = _transitions(padded.shape[2])
    sums = padded[:, 0] + first
    with np.errstate(divide="ignore"):
        for word in range(1, padded.shape[1]):
            top = sums.max(axis=1, keepdims=True)
            # No matrix product: its last bits would depend on how many documents there are.
            reached = (np.exp(sums - top)[:, :, None] * np.exp(after)).sum(axis=1)
            new = np.log(reached) + top + padded[:, word]
            sums = np.where((word < lengths)[:, None], new, sums)
    return np.asarray(logsumexp(sums, axis=1), np.float64)
