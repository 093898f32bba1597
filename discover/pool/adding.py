"""Documents on their way in: cleaned, refused or kept, the copies of one text folded into one row."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from discover.db import insert_new, now
from discover.pool import minhash
from discover.pool.config import PoolConfig
from discover.pool.document import Document, clean
from discover.tables import REMOVED, band, document, rejection, source

PAGE = 500
ADDRESS_BYTES = 2000  # PostgreSQL cannot index longer ones
CONFLICT, LABELLED, TRAINS = "conflicting labels", "labelled now", "for testing, but in the pool already"


@dataclass
class Copies:
    """All copies of one text within one call, folded so that their order does not matter, but for given ids."""

    text: str
    title: str = ""
    language: str = ""
    date: str = ""
    split: str = "train"
    labels: set[str] = field(default_factory=set)
    addresses: dict[str, str] = field(default_factory=dict)  # each with the id that its row gives

    def fold(self, found: Document) -> None:
        """Take one more copy in; of several titles, languages or dates the smallest stays."""
        self.title = _least(self.title, found.title and clean(found.title)[:1000])
        self.language = _least(self.language, found.language and clean(found.language)[:8])
        self.date = _least(self.date, found.date and clean(found.date)[:32])
        self.split = "test" if "test" in (self.split, found.split) else "train"
        if found.label is not None and clean(found.label):
            self.labels.add(clean(found.label))
        if found.address:
            place, given = clean_address(found.address), clean(found.given_id)[:200]
            self.addresses[place] = self.addresses.get(place) or given  # the first one's, as over several calls

    def row(self, known: Any = None) -> dict[str, Any]:
        """What the document's row should hold, given the row that it has."""
        if known is None:
            return {
                "title": self.title,
                "language": self.language,
                "date": self.date,
                "split": self.split,
                "label": min(self.labels) if len(self.labels) == 1 else None,
                "reason": CONFLICT if len(self.labels) > 1 else "",
            }
        if known.state == REMOVED:
            return {}  # it does not come back
        labels = self.labels | ({known.label} if known.label is not None else set())
        conflict = len(labels) > 1 or known.reason == CONFLICT
        return {
            "title": _least(self.title, known.title),
            "language": _least(self.language, known.language),
            "date": _least(self.date, known.date),
            # What is in the pool may have been asked or learned from: it cannot become a test document.
            "split": self.split if known.state == "found" and self.split == "test" else known.split,
            "label": None if conflict or not labels else min(labels),
            "reason": CONFLICT if conflict else known.reason,
        }


@dataclass
class Batch:
    """Documents made ready to be written.

    Attributes:
        copies: by public id.
        refused: rows of `rejection`.
        counts: as of `Pool.add`, new texts among "seen" until they are written.
        bands: MinHash bands by public id, of what is signed so far.
    """

    copies: dict[str, Copies]
    refused: list[dict[str, Any]]
    counts: Counter[str]
    bands: dict[str, list[int]] = field(default_factory=dict)

    def sign(self, public_ids: Iterable[str]) -> None:
        """Have the bands of these texts; the slow part of adding, so best done before a write transaction."""
        wanted = sorted(set(public_ids) - self.bands.keys())
        hashes = minhash.bands([self.copies[key].text for key in wanted]).tolist()
        self.bands.update(zip(wanted, hashes, strict=True))


def unknown(connection: Connection, batch: Batch) -> set[str]:
    """The public ids of a batch that the database does not have."""
    return batch.copies.keys() - _rows(connection, list(batch.copies)).keys()


def write(connection: Connection, batch: Batch) -> Counter[str]:
    """Write documents, their bands and their addresses; see `Pool.add` for what is counted."""
    copies, counts = batch.copies, batch.counts
    known = _rows(connection, list(copies))
    new = sorted(copies.keys() - known.keys())
    rows = [{"public_id": key, "text": copies[key].text, "found": now(), **copies[key].row()} for key in new]
    insert_new(connection, document, rows)
    counts["new"] = len(new)
    counts["seen"] -= len(new)
    counts[CONFLICT] = sum(row["reason"] == CONFLICT for row in rows)
    counts += _merge(connection, known, copies)
    ids = {key: row.id for key, row in (known | _rows(connection, new)).items()}
    batch.sign(new)  # those that were not signed before
    write_bands(connection, {ids[key]: batch.bands[key] for key in new})
    places = [
        {"document_id": ids[key], "address": place, "given_id": given}
        for key in copies
        for place, given in copies[key].addresses.items()
    ]
    insert_new(connection, source, places)
    insert_new(connection, rejection, batch.refused)
    return +counts


