"""The frontier: which addresses are known, which are being fetched, which are done; rows of the table `url`.

A page's documents, its links and the note that it is done are one transaction, so a crawl that is killed at any moment
goes on where it was: a page is fetched again, at worst, but nothing is lost and nothing doubled. (Scrapy's own JOBDIR
loses most of a crawl to ``kill -9``: https://github.com/scrapy/scrapy/issues/7978.)

Each host's pages are leased level by level, by depth and then by row id: on one host a page's depth is the length of
the shortest way to it, however fast its neighbours answer, so what `max_depth` cuts off is the same in every crawl. A
redirect is a step too, lest a chain of them never end, but for the first few from a start, and of a page that is only
spelled differently.
Hosts take turns and do not wait for one another. So where a shorter way leads over another host, a page that is
fetched already keeps the depth of the way known then; one that is not gets the smaller depth. What `max_pages` cuts
off depends on the order of arrival. A page that is due again (`crawlers.visits`) is leased as if it were new, once
nothing else is left, and counts once.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, or_, select, update

from crawlers import visits
from crawlers.addresses import are_spellings, host, is_inside
from crawlers.failures import OFF_SITE, PASSING
from crawlers.settings import HARDENED
from discover.db import Database, insert_into, insert_new, now
from discover.pool.document import Document
from discover.pool.pool import Pool
from discover.run import crashpoint
from discover.tables import document, rejection, url, visit

LEASE_SECONDS = 15 * 60  # longer than any fetch, pauses included
LONGEST = HARDENED["LONGEST_PAUSE"]  # seconds before another attempt of a page; whoever asks for more rests as a host
REMEMBERED = 200_000  # addresses that need no second insert; a matter of speed alone
HOPS = 10  # redirects one after another that lead no deeper
LOOKS = 100  # for pages that are due again, in the time after which they are: each goes through the whole frontier


@dataclass(frozen=True)
class Leased:
    """An address that this process may fetch; of a page that was read before, what it called that version."""

    id: int
    address: str
    depth: int
    attempts: int
    etag: str = ""
    modified: str = ""


@dataclass
class Outcome:
    """What became of a leased address.

    Attributes:
        page: the lease.
        status: of HTTP; None where there was no response.
        documents: what the page holds.
        links: addresses that it leads to, each in its canonical form.
        version: what the page calls what was read of it.
        reason: why nothing was taken from it; empty for a page that was read.
        detail: the same in a sentence.
        retry_after: seconds after which to try once more; None: this is final.
        given_back: whether the attempt does not count, since it failed through no fault of the page.
    """

    page: Leased
    status: int | None = None
    documents: list[Document] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    version: dict[str, str] | None = None
    reason: str = ""
    detail: str = ""
    retry_after: float | None = None
    given_back: bool = False

    @property
    def is_refused(self) -> bool:
        """Whether the address is given up: not one that was read, or that led to another, or is tried once more."""
        return self.retry_after is None and self.reason not in ("", "redirect")


class Frontier:
    """The crawl's part of a run's database; one crawl at a time.

    Args:
        pool: takes the documents, in the database of which the frontier lives.
        max_pages: how many addresses are fetched, over all sessions of the crawl; with `revisit`, each time around.
        max_depth: how many links away from the start.
        revisit: seconds after which a page is due again; None: never.
    """

    def __init__(self, pool: Pool, max_pages: int, max_depth: int, revisit: float | None = None):
        self.database: Database = pool.database
        self.pool = pool
        self.max_pages, self.max_depth, self.revisit = max_pages, max_depth, revisit
        self._renewed = False
        self._begun = self._look = 0.0  # this session; when to look next for pages that are due again
        self._remembered: dict[str, int] = {}  # address: depth
        self._hops: dict[str, int] = {}  # address: redirects that led there, and no deeper
        self._hosts: dict[str, float] = {}  # those that may have work, and from when on; whose turn is next comes first
        with self.database.write() as connection:
            for index in url.indexes:  # a run of an earlier version has others
                index.create(connection, checkfirst=True)
            visit.create(connection, checkfirst=True)
            self._count(connection)

    def _count(self, connection: Connection) -> None:
        self.finished_before: int = connection.execute(_FINISHED).scalar_one()
        self.left = self.max_pages - self.finished_before

    def seed(self, addresses: Iterable[str], domains: Collection[str] = ()) -> None:
        """Begin a session: take in the start addresses, and what a killed crawl was fetching.

        What failed before is tried again if it is a start address, or if the reason may be gone by now.

        Args:
            addresses: of the start.
            domains: those of this session; an earlier one may have known fewer, and left a redirect at that.
        """
        rows = [_row(address, 0) for address in addresses]
        starts = url.c.address.in_([row["address"] for row in rows])
        failed = (url.c.state == "failed") & (starts | url.c.reason.in_(PASSING))
        with self.database.write() as connection:
            connection.execute(update(url).where(url.c.state == "leased").values(state="new", lease_until=0.0))
            connection.execute(update(url).where(failed).values(state="new", lease_until=0.0, attempts=0, reason=""))
            connection.execute(delete(rejection).where(rejection.c.reason.in_(PASSING)))
            self._readmit(connection, domains)
            self._count(connection)
            insert_new(connection, url, rows)
            self._hosts = dict.fromkeys(connection.execute(_HOSTS).scalars(), 0.0)
        self._renewed, self._begun, self._look = False, now(), 0.0

    def _readmit(self, connection: Connection, domains: Collection[str]) -> None:
        """Take redirects up again that lead to these domains."""
        left = select(rejection.c.address, rejection.c.detail).where(rejection.c.reason == OFF_SITE)
        found = [{"place": place} for place, target in connection.execute(left).all() if is_inside(target, domains)]
        if found:
            connection.execute(_READMIT, found)
            there = (rejection.c.address == bindparam("place")) & (rejection.c.reason == OFF_SITE)
            connection.execute(delete(rejection).where(there), found)

    def renew(self, endless: bool) -> float | None:
        """Take up what is due again, when nothing else is left: else what is found first would keep out the rest.

        Args:
            endless: whenever something is due; otherwise once a session, what was due as it began.

        Returns:
            seconds until there may be some (more) to fetch; None where there is none in this session.
        """
        if self.revisit is None or (self._renewed and not endless):
            return None
        moment = now()
        if moment < self._look:
            return self._look - moment
        self._renewed, self._look = True, moment + self.revisit / LOOKS
        with self.database.write() as connection:
            found = visits.renew(connection, (moment if endless else self._begun) - self.revisit)
            self._hosts.update(dict.fromkeys(connection.execute(_HOSTS).scalars(), 0.0))
        self.left += found
        if found:
            return 0.0
        return self._look - moment if endless else None

    def lease(self, n: int, avoid: Collection[str] = (), each: int | None = None) -> list[Leased]:
        """Up to n addresses, each of the lowest unfinished depth of its host.

        Args:
            n: how many.
            avoid: hosts that are to be left alone at the moment.
            each: how many of one host at most.
        """
        n, moment = min(n, self.left), now()
        turns = [name for name, due in self._hosts.items() if not _left(due, moment) and name not in avoid]
        if n <= 0 or not turns:
            return []
        pages: list[Leased] = []
        with self.database.write() as connection:
            for name in turns:
                pages += self._next(connection, name, min(n - len(pages), each or n), moment)
                if len(pages) == n:
                    break
            if pages:
                taken = url.c.id.in_([page.id for page in pages])
                connection.execute(update(url).where(taken).values(state="leased", lease_until=now() + LEASE_SECONDS))
        self.left -= len(pages)
        return pages

    def _next(self, connection: Connection, name: str, n: int, moment: float) -> list[Leased]:
        """Up to n addresses of a host, which goes to the end of the queue, or out of it while it has none."""
        due = self._hosts.pop(name)
        level, leased = (connection.execute(_LEVEL, {"host": name, "state": s}).scalar() for s in ("new", "leased"))
        if level is None or (leased is not None and leased < level):
            return []  # nothing, or not before what is under way is recorded
        wanted = _at(name, level, moment=moment, latest=moment + LONGEST, n=n)
        found = [Leased(*row) for row in connection.execute(_DUE, wanted)]
        if not found:
            due = connection.execute(_FIRST_DUE, _at(name, level)).scalar_one()
        self._hosts[name] = due
        return found

    def waiting(self, rests: Mapping[str, float] | None = None) -> float | None:
        """Seconds until `lease` may give an address again; None where there is none to fetch at all.

        Args:
            rests: hosts that are to be left alone, and for how many seconds.
        """
        rests, moment = rests or {}, now()
        if rests.keys() & self._hosts.keys():
            self._forget_idle(rests)
        if self.left <= 0 or not self._hosts:
            return None
        return min(max(_left(due, moment), rests.get(name, 0.0)) for name, due in self._hosts.items())

    def has_work(self, name: str) -> bool:
        """Whether a host may have addresses that are still to be fetched."""
        return name in self._hosts

    def _forget_idle(self, names: Iterable[str]) -> None:
        """Drop the hosts that have no work; of those which are avoided, `lease` does not find it out."""
        with self.database.read() as connection:
            for name in self._hosts.keys() & set(names):
                if connection.execute(_LEVEL, {"host": name, "state": "new"}).scalar() is None:
                    del self._hosts[name]

    def record(self, outcomes: Iterable[Outcome]) -> Counter[str]:
        """Write what became of several pages, all of it or nothing.

        Returns:
            what the pool counted, as of `Pool.add`.
        """
        outcomes = list(outcomes)
        found = self.pool.prepare(document for outcome in outcomes for document in outcome.documents)
        links = self._new_links(outcomes)
        with self.database.write() as connection:
            counts = self.pool.add_in(connection, found)
            _insert_links(connection, links)
            for outcome in outcomes:
                if outcome.is_refused:
                    self.pool.reject(connection, outcome.page.address, outcome.reason, outcome.detail)
            if outcomes:
                connection.execute(_FINISH, [_finish(outcome) for outcome in outcomes])
                visits.note(connection, now(), [(o.page.id, o.version) for o in outcomes if o.retry_after is None])
            if self.revisit is not None:  # a session that goes on for good sees what had failed come back
                read = [outcome.page.address for outcome in outcomes if not outcome.reason]
                passed = rejection.c.address.in_(read) & rejection.c.reason.in_(PASSING)
                connection.execute(delete(rejection).where(passed))
            crashpoint("crawl.record")
        crashpoint("crawl.recorded")
        self.left += sum(outcome.retry_after is not None for outcome in outcomes)
        self._remember(links)
        self._look_again(outcome.page for outcome in outcomes)
        for row in links:
            self._hosts.setdefault(row["host"], 0.0)
        return counts

    def release(self, pages: Iterable[Leased]) -> None:
        """Give back what will not be fetched now."""
        pages = list(pages)
        ids = [page.id for page in pages]
        if ids:
            with self.database.write() as connection:
                mine = url.c.id.in_(ids) & (url.c.state == "leased")
                connection.execute(update(url).where(mine).values(state="new", lease_until=0.0))
            self._look_again(pages)

    def is_empty_handed(self) -> bool:
        """Whether the database holds no document at all."""
        with self.database.read() as connection:
            return connection.execute(select(document.c.id).limit(1)).scalar() is None

    def known(self) -> int:
        """How many addresses are known."""
        with self.database.read() as connection:
            return connection.execute(select(func.count()).select_from(url)).scalar() or 0

    def _new_links(self, outcomes: list[Outcome]) -> list[dict[str, Any]]:
        depths: dict[str, int] = {}
        for outcome in outcomes:
            hops = self._hops.get(outcome.page.address, 0)
            for address in outcome.links:
                if stays := hops < HOPS and _stays(outcome, address):
                    self._hops[address] = hops + 1
                depth = outcome.page.depth + (not stays)
                if depth > self.max_depth:
                    continue
                if depth < min(self._remembered.get(address, depth + 1), depths.get(address, depth + 1)):
                    depths[address] = depth
        return [_row(address, depth) for address, depth in depths.items()]

    def _remember(self, links: list[dict[str, Any]]) -> None:
        if len(self._remembered) > REMEMBERED:
            self._remembered.clear()
        self._remembered.update((row["address"], row["depth"]) for row in links)

    def _look_again(self, pages: Iterable[Leased]) -> None:
        """What has become of these pages may have given their hosts work, or the next level."""
        self._hosts.update((host(page.address), 0.0) for page in pages)


_HOSTS = select(url.c.host).where(url.c.state == "new").distinct().order_by(url.c.host)
_FINISHED = (  # what the next session will try again does not count
    select(func.count())
    .select_from(url)
    .where((url.c.state == "done") | ((url.c.state == "failed") & url.c.reason.not_in(PASSING)))
)
_OF_HOST = (url.c.host == bindparam("host")) & (url.c.state == bindparam("state"))
_LEVEL = select(func.min(url.c.depth)).where(_OF_HOST)  # by the index alone, as long as it asks for one state
_ON_LEVEL = _OF_HOST & (url.c.depth == bindparam("level"))
_DUE = (
    select(
        *(url.c.id, url.c.address, url.c.depth, url.c.attempts),
        *(func.coalesce(column, "") for column in (visit.c.etag, visit.c.modified)),
    )
    .join(visit, visit.c.url_id == url.c.id, isouter=True)
    .where(_ON_LEVEL, or_(url.c.lease_until <= bindparam("moment"), url.c.lease_until > bindparam("latest")))
    .order_by(url.c.id)
    .limit(bindparam("n"))
)
_FIRST_DUE = select(func.min(url.c.lease_until)).where(_ON_LEVEL)
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


_READMIT = (
    update(url)
    .where(url.c.address == bindparam("place"), url.c.state == "failed")
    .values(state="new", lease_until=0.0, attempts=0, reason="")
)


def _finish(outcome: Outcome) -> dict[str, Any]:
    again = outcome.retry_after is not None
    return {
        "row_id": outcome.page.id,
        "new_state": "new" if again else "failed" if outcome.is_refused else "done",
        "new_status": outcome.status,
        "new_reason": outcome.reason,
        "new_attempts": outcome.page.attempts + (not outcome.given_back),
        "new_lease": now() + (outcome.retry_after or 0.0) if again else 0.0,
    }


def _stays(outcome: Outcome, target: str) -> bool:
    """Whether a redirect leads no deeper: a start is still the start, and a page's other spelling still the page."""
    page = outcome.page
    return outcome.reason == "redirect" and (page.depth == 0 or are_spellings(page.address, target))


def _row(address: str, depth: int) -> dict[str, Any]:
    return {"address": address, "host": host(address), "depth": depth}


def _left(due: float, moment: float) -> float:
    """Seconds until a page may be had; none where they are more than there can be, since the clock was set back."""
    left = due - moment
    return left if 0 < left <= LONGEST else 0.0


def _at(name: str, level: int, **more: float) -> dict[str, Any]:
    return {"host": name, "state": "new", "level": level, **more}


def _insert_links(connection: Connection, rows: list[dict[str, Any]]) -> None:
    """Insert the addresses that are new; of those still to be fetched the smaller depth counts."""
    if not rows:
        return
    insert = insert_into(connection, url)
    nearer = (url.c.state == "new") & (url.c.depth > insert.excluded.depth)
    lower = {"depth": insert.excluded.depth}
    connection.execute(insert.on_conflict_do_update(index_elements=[url.c.address], set_=lower, where=nearer), rows)
