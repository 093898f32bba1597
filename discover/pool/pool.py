"""The pool: documents go in cleaned and once each, and come out in an order that no crawl can change."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, func, select

from discover.db import Database, insert_new
from discover.pool import adding, holdout, intake, removal
from discover.pool.adding import PAGE
from discover.pool.config import PoolConfig
from discover.pool.document import Document
from discover.tables import document, rejection

CHUNK = 2000
CHUNK_CHARACTERS = 1 << 24


class Pool:
    """The documents of a run, in a database.

    Args:
        database: where they are.
        config: what is taken in.
    """

    def __init__(self, database: Database, config: PoolConfig):
        self.database = database
        self.config = config

    def add(self, documents: Iterable[Document]) -> Counter[str]:
        """Take in documents, in write transactions of some thousand each.

        Returns:
            "new", "seen" (a text known already; its address is kept) and the reasons of what was refused ("empty",
            "short", "long", "no text") add up to the documents given; "conflicting labels" counts, besides, texts
            that came with two different labels and so keep none, "labelled now" known ones that had none before, and
            "for testing, but in the pool already" those that train nevertheless, as they may have been asked about.
        """
        counts: Counter[str] = Counter()
        for chunk in _chunks(documents):
            batch = self.prepare(chunk)
            with self.database.write() as connection:
                counts += adding.write(connection, batch)
        return counts

    def prepare(self, documents: Iterable[Document]) -> adding.Batch:
        """Make documents ready for `add_in`; takes seconds, so it must not keep other writers waiting."""
        batch = adding.gather(self.config, documents)
        if batch.copies:
            with self.database.read() as connection:
                new = adding.unknown(connection, batch)
            batch.sign(new)
        return batch

    def add_in(self, connection: Connection, batch: adding.Batch) -> Counter[str]:
        """Like `add`, inside the caller's write transaction; what `prepare` made ready can be added once."""
        return adding.write(connection, batch)

    def reject(self, connection: Connection, address: str, reason: str, detail: str = "") -> None:
        """Note what was not taken in, once for each address and reason."""
        insert_new(connection, rejection, [adding.refusal(address, reason, detail)])

    def intake(self, unanswerable: intake.Unanswerable | None = None) -> Counter[str]:
        """Judge what was found since the last time: pool, near-duplicate, or aside; written in one transaction.

        Of near-duplicates found together a test document stays, else a labelled one, else the smallest public id; a
        document that is in the pool always stays. What is found meanwhile waits for the next time.

        Args:
            unanswerable: for a simulation, which of the documents (sources filled) have no single answer.
        """
        with self.database.write() as connection:
            intake.renew_bands(connection)
        with self.database.read() as connection:  # it takes seconds, for which no answer need wait
            verdicts = intake.judge(connection, self.config.near_duplicate, unanswerable)
        with self.database.write() as connection:
            return intake.take_in(connection, verdicts)

    def look_again(self) -> None:
        """Let what was set aside be found anew, for the next intake to judge."""
        left = True
        while left:
            with self.database.write() as connection:
                left = intake.look_again(connection)

    def draw_test(self, n: int, seed: int, stay: int = 0) -> list[int]:
        """Draw what the pool lacks of n test documents, imported ones included, by a seeded hash of the public id.

        Only documents that nobody was asked about are drawn, and so that ``stay`` of them are left.

        Returns:
            Their row ids, for `hold_out`.

        Raises:
            DiscoverError: the pool is too small.
        """
        with self.database.read() as connection:
            return holdout.draw(connection, n, seed, stay)

    def hold_out(self, connection: Connection, drawn: list[int]) -> None:
        """Make test documents of what was drawn, inside the caller's write transaction."""
        holdout.hold_out(connection, drawn)

    def documents(self, ids: Sequence[int] | None = None, split: str | None = "train") -> Iterator[Document]:
        """Stream documents, sources filled, some hundred in memory at a time.

        Args:
            ids: row ids, which decide order and number; None: the pool of this split, by public id.
            split: ``train``, ``test`` or None for both; not looked at where ids are given.
        """
        wanted = self.ids(split)[0] if ids is None else ids
        for start in range(0, len(wanted), PAGE):
            page = [int(row_id) for row_id in wanted[start : start + PAGE]]
            with self.database.read() as connection:
                found = intake.fetch(connection, page)
            yield from (found[row_id] for row_id in page)

    def texts(self, ids: Sequence[int]) -> list[str]:
        """Texts in the order of the row ids given."""
        texts: dict[int, str] = {}
        wanted = [int(row_id) for row_id in ids]
        with self.database.read() as connection:
            for start in range(0, len(wanted), PAGE):
                page = wanted[start : start + PAGE]
                query = select(document.c.id, document.c.text).where(document.c.id.in_(page))
                texts.update((row_id, text) for row_id, text in connection.execute(query))
        return [texts[row_id] for row_id in wanted]

    def ids(
        self, split: str | None = "train", after: int = 0, until: int | None = None
    ) -> tuple[NDArray[np.int64], list[str]]:
        """Row ids (n,) and public ids of the pool, by public id; only row ids above `after` and up to `until`."""
        rules: list[ColumnElement[bool]] = [document.c.state == "pool"]
        if after:
            rules.append(document.c.id > after)
        if until is not None:
            rules.append(document.c.id <= until)
        if split is not None:
            rules.append(document.c.split == split)
        query = select(document.c.public_id, document.c.id).where(*rules)
        with self.database.read() as connection:
            rows = sorted(map(tuple, connection.execute(query)))  # in SQL it would cost a scan of the whole pool
        return np.array([row_id for _, row_id in rows], np.int64), [public_id for public_id, _ in rows]

    def known(self, after: int) -> dict[int, str]:
        """Public ids of all documents, whatever their state, by row id; only those above `after`."""
        query = select(document.c.id, document.c.public_id).where(document.c.id > after)
        with self.database.read() as connection:
            return dict(map(tuple, connection.execute(query)))

    def count(self, state: str, most: int, split: str | None = None) -> int:
        """How many documents are in a state, and of a split; counting stops at ``most``, so that it costs no more."""
        rules = [document.c.state == state]
        if split is not None:
            rules.append(document.c.split == split)
        counted = select(document.c.id).where(*rules).limit(most).subquery()
        with self.database.read() as connection:
            return connection.execute(select(func.count()).select_from(counted)).scalar_one()

    def removed(self) -> set[int]:
        """Row ids of the documents that were removed."""
        with self.database.read() as connection:
            return removal.removed(connection)

    def given_labels(self) -> list[str]:
        """The labels that documents came with, as they are kept."""
        with self.database.read() as connection:
            return list(connection.scalars(select(document.c.label).where(document.c.label.is_not(None))))

    def counts(self) -> dict[str, Any]:
        """Documents by state, the test documents of the pool, and what was refused by reason."""
        total = func.count()
        with self.database.read() as connection:
            states = connection.execute(
                select(document.c.state, document.c.split, total).group_by(document.c.state, document.c.split)
            ).all()
            refused = connection.execute(select(rejection.c.reason, total).group_by(rejection.c.reason)).all()
        counts: dict[str, Any] = dict.fromkeys(("pool", "test", "found", "duplicate", "aside"), 0)
        for state, split, number in states:
            counts[state] = counts.get(state, 0) + number  # nothing is said of removal where there was none
            counts["test"] += number if (state, split) == ("pool", "test") else 0
        return counts | {"rejected": {reason: number for reason, number in sorted(refused)}}


def _chunks(documents: Iterable[Document]) -> Iterator[list[Document]]:
    chunk: list[Document] = []
    characters = 0
    for found in documents:
        chunk.append(found)
        characters += len(found.text) if isinstance(found.text, str) else 0
        if len(chunk) >= CHUNK or characters >= CHUNK_CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk
