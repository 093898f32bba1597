"""Documents leave the pool for good: of a takedown request, say.

What a document says goes (text, title, language, date, label, MinHash bands), and what imported rows call it; its row
stays, with its public id and the addresses where it was found, so that the same text is not taken in again and nothing
that refers to it breaks.
"""

from collections.abc import Sequence

from sqlalchemy import Column, Connection, delete, select, update

from discover.errors import DiscoverError
from discover.pool.adding import PAGE, clean_address
from discover.pool.minhash import jaccard, shingles
from discover.tables import REMOVED, band, document, source

GONE = {"text": "", "title": "", "language": "", "date": "", "label": None, "reason": "", "state": REMOVED}


def named(connection: Connection, words: Sequence[str], near_duplicate: float) -> list[int]:
    """Row ids of documents and of their near-duplicates: which of them was kept is chance, and what they say is one.

    Args:
        connection: of a transaction.
        words: public ids, or addresses at which documents were found.
        near_duplicate: similarity from which the next intake takes a document for another's.

    Raises:
        DiscoverError: a word is neither.
    """
    known: dict[str, list[int]] = {word: [] for word in words}
    by_address: dict[str, list[str]] = {}
    for word in words:
        by_address.setdefault(clean_address(word), []).append(word)
    for start in range(0, len(words), PAGE):
        page = list(words[start : start + PAGE])
        ids = filter(str.isascii, page)  # a word may hold bytes that are no text, which no database takes
        by_id = select(document.c.public_id, document.c.id).where(document.c.public_id.in_(ids))
        found = select(source.c.address, source.c.document_id).where(source.c.address.in_(map(clean_address, page)))
        for public_id, row_id in connection.execute(by_id):
            known[public_id].append(row_id)
        for address, row_id in connection.execute(found):
            for word in by_address[address]:
                known[word].append(row_id)
    if unknown := [word for word, rows in known.items() if not rows]:
        raise DiscoverError(
            f"documents are named by the id that `discover export pool` writes, or by an address where they were "
            f"found, and {len(unknown)} of {len(words)} names are neither, like {unknown[0]!r:.200}: nothing is removed"
        )
    rows = {row for found in known.values() for row in found}
    kept = rows | _of(connection, document.c.duplicate_of, document.c.id, rows)
    kept |= _alike(connection, kept, near_duplicate)
    return sorted(kept | _of(connection, document.c.id, document.c.duplicate_of, kept))


def _of(connection: Connection, wanted: Column[int], key: Column[int], rows: set[int]) -> set[int]:
    """What a column says in the rows whose key is among these, where it says anything."""
    found: set[int] = set()
    for start in range(0, len(rows), PAGE):
        page = key.in_(sorted(rows)[start : start + PAGE])
        found.update(connection.scalars(select(wanted).where(page, wanted.is_not(None))))
    return found


def _alike(connection: Connection, rows: set[int], near_duplicate: float) -> set[int]:
    """Near-duplicates that no intake has judged yet."""
    other, pairs = band.alias(), set[tuple[int, int]]()
    for start in range(0, len(rows), PAGE):
        page = band.c.document_id.in_(sorted(rows)[start : start + PAGE])
        shared = select(band.c.document_id, other.c.document_id).where(page, other.c.hash == band.c.hash).distinct()
        pairs.update((a, b) for a, b in connection.execute(shared) if b not in rows)
    said = {}
    for row in {row for pair in pairs for row in pair}:
        said[row] = shingles(connection.scalars(select(document.c.text).where(document.c.id == row)).one())
    return {b for a, b in pairs if jaccard(said[a], said[b]) >= near_duplicate}


def remove(connection: Connection, ids: Sequence[int]) -> dict[int, str]:
    """Take documents out; returns the public ids, by row id, of those that had not been removed before."""
    gone: dict[int, str] = {}
    for start in range(0, len(ids), PAGE):
        page = list(ids[start : start + PAGE])
        mine = document.c.id.in_(page)
        rows = connection.execute(select(document.c.id, document.c.public_id).where(mine, document.c.state != REMOVED))
        gone.update((row.id, row.public_id) for row in rows)
        connection.execute(update(document).where(mine).values(GONE))
        connection.execute(delete(band).where(band.c.document_id.in_(page)))
        connection.execute(update(source).where(source.c.document_id.in_(page)).values(given_id=""))
    return gone


def removed(connection: Connection) -> set[int]:
    """Row ids of all documents that were removed."""
    return set(connection.scalars(select(document.c.id).where(document.c.state == REMOVED)))
