"""Held-out documents: drawn once, by a seeded hash of the public id, and never asked."""

import hashlib

from sqlalchemy import Connection, bindparam, func, select, update

from discover.errors import DiscoverError
from discover.tables import document, slot


def draw(connection: Connection, n: int, seed: int, stay: int) -> list[int]:
    """Row ids of as many documents as the pool lacks of n test documents; see `Pool.draw_test`."""
    pooled = document.c.state == "pool"
    have = connection.execute(select(func.count()).where(pooled, document.c.split == "test")).scalar_one()
    if have >= n:
        return []
    asked = select(slot.c.document_id).where(slot.c.document_id == document.c.id).exists()
    free = select(document.c.id, document.c.public_id).where(pooled, document.c.split == "train", ~asked)
    rows = sorted(connection.execute(free).all(), key=lambda row: _draw(row.public_id, seed))
    if len(rows) < n - have + stay:
        raise DiscoverError(
            f"{n} test documents are wanted, and {stay} others to ask about, but the pool has {have + len(rows)} for "
            "both: crawl or import more, or set loop.test lower"
        )
    return [row.id for row in rows[: n - have]]


def hold_out(connection: Connection, drawn: list[int]) -> None:
    """Mark documents for testing."""
    if drawn:
        rows = [{"row_id": row_id} for row_id in drawn]
        connection.execute(update(document).where(document.c.id == bindparam("row_id")).values(split="test"), rows)


def _draw(public_id: str, seed: int) -> bytes:
    return hashlib.sha256(f"hold out {seed} {public_id}".encode()).digest()
