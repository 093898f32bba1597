"""Intake: what was found since the last time becomes pool, near-duplicate, or is set aside.

Bands that many documents share say little (boilerplate), and comparing all their pairs would take quadratic time: a
band's bucket keeps its first 32 documents, and of a document's rivals the 16 that share most bands are compared in
full. A true near-duplicate shares five bands of twenty on average, mostly rare ones, so it comes first.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, bindparam, case, delete, insert, select, update

from discover.db import insert_new
from discover.pool import minhash
from discover.pool.adding import PAGE, hand_on_labels, write_bands
from discover.pool.document import Document
from discover.pool.minhash import SCHEME, jaccard, shingles
from discover.tables import band, document, meta, source

BUCKET = 32
HASHES = 5000  # of a query
COMPARED = 16
CACHED_SHINGLES = 2_000_000

Unanswerable = Callable[[list[Document]], list[bool]]


@dataclass
class Verdicts:
    """What is to become of found documents, by row id.

    Attributes:
        aside: no single answer.
        duplicates: near-duplicates, each with the one that stays.
        stay: the others.
        surplus: of those that stay, and number of the band: rows of buckets that are full.
    """

    aside: list[int] = field(default_factory=list)
    duplicates: dict[int, int] = field(default_factory=dict)
    stay: list[int] = field(default_factory=list)
    surplus: list[tuple[int, int]] = field(default_factory=list)


def judge(connection: Connection, threshold: float, unanswerable: Unanswerable | None) -> Verdicts:
    """Look at every document in state ``found``, and change none; see `Pool.intake`."""
    verdicts = Verdicts(_unanswerable(connection, unanswerable) if unanswerable else [])
    _Search(connection, threshold, verdicts).run()
    return verdicts


def take_in(connection: Connection, verdicts: Verdicts) -> Counter[str]:
    """Give documents that are found, and still are, another state."""
    _change(connection, [{"row_id": row_id} for row_id in verdicts.aside], state="aside", reason="no single answer")
    twins = [{"row_id": row_id, "twin": twin} for row_id, twin in verdicts.duplicates.items()]
    _change(connection, twins, state="duplicate", duplicate_of=bindparam("twin"))
    hand_on_labels(connection, sorted(verdicts.duplicates))
    if verdicts.surplus:
        surplus = [{"row_id": row_id, "number": number} for row_id, number in verdicts.surplus]
        mine = (band.c.document_id == bindparam("row_id"), band.c.band == bindparam("number"))
        connection.execute(delete(band).where(*mine), surplus)
    taken = 0
    for start in range(0, len(verdicts.stay), PAGE):
        page = (document.c.id.in_(verdicts.stay[start : start + PAGE]), document.c.state == "found")
        taken += connection.execute(update(document).where(*page).values(state="pool")).rowcount
    return +Counter({"pool": taken, "duplicate": len(twins), "aside": len(verdicts.aside)})


def look_again(connection: Connection) -> bool:
    """Let some of what was set aside be found anew; False where nothing is.

    They get new row ids, since by these a round tells what is new to it.
    """
    aside = select(document).where(document.c.state == "aside").order_by(document.c.id).limit(PAGE)
    rows = [dict(row) for row in connection.execute(aside).mappings()]
    olds = [row.pop("id") for row in rows]
    places = connection.execute(select(source).where(source.c.document_id.in_(olds))).mappings().all()
    connection.execute(delete(source).where(source.c.document_id.in_(olds)))
    connection.execute(delete(document).where(document.c.id.in_(olds)))
    news: dict[int, int] = {}
    for old, row in zip(olds, rows, strict=True):
        found = insert(document).values({**row, "state": "found", "reason": ""})
        news[old] = connection.execute(found.returning(document.c.id)).scalar_one()
    insert_new(connection, source, [{**place, "document_id": news[place["document_id"]]} for place in places])
    hashes = minhash.bands([row["text"] for row in rows]).tolist()
    write_bands(connection, dict(zip(news.values(), hashes, strict=True)))
    return bool(rows)


def fetch(connection: Connection, ids: list[int]) -> dict[int, Document]:
    """Documents by row id, their sources filled."""
    sources: dict[int, list[str]] = defaultdict(list)
    given: dict[int, list[str]] = defaultdict(list)
    rows = connection.execute(select(source).where(source.c.document_id.in_(ids)))
    for row in sorted(rows, key=lambda row: row.address):  # not in SQL, where the order is each database's own
        sources[row.document_id].append(row.address)
        given[row.document_id] += [row.given_id] if row.given_id else []
    return {
        row.id: Document(
            text=row.text,
            address=next(iter(sources[row.id]), ""),
            title=row.title,
            language=row.language,
            date=row.date,
            label=row.label,
            split=row.split,
            sources=sources[row.id],
            id=row.id,
            given_id=next(iter(given[row.id]), ""),
        )
        for row in connection.execute(select(document).where(document.c.id.in_(ids)))
    }


@dataclass
class _Search:
    """Near-duplicates among the found documents, and of those in the pool."""

    connection: Connection
    threshold: float
    verdicts: Verdicts
    buckets: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))  # hash: row ids that stay
    cache: dict[int, frozenset[str]] = field(default_factory=dict)
    cached: int = 0

    def run(self) -> None:
        """Go through the found documents in their order: test documents, which always stay, labelled ones, the others.

        Each kind by public id.
        """
        kinds = case((document.c.split == "test", 0), (document.c.label.is_not(None), 1), else_=2)
        query = select(document.c.id, document.c.split).where(document.c.state == "found")
        rows = self.connection.execute(query.order_by(kinds, document.c.public_id)).all()
        aside = set(self.verdicts.aside)
        order = [(row.id, row.split) for row in rows if row.id not in aside]
        shared = self._shared_bands()
        for start in range(0, len(order), PAGE):
            page = order[start : start + PAGE]
            rivals = {rival for i, _ in page for _, h in shared.get(i, ()) for rival in self.buckets[h]}
            self._load({row_id for row_id, _ in page if row_id in shared} | rivals)
            for row_id, split in page:
                bands = shared.get(row_id, [])
                twin = None if split == "test" else self._twin(row_id, [value for _, value in bands])
                if twin is None:
                    self.verdicts.stay.append(row_id)
                    self._fill(row_id, bands)
                else:
                    self.verdicts.duplicates[row_id] = twin

    def _twin(self, row_id: int, hashes: Iterable[int]) -> int | None:
        rivals = Counter(rival for value in hashes for rival in self.buckets[value])
        for rival, _ in rivals.most_common(COMPARED):
            own, other = self.cache[row_id], self.cache[rival]
            if min(len(own), len(other)) < self.threshold * max(len(own), len(other)):
                continue
            if jaccard(own, other) >= self.threshold:
                return rival
        return None

    def _fill(self, row_id: int, bands: Iterable[tuple[int, int]]) -> None:
        for number, value in bands:
            if len(self.buckets[value]) < BUCKET:
                self.buckets[value].append(row_id)
            else:
                self.verdicts.surplus.append((row_id, number))

    def _shared_bands(self) -> dict[int, list[tuple[int, int]]]:
        """Bands that found documents share with each other or with the pool; fills the pool's buckets."""
        mine = band.join(document, document.c.id == band.c.document_id)
        other = band.alias()
        met = (
            select(other.c.hash).where(other.c.hash == band.c.hash, other.c.document_id != band.c.document_id).exists()
        )
        rows = select(band.c.document_id, band.c.band, band.c.hash).select_from(mine)
        rows = rows.where(document.c.state == "found", band.c.scheme == SCHEME, met)
        shared: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for row_id, number, value in self.connection.execute(rows.order_by(band.c.document_id, band.c.band)):
            shared[row_id].append((number, value))
        hashes = sorted({value for bands in shared.values() for _, value in bands})
        pool: list[tuple[str, int, int]] = []
        for start in range(0, len(hashes), HASHES):
            # "not found" and not "in the pool", which would invite a database to go through the whole pool.
            rule = (band.c.hash.in_(hashes[start : start + HASHES]), document.c.state != "found")
            query = select(document.c.public_id, band.c.document_id, band.c.hash).select_from(mine).where(*rule)
            pool.extend(map(tuple, self.connection.execute(query)))
        for _, row_id, value in sorted(pool):
            self.buckets[value].append(row_id)
        return shared

    def _load(self, ids: set[int]) -> None:
        if self.cached > CACHED_SHINGLES:
            self.cache, self.cached = {}, 0
        wanted = sorted(ids - self.cache.keys())
        for start in range(0, len(wanted), PAGE):
            query = select(document.c.id, document.c.text).where(document.c.id.in_(wanted[start : start + PAGE]))
            for row_id, text in self.connection.execute(query):
                self.cache[row_id] = shingles(text)
                self.cached += len(self.cache[row_id])


