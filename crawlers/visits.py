"""When addresses were fetched, which of them are due again, and how a page is asked whether it has changed since.

A page names the version that it sends, and is sent nothing but a status as long as that is the newest (RFC 9110, 13.1,
https://www.rfc-editor.org/rfc/rfc9110#section-13.1).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, and_, bindparam, exists, or_, update

from crawlers.failures import PASSING
from discover.db import insert_into
from discover.tables import url, visit

READ, UNCHANGED = 200, 304
LONGEST = 1000  # characters of a version's name; a longer one is not kept
_TOLD = {"etag": "ETag", "modified": "Last-Modified"}


def conditions(etag: str, modified: str) -> dict[str, bytes]:
    """The headers of a request for a page that was read in this version; empty where it has no name."""
    named = {"If-None-Match": etag, "If-Modified-Since": modified}
    return {header: value.encode("latin-1") for header, value in named.items() if value}


def version_of(headers: Mapping[str, bytes | None]) -> dict[str, str]:
    """What a response's headers call the version of the page."""
    told = {name: (headers.get(header) or b"").decode("latin-1").strip() for name, header in _TOLD.items()}
    return {name: value if value.isprintable() and len(value) <= LONGEST else "" for name, value in told.items()}


def note(connection: Connection, moment: float, fetched: Sequence[tuple[int, dict[str, str] | None]]) -> None:
    """Write that addresses were fetched.

    Args:
        connection: of a write transaction.
        moment: when.
        fetched: row ids, and the version of what was read; None keeps the one before.
    """
    asked = [{"url_id": row, "fetched": moment} for row, version in fetched if version is None]
    read = [{"url_id": row, "fetched": moment, **version} for row, version in fetched if version is not None]
    for rows in (asked, read):
        if rows:
            insert = insert_into(connection, visit)
            renewed = {name: insert.excluded[name] for name in rows[0] if name != "url_id"}
            connection.execute(insert.on_conflict_do_update(index_elements=[visit.c.url_id], set_=renewed), rows)


def renew(connection: Connection, before: float) -> int:
    """Make addresses that were last fetched before a moment, or none knows when, new again; returns how many.

    What could not be had for good stays so. A page that was read and not kept, for its language, say, links to others.
    """
    return connection.execute(_RENEW, {"before": before}).rowcount


_LATER = exists().where(visit.c.url_id == url.c.id, visit.c.fetched > bindparam("before"))
_FETCHED = or_(
    url.c.state == "done", and_(url.c.state == "failed", or_(url.c.reason.in_(PASSING), url.c.status == READ))
)
_RENEW: Any = update(url).where(_FETCHED, ~_LATER).values(state="new", lease_until=0.0, attempts=0, reason="")
