"""The spider that works off the frontier; what a user writes is how one page becomes documents and links."""

import asyncio
import re
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urljoin

from scrapy import Request, Spider, signals
from scrapy.http import Response, TextResponse, XmlResponse
from scrapy.utils.log import logger
from scrapy.utils.response import get_base_url
from twisted.python.failure import Failure
from w3lib.url import safe_url_string

from crawlers.addresses import canonical, host, is_inside
from crawlers.breaker import Breaker, server_of
from crawlers.failures import OFF_SITE, transient, trouble, why
from crawlers.frontier import Leased, Outcome
from crawlers.hardening import NoRobots, Resting, retry_after
from crawlers.outages import META, Outages
from crawlers.packed import NoText, text_of
from crawlers.task import Task
from crawlers.visits import UNCHANGED, conditions, version_of
from discover.pool.adding import CONFLICT, LABELLED, TRAINS
from discover.pool.document import Document

GROUP = 32  # pages of one transaction at most
GROUP_SECONDS = 0.5
EACH = 2  # pages of a host that are leased at a time, where it gets one request at a time
LINKS = 5000  # of one page, each counted once: a page of 5 MB may hold hundreds of thousands
LISTED = 50_000  # of a sitemap, as its protocol has it
OTHERS = 3 * LINKS  # repeated, or of other sites, that are looked at besides: each takes time
UNHEARD_OF = 999  # in place of a status with more digits: there is none, and no database holds all of them
_BASE = re.compile(r"<base\b", re.IGNORECASE)


class Skip(Exception):
    """Raised by `parse_page` to reject a page: a short reason, and a sentence."""

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(reason)
        self.reason, self.detail = reason, detail


