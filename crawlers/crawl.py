"""One session of a crawl: from a run folder's config to documents in its pool."""

import asyncio
import fcntl
import inspect
import os
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from scrapy.crawler import AsyncCrawlerProcess
from sqlalchemy.exc import SQLAlchemyError

from crawlers.addresses import canonical, host
from crawlers.frontier import Frontier
from crawlers.frontier_spider import FrontierSpider
from crawlers.progress import HOSTS, Progress, off_site, summary
from crawlers.served import Served, served
from crawlers.settings import crawl_settings
from crawlers.task import Task
from discover import plugins
from discover.child import end_with_parent
from discover.config import Config, CrawlConfig, load_config
from discover.db import Database
from discover.errors import DiscoverError, Unfinished
from discover.pool.pool import Pool
from discover.run import RunFolder

STARTER = "DISCOVER_PARENT"  # set by `discover`, to its process id: a crawl started by hand outlives its shell
LOCK_SECONDS = 10.0  # longer than an orphaned crawl takes to notice and to end
DAY = 24 * 3600.0
GRACE = 4.0  # seconds for pages under way when told to stop; what is not recorded then is fetched again


def crawl(folder: RunFolder, wait: float = 0.0) -> int:
    """Crawl into a run's pool, or go on where an earlier session ended.

    Args:
        folder: of the run.
        wait: seconds for servers that fail, when nothing else is left to do; infinite: go on for good.

    Returns:
        the exit status: 0, or 128 and the number of the signal that ended it.

    Raises:
        DiscoverError: the config does not fit, another crawl is at work, or nothing could be fetched.
        Unfinished: what is left are pages of servers that fail.
    """
    if STARTER in os.environ:
        end_with_parent(int(os.environ[STARTER]))
    with suppress(ValueError, OSError):  # each server may hold a descriptor
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    config = load_config(folder.config)
    if config.crawl is None:
        raise DiscoverError(f"{folder.config} has no section 'crawl': give it start addresses, see configs/site.yaml")
    spider = _spider(config.crawl)
    database = Database(config.pool.url or folder.database)
    try:
        with ExitStack() as stack:
            stack.enter_context(_alone(folder))
            site = stack.enter_context(served(config.crawl.serve, folder.config)) if config.crawl.serve else None
            return _session(folder, config, spider, database, site, wait)
    finally:
        database.close()


def _session(
    folder: RunFolder,
    config: Config,
    spider: type[FrontierSpider],
    database: Database,
    site: Served | None,
    wait: float,
) -> int:
    section = config.crawl
    assert section is not None
    start = _start(section, site)
    progress = Progress(section.max_pages)
    revisit = section.revisit * DAY if section.revisit else None
    frontier = Frontier(Pool(database, config.pool), section.max_pages, section.max_depth, revisit)
    domains = section.allowed_domains or sorted({host(address) for address in start})
    task = Task(frontier, [domain.lower() for domain in domains], section.concurrency, progress, wait)
    settings = crawl_settings(section, site.names if site else {}, str(folder.root / "crawl.log"))
    try:
        frontier.seed(start, task.domains)
        ended_by = _run(spider, section.options, settings, task, site)
    except SQLAlchemyError as error:
        task.failure = error
    finally:
        progress.close()
    if task.failure is not None:
        raise _explained(task.failure, folder) from task.failure
    print(summary(task), flush=True)
    if ended_by:
        print("crawl: stopped; the same command goes on", flush=True)
        return 128 + ended_by
    if frontier.is_empty_handed():
        raise DiscoverError(
            f"the crawl must find at least one document, but from {', '.join(start)} it took none: "
            f"{_nothing(task)}{_logged(folder)}"
        )
    if task.resting:
        raise Unfinished(f"{_resting(task)}: the same command goes on with them")
    return 0


