"""Held-out documents: drawn once, by a seeded hash of the public id, and never asked."""

import hashlib

from sqlalchemy import Connection, bindparam, func, select, update

from discover.errors import DiscoverError
from discover.tables import document, slot


def hold_out(connection: Connection, n: int, seed: int) -> int:
    """Mark documents for testing until the pool has n of them; see `Pool.hold_out`."""
    pooled = document.c.state == "pool"
    have = connection.execute(select(func.count()).where(pooled, document.c.split == "test")).scalar_one()
    if have >= n:
        return have
    asked = select(slot.c.document_id).where(slot.c.document_id == document.c.id).exists()
    free = select(document.c.id, document.c.public_id).where(pooled, document.c.split == "train", ~asked)
    rows = sorted(connection.execute(free).all(), key=lambda row: _draw(row.public_id, seed))
    if len(rows) < n - have:
        raise DiscoverError(
            f"{n} test documents are wanted and the pool can give {have + len(rows)}: crawl or import more, "
            "or set loop.test lower"
        )
    drawn = [{"row_id": row.id} for row in rows[: n - have]]
    connection.execute(update(document).where(document.c.id == bindparam("row_id")).values(split="test"), drawn)
    return n


def _draw(public_id: str, seed: int) -> bytes:
    return hashlib.sha256(f"hold out {seed} {public_id}".encode()).digest()
