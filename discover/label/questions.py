"""Questions as the queue hands them out, and what became of them."""

from dataclasses import dataclass

from discover.pool.document import Document


@dataclass(frozen=True)
class Question:
    """A leased slot. It does not say whether it is an audit question: the annotator must not know."""

    slot: int
    token: str
    document: Document


@dataclass(frozen=True)
class Outcome:
    """What became of an answer or a skip; `counts` is False where it came too late to change anything.

    `overruled` is True for an answer that is kept beside someone else's, which stands.
    """

    document_id: int
    kind: str
    counts: bool
    overruled: bool = False


@dataclass(frozen=True)
class Labelled:
    """One answered slot; its label as it is kept (`discover.pool.labels`)."""

    document_id: int
    label: str
    kind: str
    part: str
    round: int
    annotator: str  # whose it is; `import` of what a file brought


@dataclass(frozen=True)
class Past:
    """One of an annotator's own answers (`label`) or skips (None), with its text or the beginning of it."""

    slot: int
    document_id: int
    label: str | None
    title: str
    text: str


@dataclass(frozen=True)
class Tally:
    """How far the questions of one round are."""

    round: int
    answered: int
    skipped: int
    open: int
