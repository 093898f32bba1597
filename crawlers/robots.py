"""robots.txt as RFC 9309 has it (https://www.rfc-editor.org/rfc/rfc9309#section-2.3.1).

A file that is not there allows everything. One that cannot be had, since its server fails or cannot be reached, or as
it is too large, allows nothing until it can, and is asked for again with the next page. What was read holds for a day;
of a long file, the first 500 KiB are read (section 2.5).
"""

import asyncio
import time
from typing import Any

from scrapy import Request, signals
from scrapy.downloadermiddlewares.robotstxt import RobotsTxtMiddleware
from scrapy.http import Response
from scrapy.http.request import NO_CALLBACK
from scrapy.robotstxt import RobotParser
from scrapy.utils.httpobj import urlparse_cached
from scrapy.utils.log import logger
from scrapy.utils.misc import build_from_crawler

from crawlers.failures import transient, why
from crawlers.hardening import GIVE_BACK, ROBOTS, NoRobots, Refusal, Resting, retry_after

DAY = 24 * 3600.0
MOST_BYTES = 500 << 10  # of a file: parsed it takes twenty times as much
KEPT_BYTES = 8 << 20  # of all files: those asked for first are forgotten first


class RobotsTxt(RobotsTxtMiddleware):
    """In place of Scrapy's own, which asks once a session, and takes a failure for leave."""

    def __init__(self, crawler: Any):
        super().__init__(crawler)
        self._asked: dict[str, asyncio.Task[RobotParser]] = {}
        self._since: dict[str, float] = {}
        self._sizes: dict[str, int] = {}  # of the files that are kept, the oldest first

    async def robot_parser(self, request: Request) -> RobotParser | None:
        """What the site of a request allows.

        Raises:
            NoRobots: it cannot be had, so nothing is allowed until it can be.
        """
        parts = urlparse_cached(request)
        site = f"{parts.scheme}://{parts.netloc}"
        asked = self._asked.get(site)
        if asked is None or (asked.done() and (asked.cancelled() or asked.exception() or self._is_old(site))):
            asked = self._asked[site] = asyncio.ensure_future(self._ask(site, request))
            self._since[site] = time.monotonic()
        return await asyncio.shield(asked)  # several pages may wait for it

    def _is_old(self, site: str) -> bool:
        return time.monotonic() - self._since[site] > DAY

    def _keep(self, site: str, size: int) -> None:
        """Note the size of a file, and forget others where all are too much."""
        self._sizes.pop(site, None)
        self._sizes[site] = size
        while sum(self._sizes.values()) > KEPT_BYTES:
            oldest = next(iter(self._sizes))
            for kept in (self._asked, self._since, self._sizes):
                kept.pop(oldest)

    async def _ask(self, site: str, request: Request) -> RobotParser:
        meta = {"dont_obey_robotstxt": True, ROBOTS: True, GIVE_BACK: request.meta.get(GIVE_BACK, False)}
        robots = Request(f"{site}/robots.txt", priority=self.DOWNLOAD_PRIORITY, meta=meta, callback=NO_CALLBACK)
        try:
            body = _body(await self.crawler.engine.download_async(robots))
        except (Resting, NoRobots):
            raise
        except Exception as error:
            reason, detail = why(error)
            if transient(error):
                raise NoRobots(reason, detail) from error
            if reason == "too large":  # it is there, and nobody knows what it forbids
                raise NoRobots(reason, detail, answered=True) from error
            if not isinstance(error, Refusal):  # which meets the page too
                logger.warning("%s is taken for an empty file: %s (%s)", robots.url, reason, detail)
            body = b""
        body = body if len(body) <= MOST_BYTES else body[: body.rfind(b"\n", 0, MOST_BYTES) + 1]
        self._keep(site, len(body))
        parser: RobotParser = build_from_crawler(self._parserimpl, self.crawler, body)
        await self.crawler.signals.send_catch_log_async(
            signal=signals.robots_parsed, robotparser=parser, request=request
        )
        return parser


def _body(response: Response) -> bytes:
    if response.status >= 500 or response.status == 429:
        raise NoRobots(f"status {response.status}", asked=retry_after(response.headers), answered=True)
    return response.body if response.status < 400 else b""
