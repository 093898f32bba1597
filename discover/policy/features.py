"""What a policy sees: of each candidate how it ranks among the others, of the campaign how far it is. No raw vectors.

Nothing here tells one corpus from another, so a policy learned on some can be used on any (Konyushkova, Sznitman & Fua
2018, https://arxiv.org/abs/1810.04114). All of it lies in [0, 1]. Environments and the real loop fill the same columns;
what they are called is the schema that a trained policy is saved with. Leading dimensions are free: one set of k
candidates, or one a parallel episode.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from discover.policy import ridge

Floats = NDArray[np.float64]

RANKED = (  # the rank among the candidates enters
    "margin",  # 1 - (largest - second probability)
    "entropy",  # over that of a uniform guess
    "doubt",  # 1 - largest probability
    "disagreement",  # probability of the model's class less that of the one with the nearest mean
    "leverage",  # what a label may do: see ridge.prospects
    "reach",
    "change",
    "gain",
    "upside",
    "density",  # mean cosine to the nearest others
    "labelled",  # cosine to the nearest labelled document
    "crowd",  # 1 / (1 + labels in its cluster)
    "rarity",  # 1 - share of the labels, over the classes that it may have
    "age",  # rounds since it was found
    "cost",  # of an answer
    "batch",  # cosine to the nearest pick of this batch; last, it alone changes within a batch
)
VALUED = ("margin", "entropy", "doubt", "disagreement", "labelled", "crowd", "rarity", "batch")  # its value enters too
GENERATORS = ("uniform", "neighbours", "uncertain", "newest")  # what drew it: a 1 in its column
STATE = (
    "left",  # share of the budget
    "labels",  # how many, log10(1 + m) / 5
    "classes",  # seen, log10(c) / 3
    "balance",  # entropy of the labels over that of even ones
    "sure_low",  # first decile of the largest probability, of a uniform sample
    "sure",  # median
    "sure_high",  # last decile
    "validated",  # leave-one-out accuracy of the ridge head
)
NAMES = (
    *(f"{name}_rank" for name in RANKED),
    *VALUED,
    *(f"from_{name}" for name in GENERATORS),
)
DIGITS = 9  # of a rarity: what lies beyond is rounding
_BATCH = RANKED.index("batch")
_VALUED = [RANKED.index(name) for name in VALUED]


def schema() -> dict[str, list[str]]:
    """The names of the columns: of a candidate (f), and of the state (g)."""
    return {"candidate": list(NAMES), "state": list(STATE)}


def columns(raw: Mapping[str, Floats], generator: NDArray[np.str_], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Features of candidates, (…, k, f), from their raw columns.

    Args:
        raw: (…, k) for each name of `RANKED`.
        generator: (…, k) or (k,), what drew each.
        valid: (…, k), False for empty places, whose features are 0.
    """
    values = np.stack(np.broadcast_arrays(*(raw[name] for name in RANKED)), axis=-1)
    sources = np.stack([np.broadcast_to(generator == name, valid.shape) for name in GENERATORS], axis=-1)
    found = np.concatenate([ranks(values, valid), np.clip(values[..., _VALUED], 0, 1), sources], axis=-1)
    return np.where(valid[..., None], found, 0).astype(np.float32)


def renew_batch(found: NDArray[np.float32], batch: Floats, valid: NDArray[np.bool_]) -> None:
    """Put new similarities to this batch's picks, (…, k), in the place of the old ones, and empty what is not valid."""
    found[..., _BATCH] = ranks(batch[..., None], valid)[..., 0]
    found[..., len(RANKED) + len(VALUED) - 1] = np.clip(batch, 0, 1)
    found[~valid] = 0


def ranks(values: Floats, valid: NDArray[np.bool_]) -> Floats:
    """Ranks from 0 to 1 along the candidates, of (…, k, r); ties share the mean, a lone one has 1/2."""
    # The infinite ones come last, so they do not move the ranks of the others.
    rows = np.ascontiguousarray(np.swapaxes(np.where(valid[..., None], values, np.inf), -1, -2))
    k = rows.shape[-1]
    lists = rows.reshape(-1, k)
    order = (np.argsort(lists, axis=-1) + k * np.arange(len(lists))[:, None]).ravel()
    ordered = lists.ravel()[order].reshape(lists.shape)
    begins = np.ones(lists.shape, bool)  # of each list, and there of each run of ties
    np.not_equal(ordered[:, 1:], ordered[:, :-1], out=begins[:, 1:])
    starts = np.flatnonzero(begins)
    ties = np.diff(starts, append=len(order))
    found = np.empty(len(order))
    found[order] = np.repeat(starts % k + (ties - 1) / 2, ties)
    found = np.swapaxes(found.reshape(rows.shape), -1, -2)
    count = valid.sum(axis=-1)[..., None, None]
    return np.where(count > 1, found / np.maximum(count - 1, 1), 0.5)


