"""An annotator's desk: what the pages show, as plain values and sentences, the same with and without JavaScript."""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from discover.errors import DiscoverError
from discover.label.config import LabelConfig
from discover.label.questions import Past, Question, Tally
from discover.label.queue import Queue
from discover.label.slots import SNIPPET
from discover.pool.document import clean
from discover.pool.labels import NO_ENTITY, NONE
from discover.pool.spans import pieces

SHOWN_CHARACTERS = 4000
PAGE = 100  # answers that one page shows
SPOKEN = 8  # entities that a sentence names
AHEAD = 2  # the question on the screen, and the one after it
OVERRULED = "Someone else had answered that question when your answer came: yours is kept, theirs counts."
RESERVED = "su"  # skip, undo; 0 is that none fits
KEYS = "123456789" + "".join(letter for letter in "abcdefghijklmnopqrstuvwxyz" if letter not in RESERVED)

Suggest = Callable[[int], tuple[str, float] | None]
Explain = Callable[[int], list[dict[str, Any]]]


@dataclass(frozen=True)
class Desk:
    """The queue of one arm as its annotators see it.

    Attributes:
        queue: where questions come from.
        arm: whose questions.
        config: classes, question, budget.
        progress: what is known of the run: `accuracy`, `low`, `high` (shares or None), `finished` (bool); any may lack.
        suggest: a document id to the model's answer, as it is kept, and its probability; None where it has none. Shown
            after the answer.
        explain: a document id to why it thought so, for each label (of entities: each span) that is explained its
            `label`, `pieces` of the text, each with how much it spoke for that (negative: against it) and whether it
            is of the span, and `neighbours` with `label` and such `pieces`; none where that is not known. Shown with
            the guess.
    """

    queue: Queue
    arm: str
    config: LabelConfig
    progress: Callable[[], dict[str, Any]]
    suggest: Suggest | None = None
    explain: Explain | None = None

    @property
    def multilabel(self) -> bool:
        """Whether a document may have several labels."""
        return self.config.task == "multilabel"

    @property
    def spans(self) -> bool:
        """Whether entities are marked in the text."""
        return self.config.task == "spans"

    def read(self, slot: int, given: Sequence[str]) -> str:
        """What a form says of a question, as it is kept.

        Raises:
            DiscoverError: it says nothing, too much, or what is none of the labels.
        """
        if self.spans:
            return self._marked(slot, given)
        given = [clean(one) for one in given]  # browsers send a name of two lines with other ends of lines
        if not self.multilabel and len(given) != 1:
            raise DiscoverError(f"one label is expected, found {len(given)}: reload the page and choose one")
        if not given:
            raise DiscoverError(f"a label is expected, found none: tick what fits, or say “{NONE}”")
        foreign = next((one for one in given if one not in self.config.classes and not self._is_none(one)), None)
        if foreign is not None:
            raise DiscoverError(f"“{foreign:.80}” is none of the labels of this run: reload the page and choose one")
        if self.multilabel and NONE in given and len(set(given)) > 1:
            raise DiscoverError(f"“{NONE}” goes with no other label: untick them, or save without it")
        kept = self.queue.accepted.read(list(given) if self.multilabel else given[0], "")
        if kept is None:
            raise DiscoverError("an answer needs a label, found an empty one: reload the page and choose one")
        return kept

    def _marked(self, slot: int, given: Sequence[str]) -> str:
        """Entities as the page sends them: a list of spans, as JSON."""
        kept = self.queue.accepted.read(given[0], self.queue.text(slot)) if len(given) == 1 else None
        if kept is None:
            raise DiscoverError(f"a list of entities is expected, found none: mark them, or say “{NO_ENTITY}”")
        return kept

    def _is_none(self, given: str) -> bool:
        return self.multilabel and given == NONE

    def labels(self) -> list[dict[str, str]]:
        """The classes with their descriptions and keys; there are more classes than keys where there are many."""
        names = self.config.classes.items()
        return [{"name": n, "what": w, "key": KEYS[i] if i < len(KEYS) else ""} for i, (n, w) in enumerate(names)]

    @property
    def form(self) -> str:
        """Names the question and its labels: a page that was made by others has another."""
        return hashlib.sha256(repr((self.config.question, self.config.classes)).encode()).hexdigest()[:16]

    def state(self, annotator: str, overruled: bool = False) -> dict[str, Any]:
        """What the annotator sees now: questions (the first on the screen, the next fetched ahead), progress, last.

        Args:
            annotator: who looks.
            overruled: the answer just given is kept, but someone else's stands.
        """
        questions = [_shown(question, self.spans) for question in self.queue.claim(self.arm, annotator, AHEAD)]
        known, tallies = self.progress(), self.queue.tallies(self.arm)
        spent = self.queue.spent(self.arm)
        return {
            "questions": questions,
            "progress": {"value": min(spent, self.config.budget), "max": self.config.budget},
            "sentences": self._sentences(spent, tallies, known),
            "waiting": self._waiting(spent, tallies, known),
            "last": self._last(annotator),
            "notice": OVERRULED if overruled else "",
            "form": self.form,
        }

    def _sentences(self, spent: float, tallies: list[Tally], known: dict[str, Any]) -> list[str]:
        lines = [f"{spent:g} of {self.config.budget} {self.queue.unit}"]
        for tally in tallies:
            if tally.open:
                skipped = f", {tally.skipped} skipped" if tally.skipped else ""
                total = tally.answered + tally.skipped + tally.open
                lines.append(f"round {tally.round}: {tally.answered} of {total} answered{skipped}")
        if known.get("accuracy") is not None:
            bounds = (known.get("low"), known.get("high"))
            interval = "" if None in bounds else f" ({bounds[0]:.0%} to {bounds[1]:.0%})"
            lines.append(f"estimated accuracy {known['accuracy']:.0%}{interval}")
        return lines

    def _waiting(self, spent: float, tallies: list[Tally], known: dict[str, Any]) -> str:
        if any(tally.open for tally in tallies):
            return "The remaining questions are with other annotators."
        if known.get("finished") or spent >= self.config.budget:
            return "All questions are answered. Thank you!"
        return "The next batch is being chosen."

    def history(self, annotator: str, skip: int = 0) -> list[dict[str, Any]]:
        """A page of the annotator's answers and skips, newest first: `slot`, `title`, `text`, `skipped`, `names`.

        Of all of them ``skip`` are passed over, and at most `PAGE` are there. With entities also `pieces`: the
        beginning of the text, each piece with its type or nothing.
        """
        return [
            {
                **{name: getattr(past, name) for name in ("slot", "title")},
                "text": past.text[:SNIPPET],
                "skipped": past.label is None,
                "names": [] if past.label is None else self.queue.accepted.names(past.label),
                **(self._pieces(past) if self.spans else {}),
            }
            for past in self.queue.history(annotator, self.arm, PAGE, self.spans, skip)
        ]

    def earlier(self, annotator: str, slot: int) -> dict[str, Any]:
        """One of the annotator's answers, to be changed: `slot`, `title`, `text`, and `spans` as they are kept.

        Raises:
            DiscoverError: it is not among them.
        """
        past = self.queue.earlier(annotator, self.arm, slot)
        if past is None:
            raise DiscoverError(f"question {slot} is not among your answers: reload the page")
        return {"slot": slot, "title": past.title, "text": past.text, "spans": past.label or "[]"}

    def _pieces(self, past: Past) -> dict[str, Any]:
        said = [] if past.label is None else self.queue.accepted.value(past.label)
        return {"pieces": pieces(past.text, said, SNIPPET)}

    def _last(self, annotator: str) -> dict[str, Any] | None:
        latest = self.queue.history(annotator, self.arm, 1, self.spans)
        if not latest:
            return None
        answered = latest[0].label is not None
        why = self.explain(latest[0].document_id) if answered and self.explain else []
        return {"slot": latest[0].slot, "sentence": self._recall(latest[0]), "why": why}

    def _recall(self, past: Past) -> str:
        if past.label is None:
            return "You skipped the last question."
        said = f"You said {self._spoken(past.label, past.text)}."
        if self.suggest is None:
            return said
        guess = self.suggest(past.document_id)
        return f"{said} The model’s guess: {self._spoken(guess[0], past.text)} ({guess[1]:.0%})." if guess else said

    def _spoken(self, kept: str, text: str) -> str:
        said = self.queue.accepted.spoken(kept, text)
        others = f" and {len(said) - SPOKEN} more" if self.spans and len(said) > SPOKEN else ""
        return ", ".join(f"“{one}”" for one in (said[:SPOKEN] if others else said)) + others


def _shown(question: Question, whole: bool) -> dict[str, Any]:
    document = question.document
    shown, rest = (document.text, "") if whole else _cut(document.text)  # who marks entities has to read all of it
    return {
        "slot": question.slot,
        "token": question.token,
        "key": secrets.token_hex(16),  # names this submission: sent twice, it counts once
        "title": document.title,
        "source": document.address,
        "text": shown,
        "rest": rest,
        "more": f"Show all {len(document.text):,} characters" if rest else "",
    }


def _cut(text: str) -> tuple[str, str]:
    if len(text) <= SHOWN_CHARACTERS:
        return text, ""
    space = text.rfind(" ", SHOWN_CHARACTERS // 2, SHOWN_CHARACTERS)
    end = space + 1 if space > 0 else SHOWN_CHARACTERS
    return text[:end], text[end:]