def _run(
    spider: type[FrontierSpider], options: dict[str, Any], settings: dict[str, Any], task: Task, site: Served | None
) -> int:
    """Run Scrapy to the end; returns the signal that ended it, or 0."""
    process = AsyncCrawlerProcess(settings)
    crawler = process.create_crawler(spider)
    setattr(crawler, "task", task)  # noqa: B010 - Scrapy's settings are copied, a database is not to be
    crawling = process.crawl(crawler, **options)
    received: list[int] = []
    stopping: list[asyncio.Task[None]] = []  # asyncio itself keeps no reference
    loop = asyncio.get_event_loop()

    def stop(number: int) -> None:
        if not received:
            task.stopping = True
            stopping.append(loop.create_task(process.stop()))
            loop.call_later(GRACE, give_up)
        received.append(number)

    def give_up() -> None:
        """Whatever hangs may hang: the database is whole, and the children have to go."""
        if site:
            site.process.kill()
        print(summary(task) + "\ncrawl: stopped; the same command goes on", flush=True)
        os._exit(128 + received[0])

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    process.start(install_signal_handlers=False)
    if process.bootstrap_failed and task.failure is None:
        task.failure = _not_started(spider, crawling.exception())
    return received[0] if received else 0


def _not_started(spider: type[FrontierSpider], error: BaseException | None) -> DiscoverError:
    if isinstance(error, DiscoverError):
        return error
    reason = f" ({type(error).__name__}: {error})" if error else ""
    return DiscoverError(f"the spider {spider.__name__} could not be started{reason}: see crawl.log")


def _spider(section: CrawlConfig) -> type[FrontierSpider]:
    spider = plugins.load("crawlers.spiders", section.spider)
    if not (isinstance(spider, type) and issubclass(spider, FrontierSpider)):
        raise DiscoverError(
            f"crawl.spider: {section.spider!r} must be a class derived from crawlers.frontier_spider.FrontierSpider"
        )
    if inspect.isabstract(spider):
        raise DiscoverError(f"crawl.spider: {section.spider!r} needs a method parse_page(self, response)")
    plugins.check_options(spider, section.options, f"crawl.options of {section.spider!r}")
    return spider


def _start(section: CrawlConfig, site: Served | None) -> list[str]:
    addresses = section.start or ([site.start] if site else [])
    if not addresses:
        raise DiscoverError("crawl.start must hold at least one address, it is empty")
    start = []
    for address in addresses:
        known = canonical(address)
        if known is None:
            raise DiscoverError(
                f"crawl.start: {address!r} is no address of the web: write it like https://example.org/"
            )
        start.append(known)
    return start


def _resting(task: Task) -> str:
    """Which servers rest, and why."""
    named = ", ".join(f"{server} ({reason})" for server, reason in list(task.resting.items())[:HOSTS])
    more = f" and {len(task.resting) - HOSTS:,} other servers" if len(task.resting) > HOSTS else ""
    return f"{named}{more} failed again and again, and their pages wait"


def _nothing(task: Task) -> str:
    """Why nothing was found, and what to see to."""
    reasons = [f"{reason} ({detail})" if detail else reason for reason, detail in task.details.items()]
    if task.resting:
        reasons.append(_resting(task))
    if task.off_site:
        return off_site(task)
    if task.counts["pages"]:
        others = f"; others: {', '.join(reasons)}" if reasons else ""
        return f"the spider found none on the pages that it read: check crawl.spider and crawl.options{others}"
    return f"{', '.join(reasons) or 'there was no page to read'}: see to that, or change crawl.start"


def _logged(folder: RunFolder) -> str:
    log = folder.root / "crawl.log"
    return f"; {log} has the details" if log.is_file() and log.stat().st_size else ""


def _explained(error: Exception, folder: RunFolder) -> DiscoverError:
    if isinstance(error, DiscoverError):
        return error
    reason = str(getattr(error, "orig", error)).strip().splitlines() or [type(error).__name__]
    return DiscoverError(
        f"the crawl stopped, since its results could not be written ({reason[0]}): check that the disk of "
        f"{folder.root} has room and can be written to; the same command goes on"
    )


@contextmanager
def _alone(folder: RunFolder) -> Iterator[None]:
    path: Path = folder.root / "crawl.lock"
    try:
        handle = path.open("w")
    except OSError as error:
        raise DiscoverError(f"the run folder {folder.root} must be writable: {error.strerror}") from error
    with handle:
        give_up = time.monotonic() + LOCK_SECONDS
        while not _locked(handle):
            if time.monotonic() > give_up:
                raise DiscoverError(f"another crawl is at work in {folder.root}: wait for it, or stop it")
            time.sleep(0.1)
        yield


def _locked(handle: IO[str]) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
