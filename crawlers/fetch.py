"""What the crawler would keep of one page: a file, or an address fetched through the guard."""

from pathlib import Path
from typing import Any

from scrapy import Request, Spider
from scrapy.crawler import AsyncCrawlerProcess
from scrapy.http import HtmlResponse, Response, TextResponse, XmlResponse
from twisted.python.failure import Failure

from crawlers.addresses import canonical
from crawlers.extract import Extracted, Extractor, decode
from crawlers.failures import why
from crawlers.settings import MAX_BYTES, crawl_settings
from discover.config import CrawlConfig, validate
from discover.errors import DiscoverError


def extract_from(place: str, allow_private: list[str]) -> Extracted:
    """Extract from a file or an address.

    Args:
        place: a path, or an address that begins with http:// or https://.
        allow_private: ``host:port`` pairs on private networks that may be fetched.

    Raises:
        DiscoverError: it cannot be read.
    """
    extractor = Extractor(workers=1)
    try:
        if "://" in place:
            return _from_address(place, allow_private, extractor)
        return _from_file(Path(place), extractor)
    finally:
        extractor.close()


def _from_file(path: Path, extractor: Extractor) -> Extracted:
    try:
        size = path.stat().st_size
        body = path.read_bytes() if size <= MAX_BYTES else b""
    except OSError as error:
        raise DiscoverError(
            f"a file or an http address is needed, but {path} cannot be read: {error.strerror}"
        ) from error
    if size > MAX_BYTES:
        return Extracted(rejected="too large")
    if b"\x00" in body[:4096] and not body.startswith((b"\xff\xfe", b"\xfe\xff")):
        return Extracted(rejected="not text")
    return extractor.extract(decode(body), plain=path.suffix == ".txt")


def _from_address(address: str, allow_private: list[str], extractor: Extractor) -> Extracted:
    known = canonical(address)
    if known is None:
        raise DiscoverError(f"{address!r} is no address of the web: write it like https://example.org/")
    answers: list[Response | Failure] = []
    section = validate(CrawlConfig, {"delay": 0, "allow_private": allow_private}, "--allow-private")
    process = AsyncCrawlerProcess({**crawl_settings(section, {}, ""), "LOG_ENABLED": False})
    process.crawl(_OnePage, address=known, answers=answers)
    process.start()
    answer = answers[0] if answers else Failure(RuntimeError("it was not fetched"))
    if isinstance(answer, Failure):
        reason, detail = why(answer.value)
        if reason in ("not text", "too large"):
            return Extracted(rejected=reason)
        raise DiscoverError(f"{address} cannot be fetched: {reason}" + (f" ({detail})" if detail else ""))
    if answer.status != 200:
        raise DiscoverError(f"{address} cannot be fetched: its server answers with status {answer.status}")
    if not isinstance(answer, TextResponse) or isinstance(answer, XmlResponse):
        return Extracted(rejected="not text")
    return extractor.extract(answer.text, plain=not isinstance(answer, HtmlResponse))


class _OnePage(Spider):
    name = "one-page"

    def __init__(self, address: str, answers: list[Response | Failure]):
        super().__init__()
        self.address, self.answers = address, answers

    async def start(self) -> Any:
        errors = list(range(400, 600))  # redirects are followed, through the guard; errors are told
        keep = self.answers.append
        yield Request(self.address, keep, errback=keep, meta={"handle_httpstatus_list": errors})
