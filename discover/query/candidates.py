"""Candidates: the few thousand documents that a round looks at, so that its cost does not grow with the pool.

Neighbours of what is labelled, of each class alike (as in SEALS, Coleman et al. 2022,
https://arxiv.org/abs/2007.00077), the most uncertain of the last round, the newest, and a uniform share, which keeps
every document reachable. Chance is a hash of public id and seed: the same documents give the same draw in whatever
order a crawl found them.
"""

import hashlib
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from discover.embed.index import Index
from discover.embed.vectors import VectorStore
from discover.query import uncertainty
from discover.query.config import CandidateConfig
from discover.query.view import View

CROWD = 5000  # documents drawn uniformly, by which strategies tell how crowded it is somewhere (runs/LOG.md)
ANCHORS = 16  # labelled documents whose neighbours are looked up; an exact search costs the same for each
ALIKE = 16  # neighbours that are looked up beyond those wanted: some may be as near as the last of these
SLACK = 6  # standard deviations
DIGITS = 5  # of similarity: beyond them lies rounding noise, which must not order anything
BLOCK = 65_536  # keys hashed at a time: what comes between stays in the cache, which halves the time

Positions = NDArray[np.int64]  # rows of the vector store; they stay inside this module
Ids = Collection[int] | NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Candidates:
    """What was drawn, in the order of public ids.

    Attributes:
        ids: (n,) int64 row ids, each once.
        generator: (n,) str: uniform, neighbours, uncertain, newest; or filled, where those overlapped and left room.
        crowd: (r,) row ids of a uniform draw from all that is not excluded, the candidates marked ``uniform`` first.
    """

    ids: NDArray[np.int64]
    generator: NDArray[np.str_]
    crowd: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)


def draw(
    index: Index,
    *,
    excluded: Ids,
    labelled: Sequence[int] | NDArray[np.int64],
    uncertain: Sequence[int] | NDArray[np.int64],
    config: CandidateConfig,
    seed: int,
    classes: Sequence[int] | NDArray[np.int64] | None = None,
) -> Candidates:
    """Draw candidates for one round.

    Those marked ``uniform`` are an exact uniform draw without replacement from all that is not excluded: their number
    does not depend on the draw, and a document that another share would have taken as well is marked ``uniform``.

    Args:
        index: what is embedded.
        excluded: row ids that must not be asked: asked before, held out, in this round's audit sample; what the store
            has lost never is.
        labelled: row ids, the newest first.
        uncertain: row ids, the most uncertain first; those no longer embedded or now excluded are passed over.
        config: how many, and the shares. What a share cannot fill goes to the uniform one.
        seed: of this round.
        classes: class indices of what is labelled, aligned with it; None: all alike.

    Returns:
        As many as `config.count`, or all that is not excluded.
    """
    store = index.store
    barred = _barred(store, excluded)
    order = _uniform_order(store, barred, max(config.count, CROWD), seed)
    alike = np.zeros(len(labelled), np.int64)
    sources = {
        "neighbours": _neighbours(index, _array(labelled), alike if classes is None else _array(classes), config, seed),
        "uncertain": _positions(store, _array(uncertain)),
        "newest": np.arange(len(store) - 1, max(-1, len(store) - 1 - 2 * config.count - len(barred)), -1),
    }
    lists = {name: _allowed(store, found, barred).tolist() for name, found in sources.items()}
    wanted = {name: int(getattr(config, name) * config.count) for name in lists}
    # How many the uniform share owes is settled before it is drawn; otherwise the draw would not be uniform.
    owed = config.count - len(_take(lists, wanted, {}))
    taken = _take(lists, wanted, dict.fromkeys(order[:owed].tolist(), "uniform"))
    for position in order[owed:].tolist():
        if len(taken) >= config.count:
            break
        taken.setdefault(position, "filled")
    positions = np.fromiter(taken, np.int64, len(taken))
    by_key = np.argsort(np.asarray(store.keys)[positions], kind="stable")
    ids, generator = np.asarray(store.ids), np.array(list(taken.values()), np.str_)
    return Candidates(ids[positions[by_key]], generator[by_key], ids[order[:CROWD]])


def draw_uniformly(
    store: VectorStore, excluded: Ids, n: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Draw from all that is embedded and not excluded, without replacement: the audit sample.

    Args:
        store: what is embedded.
        excluded: row ids that must not be drawn.
        n: how many.
        seed: the draw depends on it and on public ids alone.

    Returns:
        (k,) row ids in the order of the draw, k being n or all there are; (k,) log-probabilities, each given the picks
        before it.
    """
    barred = _barred(store, excluded)
    positions = _uniform_order(store, barred, n, seed)[:n]
    eligible = len(store) - len(_positions(store, np.unique(barred)))
    return np.asarray(store.ids)[positions], -np.log(eligible - np.arange(len(positions), dtype=np.float64))


def most_uncertain(view: View) -> NDArray[np.int64]:
    """(n,) row ids of a view, those with the smallest margin first: `draw` takes them in the next round."""
    return view.ids[np.argsort(uncertainty.margin(view), kind="stable")]


def seed_of(seed: int, round_: int, purpose: str) -> int:
    """A 63-bit seed of its own for each round and purpose of a campaign."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{round_}:{purpose}".encode()).digest()[:8], "big") >> 1


