"""Rows of `slot` and `answer`: what the queue reads and writes inside one transaction."""

import secrets
from collections import Counter
from typing import Any

from sqlalchemy import Connection, Row, and_, func, insert, select, update

from discover import db, tables
from discover.errors import DiscoverError

NAME_LENGTH = 64
SNIPPET = 300


def check_name(annotator: str) -> None:
    """Refuse an empty name, or one that the database has no room for."""
    if not annotator.strip() or len(annotator) > NAME_LENGTH:
        raise DiscoverError(f"an annotator's name has 1 to {NAME_LENGTH} characters, got {len(annotator.strip())}")


def new_token(public_id: str) -> str:
    """A lease's name. Its first half says which document, so that an answer never lands on another run's slot."""
    return public_id[:16] + secrets.token_hex(8)


def locked(connection: Connection, slot: int, token: str | None = None) -> Row[Any]:
    """Read a slot, with its document's public id, and hold it until the transaction ends.

    Raises:
        DiscoverError: there is none, or the token (if given) was made for another document.
    """
    wanted = (
        select(tables.slot, tables.document.c.public_id)
        .join(tables.document)
        .where(tables.slot.c.id == slot)
        .with_for_update(of=tables.slot)
    )
    row = connection.execute(wanted).first()
    if row is None:
        raise DiscoverError(f"there is no question {slot} in this run: reload the page")
    if token is not None and (len(token) != 32 or token[:16] != row.public_id[:16]):
        raise DiscoverError(f"this answer was not given to question {slot} of this run: reload the page")
    return row


def text_of(connection: Connection, slot: int) -> str:
    """The text that a slot asks about.

    Raises:
        DiscoverError: there is no such slot, or what it asked about was removed.
    """
    wanted = select(tables.document.c.text, tables.slot.c.state).join(tables.slot).where(tables.slot.c.id == slot)
    row = connection.execute(wanted).first()
    if row is None:
        raise DiscoverError(f"there is no question {slot} in this run: reload the page")
    if row.state == tables.REMOVED:
        raise withdrawn(slot)
    return str(row.text)


def withdrawn(slot: int) -> DiscoverError:
    """What is said of a question whose document was removed."""
    return DiscoverError(f"question {slot} was withdrawn, since its document was removed: reload the page")


def already(connection: Connection, slot: int, key: str | None) -> bool:
    """Whether this very submission has arrived before.

    Raises:
        DiscoverError: its key was used for another question.
    """
    if key is None:
        return False
    found = connection.execute(select(tables.answer.c.slot_id).where(tables.answer.c.idempotency_key == key)).scalar()
    if found not in (None, slot):
        raise DiscoverError(f"the key of this answer to question {slot} was used for question {found}: reload the page")
    return found == slot


def append(connection: Connection, row: Row[Any], annotator: str, label: str | None, key: str | None) -> None:
    """Add an answer, or a skip where the label is None, to the events."""
    check_name(annotator)
    event = {
        "slot_id": row.id,
        "annotator": annotator,
        "action": "skip" if label is None else "answer",
        "label": label,
        "created": db.now(),
        "idempotency_key": key,
    }
    connection.execute(insert(tables.answer).values(**event))


def settle(connection: Connection, row: Row[Any], annotator: str, label: str | None, price: float) -> None:
    """Bring the slot up to its latest event; an answer costs its price, an imported one or a skip nothing."""
    free = label is None or row.kind == "import"
    present = {
        "state": "skipped" if label is None else "answered",
        "label": label,
        "annotator": annotator,
        "cost": 0.0 if free else price,
        "owner": "",
        "lease_until": 0.0,
    }
    connection.execute(update(tables.slot).where(tables.slot.c.id == row.id).values(**present))


def release(connection: Connection, annotator: str) -> None:
    """End the annotator's leases; the tokens stay, so that an answer on its way still fits."""
    held = and_(tables.slot.c.owner == annotator, tables.slot.c.state == "open")
    connection.execute(update(tables.slot).where(held).values(owner="", lease_until=0.0))


def contradicted(arm: str) -> Any:
    """Select the ids of an arm's imported answers whose documents keep no label, since a later import had another."""
    slot = tables.slot.c
    standing = (slot.arm == arm, slot.state == "answered", slot.kind == "import", slot.annotator == "import")
    return select(slot.id).join(tables.document).where(*standing, tables.document.c.label.is_(None))


def take_back(connection: Connection, arm: str) -> None:
    """Let an arm's contradicted answers stand no longer; as after a skip, it does not ask about these documents."""
    mine = tables.slot.c.id.in_(contradicted(arm))
    connection.execute(update(tables.slot).where(mine).values(state="skipped", label=None))


def withdraw(connection: Connection) -> Counter[str]:
    """Let go of everything that was asked about documents that were removed.

    What their answers have cost stays spent, and that they were given, but not what they said; an answer that is on its
    way changes nothing.

    Returns:
        How many slots were "open", "answered", "skipped" before.
    """
    gone = select(tables.document.c.id).where(tables.document.c.state == tables.REMOVED)
    about = (tables.slot.c.document_id.in_(gone), tables.slot.c.state != tables.REMOVED)
    counts = Counter(connection.scalars(select(tables.slot.c.state).where(*about)))
    nobody = {"label": None, "annotator": "", "owner": "", "lease_until": 0.0}
    mine = tables.answer.c.slot_id.in_(select(tables.slot.c.id).where(*about))
    connection.execute(update(tables.answer).where(mine).values(label=None))
    connection.execute(update(tables.slot).where(*about).values(state=tables.REMOVED, **nobody))
    return counts


def latest_of(annotator: str, arm: str, whole: bool = False) -> Any:
    """Select the annotator's answers and skips that still stand, newest first, in the shape of `Past`.

    Args:
        annotator: whose.
        arm: who asked.
        whole: the text to its end, not only its beginning.
    """
    slot, document = tables.slot.c, tables.document.c
    last = (
        select(tables.answer.c.slot_id, func.max(tables.answer.c.id).label("event"))
        .where(tables.answer.c.annotator == annotator)
        .group_by(tables.answer.c.slot_id)
        .subquery()
    )
    text = document.text if whole else func.substr(document.text, 1, SNIPPET)
    return (
        select(slot.id, slot.document_id, slot.label, document.title, text.label("text"))
        .join(last, last.c.slot_id == slot.id)
        .join(tables.document)
        .where(slot.arm == arm, slot.annotator == annotator, slot.state != "open")
        .order_by(last.c.event.desc())
    )
