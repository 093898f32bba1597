"""From a page to its main text, title, date and language, in a child process that can be killed.

trafilatura may run for minutes on one page (https://github.com/adbar/trafilatura/issues/704) or take all memory, so
each page has a deadline and each child a memory limit; a child is replaced after a thousand pages. trafilatura's own
fetchers are never called: they would fetch behind the guard's back.
"""

import json
import os
import queue
import select
import signal
import struct
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass
from typing import IO, Any

from scrapy.http import HtmlResponse

from crawlers.settings import MAX_BYTES
from discover.errors import DiscoverError

DEADLINE = 5.0  # seconds for one page, of processor time: a busy machine rejects no page that a quiet one takes
IDLE_FACTOR = 12  # times the deadline on the clock, for a child that does not even compute
STARTING = 60.0  # seconds for a child to import what it needs
RECYCLE = 1000  # pages


@dataclass(frozen=True)
class Extracted:
    """What is kept of a page; where `rejected` is not empty it is the reason, and there is no text."""

    title: str = ""
    date: str = ""
    language: str = ""
    text: str = ""
    rejected: str = ""

    def as_json(self) -> dict[str, str]:
        """What ``extract`` prints."""
        if self.rejected:
            return {"rejected": self.rejected}
        return {key: value for key, value in asdict(self).items() if key != "rejected"}


class Extractor:
    """A few child processes, each at work on one page; safe to call from several threads.

    Args:
        workers: how many.
        deadline: seconds of processor time that one page may take.
    """

    def __init__(self, workers: int = 2, deadline: float = DEADLINE):
        self.deadline = deadline
        self._idle: queue.LifoQueue[_Child | None] = queue.LifoQueue()
        self._children: set[_Child] = set()
        self._lock = threading.Lock()
        for _ in range(workers):
            self._idle.put(None)  # a child is started when it is first needed

    def extract(self, html: str, plain: bool = False) -> Extracted:
        """The main text of one page.

        Args:
            html: the page, decoded.
            plain: it is text already, and needs no more than its language.
        """
        if len(html) > MAX_BYTES:
            return Extracted(rejected="too large")
        if "\x00" in html[:4096]:
            return Extracted(rejected="not text")
        if not html.strip():
            return Extracted(rejected="empty")
        child = self._idle.get()
        try:
            if child is None:
                child = self._start()
            answer = child.ask({"html": html, "plain": plain}, self.deadline)
        except _Lost as lost:
            self._end(child)
            child = None
            return Extracted(rejected=str(lost))
        finally:
            if child is not None and child.pages >= RECYCLE:
                self._end(child)
                child = None
            self._idle.put(child)
        return Extracted(**answer)

    def close(self) -> None:
        """End the children."""
        for child in list(self._children):
            self._end(child)

    def _start(self) -> "_Child":
        child = _Child()
        with self._lock:
            self._children.add(child)
        return child

    def _end(self, child: "_Child | None") -> None:
        if child is not None:
            child.kill()
            with self._lock:
                self._children.discard(child)


def decode(body: bytes, address: str = "file:///", encoding: str | None = None) -> str:
    """A page's bytes as text: by byte order mark, the header's word, the page's own, or by detection."""
    return HtmlResponse(address, body=body, encoding=encoding).text


class _Lost(Exception):
    """A child did not answer; the message is the reason."""


class _Child:
    def __init__(self) -> None:
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # address space is limited
        self._process = subprocess.Popen(
            [sys.executable, "-m", "crawlers.extraction_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the parent to handle
        )
        self.pages = 0
        try:
            self._read(STARTING)
        except _Lost as lost:
            self.kill()
            raise DiscoverError(
                f"the extraction process must start within {STARTING:.0f} s, but it did not ({lost}): "
                "check that `python -c 'import trafilatura, py3langid'` works"
            ) from lost

    def ask(self, question: dict[str, Any], deadline: float) -> dict[str, str]:
        self.pages += 1
        try:
            write_frame(self._pipe(self._process.stdin), {**question, "seconds": deadline})
        except OSError as error:
            raise _Lost("crash") from error
        return self._read(IDLE_FACTOR * max(1.0, deadline))

    def kill(self) -> None:
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            try:
                self._pipe(stream).close()
            except OSError:
                pass
        self._process.wait()

    def _read(self, deadline: float) -> dict[str, str]:
        stream = self._pipe(self._process.stdout)
        ready = select.poll()  # select() takes no descriptor above 1,023, and each server may hold one
        ready.register(stream, select.POLLIN)
        if not ready.poll(1000 * deadline):
            raise _Lost("timeout")
        answer = read_frame(stream)
        if answer is None:
            raise _Lost("timeout" if self._process.wait() == -signal.SIGPROF else "crash")
        return answer

    @staticmethod
    def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
        assert stream is not None
        return stream


def write_frame(stream: IO[bytes], content: dict[str, Any]) -> None:
    """Write a JSON object, its length first."""
    data = json.dumps(content).encode()
    stream.write(struct.pack(">I", len(data)) + data)
    stream.flush()


def read_frame(stream: IO[bytes]) -> dict[str, Any] | None:
    """Read what `write_frame` wrote; None at the end of the stream."""
    head = stream.read(4)
    if len(head) < 4:
        return None
    (length,) = struct.unpack(">I", head)
    data = stream.read(length)
    return json.loads(data) if len(data) == length else None