def write_bands(connection: Connection, bands: dict[int, list[int]]) -> None:
    """Write the MinHash bands of documents, given by row id."""
    rows = [
        {"document_id": row_id, "scheme": minhash.SCHEME, "band": number, "hash": value}
        for row_id, values in bands.items()
        for number, value in enumerate(values)
    ]
    insert_new(connection, band, rows)


def refusal(address: str, reason: str, detail: str = "") -> dict[str, Any]:
    """A row of `rejection`."""
    return {"address": clean_address(address), "reason": reason[:32], "detail": clean(detail)[:500], "found": now()}


def clean_address(address: str) -> str:
    """An address that both databases can store and index."""
    return clean(address).encode()[:ADDRESS_BYTES].decode(errors="ignore")


def gather(config: PoolConfig, documents: Iterable[Document]) -> Batch:
    """Clean documents, refuse what is no use, and fold the copies of each text."""
    groups: dict[str, Copies] = {}
    refused: list[dict[str, Any]] = []
    counts: Counter[str] = Counter()
    judged: dict[Any, tuple[str, str, str]] = {}  # a crawl finds the same raw text again and again
    for found in documents:
        if found.text not in judged:
            judged[found.text] = _judge(config, found.text)
        text, public_id, reason = judged[found.text]
        counts[reason or "seen"] += 1
        if not reason:
            groups.setdefault(public_id, Copies(text)).fold(found)
        elif found.address:
            refused.append(refusal(found.address, reason))
    return Batch(groups, refused, counts)


def _judge(config: PoolConfig, raw: Any) -> tuple[str, str, str]:
    if not isinstance(raw, str):
        return "", "", "no text"
    if len(raw) > 10 * config.max_characters:  # not worth cleaning
        return "", "", "long"
    text = clean(raw)
    if len(text) > config.max_characters:
        return "", "", "long"
    if len(text) < config.min_characters:
        return "", "", "short" if text else "empty"
    return text, Document(text).public_id, ""


def _merge(connection: Connection, known: dict[str, Any], copies: dict[str, Copies]) -> Counter[str]:
    """Bring the rows of known texts up to date; how many lost their label by it, and how many got one."""
    changed, counts = [], Counter[str]()
    for public_id, old in known.items():
        row = copies[public_id].row(old)
        if any(getattr(old, name) != value for name, value in row.items()):
            changed.append({"row_id": old.id, **row})
            counts[CONFLICT] += row["reason"] != old.reason
            counts[LABELLED] += old.label is None and row["label"] is not None
            counts[TRAINS] += copies[public_id].split == "test" and row["split"] == "train"
    if changed:
        connection.execute(update(document).where(document.c.id == bindparam("row_id")), changed)
        hand_on_labels(connection, [row["row_id"] for row in changed])
    return counts


def hand_on_labels(connection: Connection, rows: list[int]) -> None:
    """Give the labels of near-duplicates among these rows to what stayed in their place, where that has none.

    A test document keeps to its own, and what is labelled in two ways gets none.
    """
    stayed = document.alias()
    trains = (document.c.duplicate_of == stayed.c.id, stayed.c.split == "train", stayed.c.state != REMOVED)
    lacks = (stayed.c.label.is_(None), stayed.c.reason != CONFLICT)
    given: dict[int, set[str]] = defaultdict(set)
    for start in range(0, len(rows), PAGE):
        mine = (document.c.id.in_(rows[start : start + PAGE]), document.c.label.is_not(None))
        pairs = select(stayed.c.id, document.c.label).where(*mine, *trains, *lacks)
        for row_id, label in connection.execute(pairs):
            given[row_id].add(label)
    agreed = [{"row_id": row_id, "said": min(labels)} for row_id, labels in given.items() if len(labels) == 1]
    if agreed:
        connection.execute(
            update(document).where(document.c.id == bindparam("row_id")).values(label=bindparam("said")), agreed
        )


def _rows(connection: Connection, public_ids: list[str]) -> dict[str, Any]:
    columns = [column for column in document.c if column.name != "text"]
    rows: dict[str, Any] = {}
    for start in range(0, len(public_ids), PAGE):
        query = select(*columns).where(document.c.public_id.in_(public_ids[start : start + PAGE]))
        rows.update((row.public_id, row) for row in connection.execute(query))
    return rows


def _least(a: str, b: str) -> str:
    return min(a, b) if a and b else a or b
