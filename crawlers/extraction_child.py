"""The child process of `crawlers.extract`: reads pages from its input, writes what it makes of them to its output."""

import os
import resource
import signal
import sys
from typing import Any

import py3langid
import trafilatura

from crawlers.extract import read_frame, write_frame

MEMORY = 1536 << 20  # bytes of address space
LANGUAGE_CHARACTERS = 4000  # enough to tell a language by
ENOUGH = 250  # characters that make a second look unnecessary


def answer(question: dict[str, Any]) -> dict[str, str]:
    """The fields of `crawlers.extract.Extracted` for one page."""
    if question["plain"]:
        text, title, date = question["html"], "", ""
    else:
        document = _extract(question["html"], fast=True)
        if document is None or len(document.text or "") < ENOUGH:  # the slower extractors may find more
            document = _extract(question["html"], fast=False) or document
        if document is None:
            return {"rejected": "empty"}
        text, title, date = document.text or "", (document.title or "").rstrip(" ¶"), document.date or ""
    if not text.strip():
        return {"rejected": "empty"}
    language = py3langid.classify(text[:LANGUAGE_CHARACTERS])[0]
    return {"title": title, "date": date, "language": language, "text": text}


def _extract(html: str, fast: bool) -> Any:
    return trafilatura.bare_extraction(html, include_comments=False, with_metadata=True, fast=fast)


def main() -> None:
    """Answer until the input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    # What libraries print must not end up between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    write_frame(answers, {})
    while (question := read_frame(sys.stdin.buffer)) is not None:
        # When this much processor time is spent the kernel ends the process, whatever C code it is in.
        signal.setitimer(signal.ITIMER_PROF, question["seconds"])
        try:
            reply = answer(question)
        except MemoryError:
            reply = {"rejected": "memory"}
        except Exception as error:
            reply = {"rejected": f"extraction failed: {type(error).__name__}"[:32]}
        signal.setitimer(signal.ITIMER_PROF, 0)
        write_frame(answers, reply)


if __name__ == "__main__":
    main()
