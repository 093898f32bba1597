"""Scrapy's HTTP client, with bounds on what servers can make it hold.

Twisted reads the headers of an answer without end, and keeps an idle connection for four minutes, which is a
descriptor a server in a crawl of thousands.
"""

from collections.abc import Callable
from typing import Any

from scrapy.core.downloader.handlers.http11 import HTTP11DownloadHandler

MOST_HEADERS = 1 << 20  # bytes of one answer before its body
IDLE_SECONDS = 15


class BoundedHandler(HTTP11DownloadHandler):
    """In place of Scrapy's own: a connection that sends headers without end is broken off."""

    def __init__(self, crawler: Any):
        super().__init__(crawler)
        self._pool.cachedConnectionTimeout = IDLE_SECONDS
        self._pool._factory = _bounded(self._pool._factory)


def _bounded(factory: Any) -> Any:
    """A factory whose protocols count what they receive before a body; Scrapy changes theirs likewise."""

    class Bounded(factory):
        def buildProtocol(self, address: Any) -> Any:
            protocol = super().buildProtocol(address)
            protocol.dataReceived = _counting(protocol, protocol.dataReceived)
            return protocol

    return Bounded


def _counting(protocol: Any, received: Callable[[bytes], None]) -> Callable[[bytes], None]:
    count = 0

    def counted(data: bytes) -> None:
        nonlocal count
        parser = protocol._parser
        count = count + len(data) if parser is not None and parser.state in ("STATUS", "HEADER") else 0
        if count > MOST_HEADERS:
            protocol.transport.abortConnection()
        else:
            received(data)

    return counted
