"""The frontier: which addresses are known, which are being fetched, which are done; rows of the table `url`.

A page's documents, its links and the note that it is done are one transaction, so a crawl that is killed at any moment
goes on where it was: a page is fetched again, at worst, but nothing is lost and nothing doubled. (Scrapy's own JOBDIR
loses most of a crawl to ``kill -9``: https://github.com/scrapy/scrapy/issues/7978.)

Pages are leased level by level, by depth and then by row id: a page's depth is the length of the shortest way to it,
however fast its neighbours answer, so what `max_depth` cuts off is the same in every crawl. What `max_pages` cuts off
is not: there the order of arrival decides.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import bindparam, func, select, update

from crawlers.addresses import canonical, host
from discover.db import Database, insert_new, now
from discover.pool.document import Document
from discover.pool.pool import Pool
from discover.run import crashpoint
from discover.tables import document, url

LEASE_SECONDS = 15 * 60  # longer than any fetch, pauses included
REMEMBERED = 200_000  # addresses that need no second insert; a matter of speed alone


@dataclass(frozen=True)
class Leased:
    """An address that this process may fetch."""

    id: int
    address: str
    depth: int
    attempts: int


@dataclass
class Outcome:
    """What became of a leased address.

    Attributes:
        page: the lease.
        status: of HTTP; None where there was no response.
        documents: what the page holds.
        links: addresses that it leads to.
        reason: why nothing was taken from it; empty for a page that was read.
        detail: the same in a sentence.
        retry_after: seconds after which to try once more; None: this is final.
    """

    page: Leased
    status: int | None = None
    documents: list[Document] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    reason: str = ""
    detail: str = ""
    retry_after: float | None = None


class Frontier:
    """The crawl's part of a run's database; one crawl at a time.

    Args:
        pool: takes the documents, in the database of which the frontier lives.
        max_pages: how many addresses are fetched, over all sessions of the crawl.
        max_depth: how many links away from the start.
    """

    def __init__(self, pool: Pool, max_pages: int, max_depth: int):
        self.database: Database = pool.database
        self.pool = pool
        self.max_depth = max_depth
        self._remembered: set[str] = set()
        with self.database.read() as connection:
            self.finished_before = _count(connection, "done", "failed")
        self.left = max_pages - self.finished_before

    def seed(self, addresses: Iterable[str]) -> None:
        """Take in the start addresses, those too that failed before, and what a killed crawl was fetching."""
        rows = [_row(address, 0) for address in addresses]
        failed = (url.c.state == "failed") & url.c.address.in_([row["address"] for row in rows])
        with self.database.write() as connection:
            connection.execute(update(url).where(url.c.state == "leased").values(state="new", lease_until=0.0))
            connection.execute(update(url).where(failed).values(state="new", lease_until=0.0, attempts=0, reason=""))
            insert_new(connection, url, rows)

    def lease(self, n: int, avoid: Collection[str] = ()) -> list[Leased]:
        """Up to n addresses of the lowest unfinished depth.

        Args:
            n: how many.
            avoid: hosts that are to be left alone at the moment.
        """
        n = min(n, self.left)
        if n <= 0:
            return []
        with self.database.write() as connection:
            wanted = (
                select(url.c.id, url.c.address, url.c.depth, url.c.attempts)
                .where(url.c.state == "new", _ON_LEVEL, url.c.lease_until <= now())
                .where(url.c.host.not_in(list(avoid)))
                .order_by(url.c.depth, url.c.id)
                .limit(n)
            )
            pages = [Leased(*row) for row in connection.execute(wanted)]
            if pages:
                taken = url.c.id.in_([page.id for page in pages])
                connection.execute(update(url).where(taken).values(state="leased", lease_until=now() + LEASE_SECONDS))
        self.left -= len(pages)
        return pages

    def waiting(self) -> float | None:
        """Seconds until `lease` may give an address again; None where there is none to fetch at all."""
        if self.left <= 0:
            return None
        with self.database.read() as connection:
            due = connection.execute(select(func.min(url.c.lease_until)).where(_UNFINISHED, _ON_LEVEL)).scalar()
        return None if due is None else max(0.0, due - now())

    def record(self, outcomes: Iterable[Outcome]) -> Counter[str]:
        """Write what became of several pages, all of it or nothing.

        Returns:
            what the pool counted: "new", "seen", and reasons of refusal.
        """
        outcomes = list(outcomes)
        with self.database.write() as connection:
            found = [document for outcome in outcomes for document in outcome.documents]
            counts = self.pool.add_in(connection, found) if found else Counter()
            links = self._new_links(outcomes)
            insert_new(connection, url, links)
            for outcome in outcomes:
                if outcome.reason and outcome.retry_after is None:
                    self.pool.reject(connection, outcome.page.address, outcome.reason, outcome.detail)
            if outcomes:
                connection.execute(_FINISH, [_finish(outcome) for outcome in outcomes])
            crashpoint("crawl.record")
        crashpoint("crawl.recorded")
        self.left += sum(outcome.retry_after is not None for outcome in outcomes)
        self._remember(row["address"] for row in links)
        return counts

    def release(self, pages: Iterable[Leased]) -> None:
        """Give back what will not be fetched now."""
        ids = [page.id for page in pages]
        if ids:
            with self.database.write() as connection:
                mine = url.c.id.in_(ids) & (url.c.state == "leased")
                connection.execute(update(url).where(mine).values(state="new", lease_until=0.0))

    def is_empty_handed(self) -> bool:
        """Whether the database holds no document at all."""
        with self.database.read() as connection:
            return connection.execute(select(document.c.id).limit(1)).scalar() is None

    def known(self) -> int:
        """How many addresses are known."""
        with self.database.read() as connection:
            return connection.execute(select(func.count()).select_from(url)).scalar() or 0

    def _new_links(self, outcomes: list[Outcome]) -> list[dict[str, Any]]:
        rows: dict[str, dict[str, Any]] = {}
        for outcome in outcomes:
            # a start address that redirects is still the start
            depth = 0 if outcome.reason == "redirect" and outcome.page.depth == 0 else outcome.page.depth + 1
            if depth > self.max_depth:
                continue
            for link in outcome.links:
                address = canonical(link)
                if address is None or address in self._remembered:
                    continue
                if address not in rows or rows[address]["depth"] > depth:
                    rows[address] = _row(address, depth)
        return list(rows.values())

    def _remember(self, addresses: Iterable[str]) -> None:
        if len(self._remembered) > REMEMBERED:
            self._remembered.clear()
        self._remembered.update(addresses)


_UNFINISHED = url.c.state.in_(["new", "leased"])
_ON_LEVEL = url.c.depth == select(func.min(url.c.depth)).where(_UNFINISHED).scalar_subquery()
_FINISH = (
    update(url)
    .where(url.c.id == bindparam("row_id"))
    .values(
        state=bindparam("new_state"),
        status=bindparam("new_status"),
        reason=bindparam("new_reason"),
        attempts=bindparam("new_attempts"),
        lease_until=bindparam("new_lease"),
    )
)


def _finish(outcome: Outcome) -> dict[str, Any]:
    again = outcome.retry_after is not None
    failed = outcome.reason not in ("", "redirect")
    return {
        "row_id": outcome.page.id,
        "new_state": "new" if again else "failed" if failed else "done",
        "new_status": outcome.status,
        "new_reason": outcome.reason,
        "new_attempts": outcome.page.attempts + 1,
        "new_lease": now() + (outcome.retry_after or 0.0) if again else 0.0,
    }


def _row(address: str, depth: int) -> dict[str, Any]:
    return {"address": address, "host": host(address), "depth": depth}


def _count(connection: Any, *states: str) -> int:
    return connection.execute(select(func.count()).select_from(url).where(url.c.state.in_(states))).scalar() or 0
