"""A small pool and its questions, for the tests of queue and pages."""

from sqlalchemy import insert

from discover import tables
from discover.db import Database
from discover.label.queue import Queue
from discover.pool.document import Document
from discover.pool.labels import Multiclass

CLASSES = ["calm", "storm", "fog"]


def add_documents(database: Database, n: int, **columns: object) -> list[int]:
    """Documents in the pool; returns their row ids."""
    ids = []
    with database.write() as connection:
        for i in range(n):
            document = Document(text=f"text {i} {columns}")
            row = {"public_id": document.public_id, "text": document.text, "state": "pool", "found": 0.0, **columns}
            ids.append(connection.execute(insert(tables.document).values(**row)).inserted_primary_key[0])
            source = {"document_id": ids[-1], "address": f"http://site/{i}.html"}
            connection.execute(insert(tables.source).values(**source))
    return ids


def filled(database: Database, n: int, arm: str = "margin", minutes: float = 30) -> tuple[Queue, list[int]]:
    queue = Queue(database, minutes, Multiclass(tuple(CLASSES)))
    ids = add_documents(database, n)
    with database.write() as connection:
        rows = [{"document_id": ids[i], "kind": "policy", "position": i} for i in range(n)]
        queue.put(connection, arm, 1, rows)
    return queue, ids