def _unanswerable(connection: Connection, unanswerable: Unanswerable) -> list[int]:
    """Row ids of found documents that have no single answer."""
    query = select(document.c.id).where(document.c.state == "found").order_by(document.c.public_id)
    found, aside = list(connection.scalars(query)), list[int]()
    for start in range(0, len(found), PAGE):
        page = found[start : start + PAGE]
        by_id = fetch(connection, page)
        aside += itertools.compress(page, unanswerable([by_id[row_id] for row_id in page]))
    return aside


def _change(connection: Connection, rows: list[dict[str, int]], **values: Any) -> None:
    """Change documents that do not enter the pool, and drop their bands."""
    if rows:
        mine = (document.c.id == bindparam("row_id"), document.c.state == "found")  # still: it may have been removed
        connection.execute(update(document).where(*mine).values(**values), rows)
        connection.execute(delete(band).where(band.c.document_id == bindparam("row_id")), rows)


def renew_bands(connection: Connection) -> None:
    """Sign all documents anew when the library or the shape of the bands has changed since the last intake."""
    key = meta.c.key == "minhash"
    known = connection.execute(select(meta.c.value).where(key)).scalar()
    if known == SCHEME:
        return
    if known is not None:
        connection.execute(delete(band).where(band.c.scheme != SCHEME))
        signed = select(band.c.document_id).where(band.c.scheme == SCHEME)
        missing = select(document.c.id, document.c.text).where(
            document.c.state.in_(["found", "pool"]), document.c.id.not_in(signed)
        )
        while texts := connection.execute(missing.limit(PAGE)).all():
            hashes = minhash.bands([text for _, text in texts]).tolist()
            write_bands(connection, {row_id: hashed for (row_id, _), hashed in zip(texts, hashes, strict=True)})
        connection.execute(delete(meta).where(key))
    connection.execute(insert(meta).values(key="minhash", value=SCHEME))