def uncertainty(likely: Floats) -> dict[str, Floats]:
    """Margin, entropy and doubt, (…, k) each, of class probabilities (…, k, c); with one class alone all are 1."""
    if likely.shape[-1] < 2:
        return {name: np.ones(likely.shape[:-1]) for name in ("margin", "entropy", "doubt")}
    count = np.maximum((likely > 0).sum(axis=-1), 2)
    entropy = -(likely * np.log(np.maximum(likely, 1e-300))).sum(axis=-1) / np.log(count)
    return {"margin": margin(likely), "entropy": entropy, "doubt": 1 - ridge.largest(likely)}


def margin(likely: Floats) -> Floats:
    """(…, k) one less what the likeliest of (…, k, c) is ahead of the next, which is 0 where there is none."""
    first, second = likely[..., 0], np.zeros(likely.shape[:-1], likely.dtype)
    for one in np.moveaxis(likely[..., 1:], -1, 0):
        second = np.maximum(second, np.minimum(first, one))
        first = np.maximum(first, one)
    return 1 - (first - second)


def disagreement(likely: Floats, vectors: NDArray, means: Floats, seen: NDArray[np.bool_]) -> Floats:
    """(…, k) how much less likely the class with the nearest mean is than the most likely one.

    Args:
        likely: (…, k, c) class probabilities.
        vectors: (…, k, d).
        means: (…, c, d) mean vectors of the labelled documents of each class.
        seen: (…, c), the classes that have one.
    """
    lengths = np.linalg.norm(means, axis=-1)
    near = np.matmul(vectors, np.swapaxes(means, -1, -2)) / np.maximum(lengths, 1e-12)[..., None, :]
    nearest = np.where(seen[..., None, :], near, -np.inf).argmax(axis=-1)
    return ridge.largest(likely) - np.take_along_axis(likely, nearest[..., None], axis=-1)[..., 0]


def rarity(likely: Floats, counts: NDArray[np.int64]) -> Floats:
    """(…, k) one less the share that a candidate's likely classes have of the labels, which are (…, c) counts."""
    share = counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1)
    # Where all classes have equally many labels, ranks would tell rounding errors apart.
    return np.round(1 - np.matmul(likely, share[..., None])[..., 0], DIGITS)


def crowd(labels_there: NDArray[np.int64]) -> Floats:
    """(…, k) of how many labels each candidate's cluster has."""
    return 1 / (1 + labels_there)


def similarity(vectors: NDArray, others: NDArray) -> Floats:
    """(…, k) largest product of (…, k, d) vectors and (…, m, d) others, of unit ones the cosine; 0 if less or none."""
    if others.shape[-2] == 0:
        return np.zeros(vectors.shape[:-1])
    return np.maximum(np.matmul(others, np.swapaxes(vectors, -1, -2)).max(axis=-2), 0)


def unit(vectors: NDArray) -> NDArray:
    """(…, d) vectors of length one, without the constant last component; what is zero stays zero."""
    return vectors[..., :-1] / lengths(vectors)[..., None]


def lengths(vectors: NDArray) -> NDArray:
    """(…) of (…, d) vectors without their constant last component; none is zero."""
    return np.maximum(np.linalg.norm(vectors[..., :-1], axis=-1), 1e-12)


def state(left: Floats, counts: NDArray[np.int64], sure: Floats, validated: Floats) -> NDArray[np.float32]:
    """The state, (…, g).

    Args:
        left: (…) share of the budget.
        counts: (…, c) labels of each class.
        sure: (…, s) largest probabilities of a uniform sample.
        validated: (…) leave-one-out accuracy.
    """
    total = counts.sum(axis=-1)
    share = counts / np.maximum(total, 1)[..., None]
    seen = (counts > 0).sum(axis=-1)
    entropy = -(share * np.log(np.maximum(share, 1e-300))).sum(axis=-1) / np.log(np.maximum(seen, 2))
    low, middle, high = _quantiles(sure, (0.1, 0.5, 0.9))
    parts = (left, np.log10(1 + total) / 5, np.log10(np.maximum(seen, 1)) / 3, entropy, low, middle, high, validated)
    return np.clip(np.stack(np.broadcast_arrays(*parts), axis=-1), 0, 1).astype(np.float32)


def _quantiles(values: NDArray, wanted: tuple[float, ...]) -> list[NDArray]:
    """(…) each, of (…, s), linear between the two nearest; `np.quantile` takes ten times as long over short lists."""
    ordered = np.sort(values, axis=-1)
    last = values.shape[-1] - 1
    found = []
    for share in wanted:
        below, beyond = divmod(share * last, 1)
        low, high = ordered[..., int(below)], ordered[..., min(int(below) + 1, last)]
        found.append(low + beyond * (high - low))
    return found