class FrontierSpider(Spider, ABC):
    """A spider whose requests survive ``kill -9``.

    Your own is a class like this, in a file of your own; ``crawl.spider: my/quotes.py:quotes`` in a config takes it::

        from collections.abc import Iterable

        from scrapy.http import TextResponse

        from crawlers.frontier_spider import FrontierSpider
        from discover.pool.document import Document


        class quotes(FrontierSpider):
            def __init__(self, *, selector: str = "blockquote"):  # crawl.options sets these
                super().__init__()
                self.selector = selector

            def parse_page(self, response: TextResponse) -> Iterable[Document | str]:
                for quote in response.css(self.selector):
                    yield Document(" ".join(quote.css("::text").getall()))
                yield from response.css("a::attr(href)").getall()

    It yields documents and links, these relative or absolute; it says `Skip` to what is of no use. It is called in
    another thread than Scrapy's, two pages at a time, so it should change nothing but local variables. A document
    without an address gets that of its page. What a selector's `get()` does not find, None, is no link and no title.
    """

    name = "discover"

    @abstractmethod
    def parse_page(self, response: TextResponse) -> Iterable[Document | str]:
        """Documents of one page, and the links to follow."""

    @classmethod
    def from_crawler(cls, crawler: Any, *args: Any, **options: Any) -> "FrontierSpider":
        """Made by Scrapy; the crawler carries the task."""
        spider = super().from_crawler(crawler, *args, **options)
        spider.task = crawler.task
        spider.allowed_domains = crawler.task.domains
        spider._flying = {}
        spider._finished = []
        spider._news = asyncio.Event()
        spider._threads = ThreadPoolExecutor(2, thread_name_prefix="parse")
        crawler.signals.connect(spider._close, signal=signals.spider_closed)
        return spider

    task: Task
    allowed_domains: list[str]
    _flying: dict[int, Leased]
    _finished: list[Outcome]
    _news: asyncio.Event
    _threads: ThreadPoolExecutor
    _outages: Outages
    _breaker: Breaker
    _polite: bool

    async def start(self) -> AsyncIterator[Request]:
        """Lease addresses as others are finished, until there are none, or none that can be had before long."""
        frontier, idle = self.task.frontier, None  # since when nothing else was left
        self._outages = Outages(self.crawler)  # when the spider was made, settings of the add-on were missing
        self._breaker = self._outages.breaker
        self._polite = self.crawler.settings.getint("CONCURRENT_REQUESTS_PER_DOMAIN") == 1
        try:
            while True:
                pages = self._lease()
                self._flying.update({page.id: page for page in pages})
                for page in pages:
                    yield self._request(page)
                for probe in self._outages.probes(frontier.has_work):
                    yield probe
                if not pages and not self._flying:
                    pause = frontier.waiting(self._outages.rests())
                    if pause is None or pause > self._outages.patience:
                        again = frontier.renew(self.task.is_endless)
                        pause = min((one for one in (pause, again) if one is not None), default=None)
                    if pause is None:
                        return
                    idle = idle or time.monotonic()
                    if pause > self._outages.patience and time.monotonic() - idle >= self.task.wait:
                        self.task.resting = self._breaker.reasons(frontier.has_work)
                        return
                    await asyncio.sleep(min(max(pause, 0.05), 1.0))
                    continue
                idle = None
                if not await self._wait():
                    self._flush()
        except Exception as error:  # a full disk, say: reported by the command, where the user sees it
            self.task.failure = error

    def _lease(self) -> list[Leased]:
        room = 2 * self.task.concurrency - len(self._flying)
        if len(self._finished) >= GROUP or not self._flying:
            self._flush()
        if room < self.task.concurrency:  # a lease is a transaction: take several
            return []
        untested = self._breaker.untested()
        flying = Counter(host(page.address) for page in self._flying.values())
        avoid = {name for name, number in flying.items() if number >= EACH} if self._polite else set()
        avoid |= self._outages.rests().keys() | (untested & flying.keys())
        return self.task.frontier.lease(room, avoid, 1 if untested else EACH if self._polite else None)

    async def _wait(self) -> bool:
        """Wait for a page to finish; False where none did for a while."""
        self._news.clear()
        try:
            await asyncio.wait_for(self._news.wait(), GROUP_SECONDS)
        except TimeoutError:
            return False
        return True

    def _request(self, page: Leased) -> Request:
        return Request(
            page.address,
            headers=conditions(page.etag, page.modified),
            callback=self._fetched,
            errback=self._failed,
            cb_kwargs={"page": page},
            dont_filter=True,  # the frontier has each address once
            meta=META,
        )

    async def _fetched(self, response: Response, page: Leased) -> None:
        try:
            outcome = await self._outcome(response, page)
        except Exception as error:  # whatever a stranger's answer has led to: a page that is lost holds up the crawl
            logger.exception("the answer of %s was not understood", response.url)
            detail = f"{type(error).__name__}: {error}"
            outcome = Outcome(page, response.status, reason="crawler error", detail=detail)
        self._finish(outcome)

    async def _outcome(self, response: Response, page: Leased) -> Outcome:
        outcome = Outcome(page, min(response.status, UNHEARD_OF))
        if trouble(response):
            outcome.reason = f"status {outcome.status}"
            return self._outages.try_again(outcome, retry_after(response.headers))
        self._breaker.answered(server_of(page.address), page.address if response.status == 200 else "")
        location = response.headers.get("Location")
        if response.status == UNCHANGED and (page.etag or page.modified):
            pass  # its documents and links are known
        elif 300 <= response.status < 400 and location:
            self._redirect(outcome, response, location)
        elif response.status != 200:
            outcome.reason = f"status {outcome.status}"
        else:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, self._read, response, page)
        return outcome

    def _redirect(self, outcome: Outcome, response: Response, location: bytes) -> None:
        outcome.reason = "redirect"
        target = _absolute(response, location)
        if target == outcome.page.address:
            target = _absolute(response, location, session=True)  # some want their session in the address
        if target == outcome.page.address:
            outcome.reason, outcome.detail = "redirect to itself", "it may want a cookie, and none is kept"
        elif target and self._is_on_site(target):
            outcome.links = [target]
        elif target:
            outcome.reason, outcome.detail = OFF_SITE, target
        else:
            outcome.reason, outcome.detail = "redirect to no address", repr(location.decode("latin-1"))

    def _read(self, response: Response, page: Leased) -> Outcome:
        outcome = Outcome(page, response.status)
        links: dict[str, None] = {}  # in the order of the page
        most, looked = LINKS, 0
        try:
            text = _sound(text_of(response))
            most = LISTED if isinstance(text, XmlResponse) else LINKS
            for found in self.parse_page(text):
                if isinstance(found, Document):
                    outcome.documents.append(_checked(found, response.url))
                elif found is not None and len(links) <= most and looked <= most + OTHERS:
                    looked += 1
                    if link := self._link(response, found):
                        links[link] = None
        except Skip as skip:
            outcome.reason, outcome.detail = skip.reason, skip.detail
        except NoText as error:
            outcome.reason = str(error)
        except Exception as error:
            logger.exception("parse_page failed on %s", response.url)
            return Outcome(page, response.status, reason="spider error", detail=f"{type(error).__name__}: {error}")
        if len(links) > most or looked > most + OTHERS:
            few = min(len(links), most)
            logger.warning("%s has more links than are looked at: only the first %d are followed", response.url, few)
        outcome.links = list(links)[:most]
        if not outcome.reason:
            outcome.version = version_of(response.headers)
        return outcome

    def _failed(self, failure: Failure) -> None:
        if self.task.stopping:
            return
        page = failure.request.cb_kwargs["page"]  # type: ignore[attr-defined]
        error = failure.value
        reason, detail = why(error)
        outcome = Outcome(page, reason=reason, detail=detail)
        if isinstance(error, Resting):
            outcome.retry_after, outcome.given_back = 0.0, True
        elif isinstance(error, NoRobots):
            self._outages.try_again(outcome, error.asked, as_a_whole=error.answered)
        elif transient(error):
            self._outages.try_again(outcome)
        elif reason in ("not text", "too large"):
            self._breaker.answered(server_of(page.address))
        self._finish(outcome)

    def _link(self, response: Response, found: str) -> str:
        """The canonical address, if it is inside the allowed domains, or an empty string."""
        address = _absolute(response, found)
        return address if address and self._is_on_site(address) else ""

    def _is_on_site(self, address: str) -> bool:
        return not self.task.domains or is_inside(address, self.task.domains)

    def _finish(self, outcome: Outcome) -> None:
        self._finished.append(outcome)
        self._flying.pop(outcome.page.id, None)
        self._news.set()

    def _flush(self) -> None:
        if not self._finished:
            return
        finished, self._finished = self._finished, []
        task = self.task
        found = task.frontier.record(finished)
        task.counts["new"] += found.pop("new", 0)
        task.counts["seen"] += found.pop("seen", 0)
        for kind in (LABELLED, CONFLICT, TRAINS):  # of those; the rest was refused
            found.pop(kind, None)
        task.rejected += found
        final = [outcome for outcome in finished if outcome.retry_after is None]
        task.counts["pages"] += sum(not outcome.reason for outcome in final)
        task.counts["unchanged"] += sum(outcome.status == UNCHANGED and not outcome.reason for outcome in final)
        refused = [outcome for outcome in finished if outcome.is_refused]
        task.rejected += Counter(outcome.reason for outcome in refused)
        task.details = {outcome.reason: outcome.detail for outcome in reversed(refused)} | task.details
        task.off_site += Counter(host(o.detail) for o in final if o.reason == OFF_SITE)
        task.report(task)

    def _close(self) -> None:
        try:
            self._flush()
            self.task.frontier.release(self._flying.values())
        except Exception as error:
            self.task.failure = self.task.failure or error
        self._threads.shutdown(wait=False, cancel_futures=True)


def _sound(page: TextResponse) -> TextResponse:
    """The page, without the base in its head where that is no address: Scrapy could select nothing of it."""
    try:
        get_base_url(page)
    except ValueError:  # http://[domain]/, say, which a template has left
        return page.replace(body=_BASE.sub("<no-base", page.text).encode(), encoding="utf-8")
    return page


def _checked(found: Document, address: str) -> Document:
    """A document that can be stored, None being nothing.

    Raises:
        TypeError: a field is no text.
    """
    found.address = found.address or address
    for name in ("text", "address", "title", "language", "date"):
        value = getattr(found, name)
        if not isinstance(value, str | None):
            raise TypeError(f"Document.{name} must be text, found {type(value).__name__}: join what `getall()` gives")
        setattr(found, name, value or "")
    return found


def _absolute(response: Response, found: str | bytes, session: bool = False) -> str | None:
    """The canonical address of a link; None where it is not one of the web."""
    try:
        link = safe_url_string(found) if isinstance(found, bytes) else found  # bytes may be raw UTF-8
        return canonical(urljoin(response.url, link.strip()), session=session)
    except ValueError:  # not an address at all
        return None
