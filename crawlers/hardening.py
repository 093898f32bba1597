"""A Scrapy add-on that makes a crawler polite and hard to abuse; it works in any Scrapy project.

``ADDONS = {"crawlers.hardening.Hardening": 0}`` in a project's settings switches on the guard against private
addresses, limits on size, kind and time, robots.txt with Crawl-delay (`crawlers.robots`), Retry-After, and switches off
what a crawler of strangers' pages has no use for. Settings of its own: ``GUARD_ALLOW`` (``host:port`` pairs on private
networks), ``GUARD_SERVED`` (names for sites on loopback), ``CONTENT_TYPES``, ``LONGEST_PAUSE`` (seconds).
"""

import asyncio
import email.utils
import time
from typing import Any
from urllib.parse import urlsplit

from scrapy import signals
from scrapy.downloadermiddlewares.robotstxt import RobotsTxtMiddleware
from scrapy.exceptions import IgnoreRequest, StopDownload
from scrapy.http import Headers, Request, Response
from scrapy.settings import BaseSettings
from scrapy.utils.httpobj import urlparse_cached

from crawlers.guard import Guard, refused
from crawlers.packed import is_packed
from crawlers.settings import HARDENED

ROBOTS = "robots"  # in a request's meta: it is for robots.txt, of whatever kind, wherever it has moved to
GIVE_BACK = "give_back"  # in a request's meta: fail with `Resting` instead of waiting for a host that asked for a pause


class Hardening:
    """The add-on: applies the settings of `crawlers.settings.HARDENED` and inserts the middleware."""

    @classmethod
    def update_pre_crawler_settings(cls, settings: BaseSettings) -> None:
        """Called by Scrapy before there is a crawler: the resolver belongs to the process."""
        for name in ("TWISTED_DNS_RESOLVER", "DNSCACHE_ENABLED"):
            settings.set(name, HARDENED[name], priority="addon")

    def update_settings(self, settings: BaseSettings) -> None:
        """Called by Scrapy; what the project or the command line set to something else stays."""
        for name, value in HARDENED.items():
            settings.set(name, value, priority="addon")
        settings["DOWNLOADER_MIDDLEWARES"].set(HardeningMiddleware, 585, priority="addon")
        settings["DOWNLOADER_MIDDLEWARES"].set(RobotsTxtMiddleware, None, priority="addon")
        settings["DOWNLOADER_MIDDLEWARES"].set("crawlers.robots.RobotsTxt", 100, priority="addon")


class Refusal(IgnoreRequest):
    """The guard will not connect there."""


class Resting(IgnoreRequest):
    """The host has asked to be left alone, and the request to be given back rather than held."""


class NoRobots(IgnoreRequest):
    """robots.txt cannot be had, so nothing is allowed until it can be.

    Args:
        reason: why, in a word or two.
        detail: the same in a sentence.
        asked: seconds after which its server wants to be asked again.
        answered: whether there is a server that answers.
    """

    def __init__(self, reason: str, detail: str = "", asked: float | None = None, answered: bool = False):
        super().__init__(f"robots.txt cannot be had: {detail or reason}")
        self.reason, self.asked, self.answered = reason, asked, answered


