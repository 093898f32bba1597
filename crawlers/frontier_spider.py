"""The spider that works off the frontier; what a user writes is how one page becomes documents and links."""

import asyncio
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin

from scrapy import Request, Spider, signals
from scrapy.http import Response, TextResponse
from scrapy.utils.log import logger
from twisted.python.failure import Failure

from crawlers.addresses import canonical, host
from crawlers.failures import transient, why
from crawlers.frontier import Frontier, Leased, Outcome
from crawlers.hardening import HardeningMiddleware, retry_after
from discover.pool.document import Document

ATTEMPTS = 3
GROUP = 32  # pages of one transaction at most
GROUP_SECONDS = 0.5
LONGEST_PAUSE = 300.0  # a longer Retry-After is a no
LINKS = 5000  # of one page, each counted once: a page of 5 MB may hold hundreds of thousands


@dataclass
class Task:
    """One session of a crawl.

    Attributes:
        frontier: where addresses come from and results go.
        domains: hosts, subdomains included, that may be fetched; empty: all.
        concurrency: pages under way at a time.
        report: called after each transaction, with the counts so far.
        counts: "pages", "new", "seen", and the reasons of rejection.
        failure: what ended the session early.
        stopping: whether it was told to stop; what fails from then on was cut short, and is fetched again.
    """

    frontier: Frontier
    domains: list[str]
    concurrency: int
    report: Callable[["Task"], None]
    counts: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    failure: Exception | None = None
    stopping: bool = False


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
    without an address gets that of its page.
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

    async def start(self) -> AsyncIterator[Request]:
        """Lease addresses as others are finished, until there are none."""
        try:
            while True:
                pages = self._lease()
                self._flying.update({page.id: page for page in pages})
                for page in pages:
                    yield self._request(page)
                if not pages and not self._flying:
                    pause = self.task.frontier.waiting()
                    if pause is None:
                        return
                    await asyncio.sleep(min(max(pause, 0.05), 1.0))
                elif not await self._wait():
                    self._flush()
        except Exception as error:  # a full disk, say: reported by the command, where the user sees it
            self.task.failure = error

    def _lease(self) -> list[Leased]:
        room = 2 * self.task.concurrency - len(self._flying)
        if len(self._finished) >= GROUP or not self._flying:
            self._flush()
        if room < self.task.concurrency:  # a lease is a transaction: take several
            return []
        return self.task.frontier.lease(room, self._avoid())

    async def _wait(self) -> bool:
        """Wait for a page to finish; False where none did for a while."""
        self._news.clear()
        try:
            await asyncio.wait_for(self._news.wait(), GROUP_SECONDS)
        except TimeoutError:
            return False
        return True

    def _avoid(self) -> list[str]:
        """Hosts that asked for a pause, and those with enough under way, so that one slow host holds up no other."""
        polite = self.crawler.get_downloader_middleware(HardeningMiddleware)
        resting = list(polite.resting()) if polite else []
        flying = Counter(host(page.address) for page in self._flying.values())
        if self.crawler.settings.getint("CONCURRENT_REQUESTS_PER_DOMAIN") > 1:
            return resting
        return resting + [name for name, number in flying.items() if number >= 4]

    def _request(self, page: Leased) -> Request:
        return Request(
            page.address,
            callback=self._fetched,
            errback=self._failed,
            cb_kwargs={"page": page},
            dont_filter=True,  # the frontier has each address once
            meta={"dont_redirect": True, "handle_httpstatus_all": True},
        )

    async def _fetched(self, response: Response, page: Leased) -> None:
        location = response.headers.get("Location")
        if 300 <= response.status < 400 and location:
            target = self._link(response, location.decode("latin-1"))
            self._finish(Outcome(page, response.status, links=[target] if target else [], reason="redirect"))
        elif response.status != 200:
            self._finish(self._bad_status(response, page))
        elif not isinstance(response, TextResponse):
            self._finish(Outcome(page, response.status, reason="not text"))
        else:
            loop = asyncio.get_running_loop()
            self._finish(await loop.run_in_executor(self._threads, self._read, response, page))

    def _bad_status(self, response: Response, page: Leased) -> Outcome:
        outcome = Outcome(page, response.status, reason=f"status {response.status}")
        if response.status in (408, 429) or response.status >= 500:
            pause = retry_after(response.headers)
            if page.attempts + 1 < ATTEMPTS and (pause or 0) <= LONGEST_PAUSE:
                outcome.retry_after = _backoff(page) if pause is None else pause
        return outcome

    def _read(self, response: TextResponse, page: Leased) -> Outcome:
        outcome = Outcome(page, response.status)
        links: dict[str, None] = {}  # in the order of the page
        try:
            for found in self.parse_page(response):
                if isinstance(found, Document):
                    found.address = found.address or response.url
                    outcome.documents.append(found)
                elif len(links) <= LINKS and (link := self._link(response, found)):
                    links[link] = None
        except Skip as skip:
            outcome.reason, outcome.detail = skip.reason, skip.detail
        except Exception as error:
            logger.exception("parse_page failed on %s", response.url)
            return Outcome(page, response.status, reason="spider error", detail=f"{type(error).__name__}: {error}")
        if len(links) > LINKS:
            logger.warning("%s has more than %d links: only the first %d are followed", response.url, LINKS, LINKS)
        outcome.links = list(links)[:LINKS]
        return outcome

    def _failed(self, failure: Failure) -> None:
        if self.task.stopping:
            return
        page = failure.request.cb_kwargs["page"]  # type: ignore[attr-defined]
        reason, detail = why(failure.value)
        outcome = Outcome(page, reason=reason, detail=detail)
        if transient(failure.value) and page.attempts + 1 < ATTEMPTS:
            outcome.retry_after = _backoff(page)
        self._finish(outcome)

    def _link(self, response: Response, found: str) -> str:
        """The canonical address, if it is inside the allowed domains, or an empty string."""
        try:
            link = urljoin(response.url, found.strip())
            name = host(link) if link.startswith(("http://", "https://")) else ""
        except ValueError:  # not an address at all
            return ""
        domains = self.task.domains
        wanted = bool(name) and (not domains or any(name == d or name.endswith(f".{d}") for d in domains))
        return (canonical(link) or "") if wanted else ""

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
        task.rejected += found
        final = [outcome for outcome in finished if outcome.retry_after is None]
        task.counts["pages"] += sum(not outcome.reason for outcome in final)
        task.rejected += Counter(o.reason for o in final if o.reason not in ("", "redirect"))
        task.report(task)

    def _close(self) -> None:
        try:
            self._flush()
            self.task.frontier.release(self._flying.values())
        except Exception as error:
            self.task.failure = self.task.failure or error
        self._threads.shutdown(wait=False, cancel_futures=True)


def _backoff(page: Leased) -> float:
    return 0.5 * 2.0**page.attempts