def _uniform_order(store: VectorStore, barred: NDArray[np.int64], n: int, seed: int) -> Positions:
    """The first n eligible rows, at least, of a uniformly random order: by a seeded hash of the public id."""
    keys, word = np.asarray(store.keys), _mixed(_word(seed))
    blocks = range(0, max(1, len(keys)), BLOCK)
    hashes = np.concatenate([_mixed(keys[start : start + BLOCK] ^ word) for start in blocks])
    enough = n + len(barred)  # even if all that is barred comes first
    # Hashes are uniform, so that those below a bound are nearly always enough, and found in one pass.
    share = (enough + SLACK * math.sqrt(enough)) / max(1, len(hashes))
    found = np.flatnonzero(hashes < np.uint64(share * 2**64)) if share < 1 else np.arange(len(hashes))
    if len(found) < enough < len(hashes):
        found = np.argpartition(hashes, enough)[:enough]
    found = found[np.argsort(hashes[found], kind="stable")]
    return _allowed(store, found, barred)


def _neighbours(
    index: Index, labelled: NDArray[np.int64], classes: NDArray[np.int64], config: CandidateConfig, seed: int
) -> Positions:
    """Rows near labelled ones: the nearest of every anchor, then the second nearest of every anchor, and so on.

    The index gives what is equally near in the order in which it was stored. Here those of the smaller key come first,
    and some more are asked for, so that the cut is not made in that order either.
    """
    wanted = int(config.neighbours * config.count)
    anchors = _anchors(index.store, labelled, classes, seed)
    if not wanted or not len(anchors):
        return np.empty(0, np.int64)
    # Twice the share, since anchors' neighbourhoods overlap and hold what is labelled already.
    k = min(len(index.store), 2 * -(-wanted // len(anchors)) + len(anchors))
    scores, ids = index.search(index.store.vectors(np.asarray(index.store.ids)[anchors]), k + ALIKE)
    anchor = np.broadcast_to(np.arange(len(ids))[:, None], ids.shape)[ids >= 0]
    scores, ids = np.round(scores[ids >= 0], DIGITS), ids[ids >= 0]
    positions = _positions(index.store, ids)
    keys = np.asarray(index.store.keys)[positions]
    by_anchor = np.lexsort((keys, -scores, anchor))
    rank = np.empty(len(anchor), np.int64)
    rank[by_anchor] = turns(anchor[by_anchor])
    near = np.flatnonzero(rank < k)
    return positions[near[np.lexsort((keys[near], -scores[near], rank[near]))]]


def _anchors(store: VectorStore, labelled: NDArray[np.int64], classes: NDArray[np.int64], seed: int) -> Positions:
    """At most ANCHORS labelled rows: half of them the newest, the others drawn from the rest, each class in turn.

    By turns, so that what lies near a rare class has as large a part in the neighbours as what lies near a common one
    (AnchorAL: Lesci & Vlachos 2024, https://arxiv.org/abs/2404.05623).
    """
    rows = store.positions(labelled)
    rows, classes = rows[rows >= 0], classes[rows >= 0]
    if len(rows) <= ANCHORS:
        return rows
    newest, rest = np.split(rows, [ANCHORS // 2])
    order = np.argsort(_mixed(np.asarray(store.keys)[rest] ^ _mixed(_word(seed + 1))), kind="stable")
    turn = turns(classes[ANCHORS // 2 :][order])
    return np.concatenate([newest, rest[order][np.argsort(turn, kind="stable")[: ANCHORS - len(newest)]]])


def turns(classes: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) how many of its class stand before each: 0 the first of every class, 1 the second of every class."""
    found = np.empty(len(classes), np.int64)
    for one in np.unique(classes):
        here = classes == one
        found[here] = np.arange(here.sum())
    return found


def _take(lists: dict[str, list[int]], wanted: dict[str, int], taken: dict[int, str]) -> dict[int, str]:
    """Give each share the first rows of its list that are not taken; the share of a row is its value in the result."""
    taken = dict(taken)
    for name, found in lists.items():
        room = wanted[name]
        for position in found:
            if room and position not in taken:
                taken[position] = name
                room -= 1
    return taken


def _positions(store: VectorStore, ids: NDArray[np.int64]) -> Positions:
    """The rows of (k,) ids, in their order; unknown ones are passed over."""
    positions = store.positions(ids)
    return positions[positions >= 0]


def _allowed(store: VectorStore, positions: Positions, barred: NDArray[np.int64]) -> Positions:
    return positions[~np.isin(np.asarray(store.ids)[positions], barred)]


def _barred(store: VectorStore, excluded: Ids) -> NDArray[np.int64]:
    """Row ids that must not be drawn: the caller's, and those of removed documents whose rows are still there."""
    return np.concatenate([_array(excluded), store.removed])


def _array(ids: Ids) -> NDArray[np.int64]:
    return np.asarray(ids, np.int64) if isinstance(ids, np.ndarray) else np.fromiter(ids, np.int64, len(ids))


def _word(seed: int) -> NDArray[np.uint64]:
    return np.array([seed % 2**64], dtype=np.uint64)


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's output function (Steele, Lea & Flood 2014) over (n,) 64-bit words; a bijection."""
    mixed = words + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