class HardeningMiddleware:
    """Checks each request before it is sent, and each response's head before its body is read."""

    def __init__(self, crawler: Any):
        settings = crawler.settings
        self.crawler = crawler
        self.guard = Guard(settings.getlist("GUARD_ALLOW"), settings.getdict("GUARD_SERVED"))
        self.content_types = tuple(settings.getlist("CONTENT_TYPES"))
        self.longest_pause = settings.getfloat("LONGEST_PAUSE")
        self.agent = settings["ROBOTSTXT_USER_AGENT"] or settings["USER_AGENT"]
        self.crawl_delays: dict[str, float] = {}
        self.paused: dict[str, float] = {}  # host: until when, on the monotonic clock

    @classmethod
    def from_crawler(cls, crawler: Any) -> "HardeningMiddleware":
        """Made by Scrapy."""
        made = cls(crawler)
        crawler.signals.connect(made.check_head, signal=signals.headers_received)
        crawler.signals.connect(made.note_crawl_delay, signal=signals.robots_parsed)
        return made

    async def process_request(self, request: Request) -> None:
        """Refuse what must not be fetched, and wait where a host has asked to be left alone."""
        host, port = _endpoint(request.url)
        if objection := self.guard.objection(host, port):
            raise Refusal(objection)
        if host in self.crawl_delays:  # AutoThrottle would shorten what the site has asked for
            request.meta["autothrottle_dont_adjust_delay"] = True
        while (left := self.paused.get(host, 0.0) - time.monotonic()) > 0:
            if request.meta.get(GIVE_BACK):
                raise Resting(f"{host} has asked for a pause")
            await asyncio.sleep(left)

    def process_response(self, request: Request, response: Response) -> Response:
        """Note Retry-After; check once more which IP address has answered."""
        host, port = _endpoint(request.url)
        if response.ip_address and not self.guard.knows(host, port):
            if self.guard.refuses(host, port, str(response.ip_address)):
                raise Refusal(f"{host} is at {response.ip_address}, which is not a public address")
        if response.status in (429, 503):
            pause = retry_after(response.headers)
            if pause is not None:
                self.paused[host] = time.monotonic() + min(pause, self.longest_pause)
        return response

    def process_exception(self, request: Request, exception: Exception) -> Response | None:
        """Hand on an error that is not text; say so when a name did not resolve because the guard took it away."""
        if isinstance(exception, StopDownload):
            return _error_page(exception.response)
        ip = refused.get(_endpoint(request.url))
        if ip is not None and not isinstance(exception, IgnoreRequest):
            raise Refusal(f"{urlsplit(request.url).hostname} is at {ip}, which is not a public address") from exception
        return None

    def check_head(self, headers: Headers, request: Request) -> None:
        """Stop the download of what is no text and no packed sitemap; what a redirect leads to is for that to say."""
        if "Location" in headers or is_packed(request.url):
            return
        kind = (headers.get("Content-Type") or b"").decode("latin-1").partition(";")[0].strip().lower()
        if kind and ROBOTS not in request.meta and not kind.startswith(self.content_types):
            raise StopDownload(fail=True)

    def note_crawl_delay(self, robotparser: Any, request: Request) -> None:
        """Take over Crawl-delay of robots.txt, for this host alone."""
        wanted = robotparser.crawl_delay(self.agent)
        host = urlparse_cached(request).hostname or ""
        downloader = self.crawler.engine.downloader
        if wanted is None or wanted <= self.crawler.settings.getfloat("DOWNLOAD_DELAY"):
            return
        delay = min(float(wanted), self.longest_pause)
        self.crawl_delays[host] = delay
        downloader.per_slot_settings[host] = {"concurrency": 1, "delay": delay, "jitter": 0.0}
        if host in downloader.slots:
            slot = downloader.slots[host]
            slot.delay, slot.concurrency, slot.jitter = delay, 1, 0.0

    def resting(self) -> dict[str, float]:
        """The hosts that have asked to be left alone, and for how many seconds more."""
        now = time.monotonic()
        return {host: until - now for host, until in self.paused.items() if until > now}


def retry_after(headers: Headers) -> float | None:
    """Seconds until a server wants to be asked again, or None where it does not say."""
    value = (headers.get("Retry-After") or b"").decode("latin-1").strip()
    if value.isascii() and value.isdigit():  # ² is a digit too, but no number
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError, IndexError):
        return None


def _error_page(response: Response | None) -> Response | None:
    """A response whose status says all, though its body was not read; None where it is none."""
    if response is None or response.status < 400:
        return None
    response.headers.pop("Content-Encoding", None)  # there is nothing to unpack
    return response


def _endpoint(address: str) -> tuple[str, int]:
    parts = urlsplit(address)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
