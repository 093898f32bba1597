"""The Document: one dataclass from spider to export."""

import hashlib
import math
import re
import unicodedata
from dataclasses import dataclass, field
from typing import Any

_INVISIBLE = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
# Inside of a word, joiners are how Persian, Hindi or an emoji of several is written; at its edge they say nothing.
_LOOSE_JOINERS = re.compile(r"(?<!\S)[\u200c\u200d]+|[\u200c\u200d]+(?!\S)")


def clean(text: str) -> str:
    """Normalise a text as both ways in, crawl and import, do: NFC, no control or bidi marks, tidy white space."""
    text = _INVISIBLE.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    text = _LOOSE_JOINERS.sub("", text)
    text = unicodedata.normalize("NFC", text)  # last, so that cleaning twice changes nothing
    lines = (" ".join(line.split()) for line in text.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def missing(value: Any) -> bool:
    """Whether a value of a file says nothing: null, an empty text, or the NaN that pandas writes in their place."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


@dataclass
class Document:
    """A text and where it was found.

    Attributes:
        text: cleaned by `clean` on the way into the pool.
        address: where this copy was found: a URL, or ``file:line``.
        label: what an imported file says it is, as it is kept (`discover.pool.labels`); a crawl says nothing.
        split: ``train`` or ``test``.
        sources: every address that held the same text, sorted; filled when read from the pool.
        id: the row id in the database; filled when read from the pool, and never written to a file.
        given_id: what a file's row calls it, so that exports can be joined to it; of several rows the first one's.
    """

    text: str
    address: str = ""
    title: str = ""
    language: str = ""
    date: str = ""
    label: str | None = None
    split: str = "train"
    sources: list[str] = field(default_factory=list)
    id: int = -1
    given_id: str = ""

    @property
    def public_id(self) -> str:
        """128 bits of SHA-256 over the text, as 32 hexadecimal digits: the same text is the same document."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:32]
