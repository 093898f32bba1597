"""The labeling queue: slots on lease, answers append-only, so that no answer is lost, doubled or asked for twice.

A slot is one answer wanted of one arm about one document. An annotator leases it, with a token, and answers, skips, or
lets the lease run out. Work that arrives late is kept: under an expired lease an answer still counts, unless another
annotator's came first; then it is kept as an event only. `slot` is the present view of the events in `answer`.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, and_, case, exists, func, insert, or_, select, update

from discover import db, tables
from discover.errors import DiscoverError
from discover.label import slots
from discover.label.questions import Labelled, Outcome, Past, Question, Tally
from discover.pool.intake import fetch
from discover.pool.labels import Labels, Multiclass
from discover.pool.removal import removed
from discover.pool.words import count_words

ANY_CLASS = Multiclass()


class Queue:
    """The queue of all arms of a run.

    Args:
        database: the run's database.
        lease_minutes: how long a question is held for one annotator.
        labels: what is accepted as an answer.
        by_words: whether an answer costs as much as its text has words, and not one label.
    """

    def __init__(self, database: db.Database, lease_minutes: float, labels: Labels = ANY_CLASS, by_words: bool = False):
        self.database = database
        self.by_words = by_words
        self.lease_seconds = lease_minutes * 60
        self.accepted = labels

    @property
    def unit(self) -> str:
        """What answers cost."""
        return "words" if self.by_words else "labels"

    def put(self, connection: Connection, arm: str, round_: int, rows: Sequence[dict[str, Any]]) -> None:
        """Open slots inside the caller's transaction; a document that was asked about, or removed, is left alone.

        Args:
            connection: of the transaction that also records the picks.
            arm: who asks.
            round_: when.
            rows: `document_id`, `kind` (policy | audit), `part` (of an audit: decide | report), `position`.
        """
        gone = removed(connection)  # since they were chosen
        rows = [row for row in rows if row["document_id"] not in gone]
        opened = [{"part": "", **row, "arm": arm, "round": round_} for row in rows]
        db.insert_new(connection, tables.slot, opened)

    def seed_imported(self, arm: str, connection: Connection) -> int:
        """Give the arm the labels that came with imported training documents, at no cost; returns how many are new.

        One that a later import has contradicted is taken back; one of a document that was skipped answers it.
        """
        slots.take_back(connection, arm)
        given = {"arm": arm, "round": 0, "kind": "import", "state": "answered", "annotator": "import"}
        answered = [
            {**given, "position": position, "document_id": row_id, "label": label}
            for position, (row_id, label) in enumerate(self._imported(arm, connection, "pool"))
        ]
        if answered:
            new = db.insert_into(connection, tables.slot)
            over = {name: new.excluded[name] for name in ("kind", "state", "annotator", "label")}
            connection.execute(new.on_conflict_do_update(index_elements=["arm", "document_id"], set_=over), answered)
        return len(answered)

    def behind(self, arm: str) -> bool:
        """Whether `seed_imported` would change the arm's answers after the next intake."""
        with self.database.read() as connection:
            if connection.execute(slots.contradicted(arm).limit(1)).first() is not None:
                return True
            return bool(self._imported(arm, connection, "pool", "found"))

    def _imported(self, arm: str, connection: Connection, *states: str) -> list[tuple[int, str]]:
        """Row ids and labels of imported training documents in these states that the arm has no slot for.

        Or one that its strategy chose and that was skipped.
        """
        slot = tables.slot.c
        skipped = and_(slot.kind == "policy", slot.state == "skipped")
        known = select(slot.id).where(slot.arm == arm, slot.document_id == tables.document.c.id, ~skipped)
        wanted = select(tables.document.c.public_id, tables.document.c.id, tables.document.c.label).where(
            tables.document.c.label.is_not(None),
            tables.document.c.split == "train",
            tables.document.c.state.in_(states),
            ~exists(known),
        )
        rows = sorted(map(tuple, connection.execute(wanted)))  # sorting in SQL would cost a scan of the whole pool
        return [(row_id, label) for _, row_id, label in rows if self.accepted.knows(label)]

    def claim(self, arm: str, annotator: str, n: int = 1) -> list[Question]:
        """Lease up to n questions, first those that the annotator holds already, then by round and position.

        A question that is held keeps its token, and its lease starts anew; another's is free once its lease is over.
        """
        slots.check_name(annotator)
        now = db.now()
        mine = tables.slot.c.owner == annotator
        free = (
            select(
                tables.slot.c.id,
                tables.slot.c.document_id,
                tables.slot.c.token,
                mine.label("mine"),
                tables.document.c.public_id,
            )
            .join(tables.document)
            .where(tables.slot.c.arm == arm, tables.slot.c.state == "open", or_(mine, tables.slot.c.lease_until <= now))
            .order_by(case((mine, 0), else_=1), tables.slot.c.round, tables.slot.c.position, tables.slot.c.id)
            .limit(n)
            .with_for_update(skip_locked=True, of=tables.slot)  # SQLite knows no row locks and needs none: one writes
        )
        with self.database.write() as connection:
            rows = connection.execute(free).all()
            tokens = {row.id: row.token if row.mine else slots.new_token(row.public_id) for row in rows}
            for slot, token in tokens.items():
                lease = self._lease(annotator, token)
                connection.execute(update(tables.slot).where(tables.slot.c.id == slot).values(**lease))
            documents = fetch(connection, [row.document_id for row in rows])
        return [Question(row.id, tokens[row.id], documents[row.document_id]) for row in rows]

    def release(self, annotator: str) -> None:
        """Give back what the annotator holds; an answer that is still on its way is kept all the same."""
        with self.database.write() as connection:
            slots.release(connection, annotator)

    def answer(self, slot: int, token: str, annotator: str, label: str, key: str | None = None) -> Outcome:
        """Record an answer; an annotator's own second answer to the same question replaces the first.

        Args:
            slot: from the question.
            token: from the question; its lease may be over.
            annotator: who answers.
            label: as it is kept (`discover.pool.labels`).
            key: names this submission; sent again, it changes nothing.

        Raises:
            DiscoverError: the label is none of the classes, or slot and token do not belong together.
        """
        self._check_label(label)
        with self.database.write() as connection:
            row = slots.locked(connection, slot, token)
            own = row.annotator == annotator
            if slots.already(connection, slot, key) or (own and row.state == "answered" and row.label == label):
                return Outcome(row.document_id, row.kind, own, row.state == "answered" and not own)
            counts = own or row.state not in ("answered", tables.REMOVED)
            slots.append(connection, row, annotator, label, key)
            if counts:
                slots.settle(connection, row, annotator, label, self._price(connection, row.document_id))
            return Outcome(row.document_id, row.kind, counts, row.state == "answered" and not own)

    def skip(self, slot: int, token: str, annotator: str, key: str | None = None) -> Outcome:
        """Give a question back without an answer: it costs nothing, and the arm does not ask it again.

        A skip that comes after an answer, or while another holds the question, changes nothing but is kept as an event.

        Raises:
            DiscoverError: slot and token do not belong together.
        """
        with self.database.write() as connection:
            row = slots.locked(connection, slot, token)
            own = row.annotator == annotator
            if slots.already(connection, slot, key) or (own and row.state == "skipped"):
                return Outcome(row.document_id, row.kind, counts=own)
            counts = row.state == "open" and (row.token == token or row.lease_until <= db.now())
            slots.append(connection, row, annotator, None, key)
            if counts:
                slots.settle(connection, row, annotator, None, 0.0)
            return Outcome(row.document_id, row.kind, counts)

    def undo(self, annotator: str, arm: str, slot: int | None = None) -> int | None:
        """Take the annotator's last answer or skip back and lease that question to them alone.

        Args:
            annotator: whose.
            arm: who asked.
            slot: which question it must be about; of another nothing is taken back.

        Returns:
            The slot, or None when there is nothing to take back.
        """
        latest = slots.latest_of(annotator, arm).limit(1)
        with self.database.write() as connection:
            found = connection.execute(latest).first()
            if found is None or slot not in (None, found.id):
                return None
            row = slots.locked(connection, found.id)
            if row.annotator != annotator:  # another corrected it meanwhile
                return None
            slots.release(connection, annotator)
            event = {"slot_id": row.id, "annotator": annotator, "action": "undo", "created": db.now()}
            connection.execute(insert(tables.answer).values(**event))
            lease = self._lease(annotator, slots.new_token(row.public_id))
            reopened = {"state": "open", "label": None, "annotator": "", "cost": 0.0, **lease}
            connection.execute(update(tables.slot).where(tables.slot.c.id == row.id).values(**reopened))
            return int(row.id)

    def correct(self, slot: int, annotator: str, label: str, key: str | None = None) -> None:
        """Change an answer, however old, or answer what was skipped.

        Raises:
            DiscoverError: the label is none of the classes, or the slot has not been answered.
        """
        self._check_label(label)
        with self.database.write() as connection:
            row = slots.locked(connection, slot)
            if row.state == "open":
                raise DiscoverError(f"question {slot} has no answer to correct yet: answer it in the queue")
            if row.state == tables.REMOVED:
                raise slots.withdrawn(slot)
            if slots.already(connection, slot, key) or row.label == label:
                return
            slots.append(connection, row, annotator, label, key)
            slots.settle(connection, row, annotator, label, self._price(connection, row.document_id))

    def labels(self, arm: str) -> list[Labelled]:
        """The arm's answers as they now stand, ordered by public id."""
        slot = tables.slot.c
        wanted = (
            select(slot.document_id, slot.label, slot.kind, slot.part, slot.round, slot.annotator)
            .join(tables.document)
            .where(slot.arm == arm, slot.state == "answered")
            .order_by(tables.document.c.public_id)
        )
        with self.database.read() as connection:
            return [Labelled(*row) for row in connection.execute(wanted)]

    def audited(self, arm: str) -> list[Labelled]:
        """What measures the arm's model: the first answer to each audit question, ordered by public id.

        After it the model's guess is shown, so that what is undone, corrected or skipped from then on, by whomever,
        would flatter the model: it changes `labels`, and nothing here.
        """
        slot, answer = tables.slot.c, tables.answer.c
        first = (
            select(func.min(answer.id))
            .where(answer.slot_id == slot.id, answer.action == "answer")
            .correlate(tables.slot)
            .scalar_subquery()
        )
        wanted = (
            select(slot.document_id, answer.label, slot.kind, slot.part, slot.round, answer.annotator)
            .join_from(tables.slot, tables.answer, answer.id == first)
            .join(tables.document, tables.document.c.id == slot.document_id)
            .where(slot.arm == arm, slot.kind == "audit", slot.state != tables.REMOVED)
            .order_by(tables.document.c.public_id)
        )
        with self.database.read() as connection:
            return [Labelled(*row) for row in connection.execute(wanted)]

    def passed_over(self, arm: str, part: str) -> int:
        """How many audit questions of a part were skipped, and never answered."""
        slot, answer = tables.slot.c, tables.answer.c
        said = exists().where(answer.slot_id == slot.id, answer.action == "answer")
        mine = (slot.arm == arm, slot.kind == "audit", slot.part == part, slot.state == "skipped")
        with self.database.read() as connection:
            return connection.execute(select(func.count()).where(*mine, ~said)).scalar_one()

    def spent(self, arm: str) -> float:
        """What the arm's answers have cost, in labels or in words."""
        with self.database.read() as connection:
            total = connection.execute(select(func.sum(tables.slot.c.cost)).where(tables.slot.c.arm == arm)).scalar()
        return float(total or 0.0)

    def owed(self, arm: str) -> float:
        """What the arm's open questions will cost."""
        if not self.by_words:
            return float(self.waiting(arm))
        slot, document = tables.slot.c, tables.document.c
        texts = select(document.text).join(tables.slot, slot.document_id == document.id)
        with self.database.read() as connection:
            return float(sum(map(count_words, connection.scalars(texts.where(slot.arm == arm, slot.state == "open")))))

    def waiting(self, arm: str) -> int:
        """How many questions of the arm are still open, leased ones included."""
        return sum(tally.open for tally in self.tallies(arm))

    def asked(self, arm: str) -> set[int]:
        """Row ids of all documents that the arm has a slot for, in whatever state."""
        with self.database.read() as connection:
            return set(connection.scalars(select(tables.slot.c.document_id).where(tables.slot.c.arm == arm)))

    def tallies(self, arm: str) -> list[Tally]:
        """How far each round is; imported labels are not among them."""
        counts = [
            func.sum(case((tables.slot.c.state == state, 1), else_=0)) for state in ("answered", "skipped", "open")
        ]
        wanted = (
            select(tables.slot.c.round, *counts)
            .where(tables.slot.c.arm == arm, tables.slot.c.kind != "import")
            .group_by(tables.slot.c.round)
            .order_by(tables.slot.c.round)
        )
        with self.database.read() as connection:
            return [Tally(*(int(value) for value in row)) for row in connection.execute(wanted)]

    def history(self, annotator: str, arm: str, n: int = 100, whole: bool = False, skip: int = 0) -> list[Past]:
        """The annotator's latest answers and skips as they now stand, newest first; their texts whole if wanted.

        Of all of them ``skip`` are passed over.
        """
        wanted = slots.latest_of(annotator, arm, whole).limit(n).offset(skip)
        with self.database.read() as connection:
            return [Past(*row) for row in connection.execute(wanted)]

    def earlier(self, annotator: str, arm: str, slot: int) -> Past | None:
        """One of the annotator's answers or skips, however old, with its whole text; None where it is not theirs."""
        wanted = slots.latest_of(annotator, arm, whole=True).where(tables.slot.c.id == slot)
        with self.database.read() as connection:
            row = connection.execute(wanted).first()
        return Past(*row) if row else None

    def text(self, slot: int) -> str:
        """The text that a question is about."""
        with self.database.read() as connection:
            return slots.text_of(connection, slot)

    def _lease(self, annotator: str, token: str) -> dict[str, Any]:
        return {"owner": annotator, "token": token, "lease_until": db.now() + self.lease_seconds}

    def _price(self, connection: Connection, document_id: int) -> float:
        if not self.by_words:
            return 1.0
        text = select(tables.document.c.text).where(tables.document.c.id == document_id)
        return float(count_words(connection.execute(text).scalar_one()))

    def _check_label(self, label: str) -> None:
        if not self.accepted.knows(label):
            known = len(self.accepted.classes)
            raise DiscoverError(f"{label!r:.80} is none of the {known} labels: choose one of label.classes")
