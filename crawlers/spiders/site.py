"""Any site: follow links inside the allowed domains, keep the main text of each page."""

from collections.abc import Iterable
from pathlib import PurePosixPath
from urllib.parse import urljoin, urlsplit

from scrapy.http import HtmlResponse, TextResponse
from scrapy.linkextractors import IGNORED_EXTENSIONS
from scrapy.utils.response import get_base_url, get_meta_refresh

from crawlers.extract import Extractor
from crawlers.frontier_spider import FrontierSpider, Skip
from crawlers.robots_meta import NOFOLLOW, NOINDEX, rules
from discover.pool.document import Document


class site(FrontierSpider):
    """The spider ``site``.

    Args:
        languages: two-letter codes; pages in other languages are rejected, their links followed. Empty: all.
        deadline: seconds of processor time that the extraction of one page may take.
        robots_meta: whether noindex and nofollow are obeyed; false is for a site of your own.
    """

    def __init__(self, *, languages: list[str] | None = None, deadline: float = 5.0, robots_meta: bool = True):
        super().__init__()
        self.languages = languages or []
        self.robots_meta = robots_meta
        self.extractor = Extractor(workers=2, deadline=deadline)

    def closed(self, reason: str) -> None:
        """Called by Scrapy at the end."""
        self.extractor.close()

    def parse_page(self, response: TextResponse) -> Iterable[Document | str]:
        """One document a page, and every link that may lead to another page."""
        said = rules(response) if self.robots_meta else set()
        if isinstance(response, HtmlResponse) and NOFOLLOW not in said:
            yield from self._links(response)
        if NOINDEX in said:
            raise Skip(NOINDEX)
        found = self.extractor.extract(response.text, plain=not isinstance(response, HtmlResponse))
        if found.rejected:
            raise Skip(found.rejected)
        if self.languages and found.language not in self.languages:
            raise Skip("language", found.language)
        yield Document(found.text, response.url, title=found.title, date=found.date, language=found.language)

    def _links(self, response: HtmlResponse) -> Iterable[str]:
        origin = get_base_url(response)
        refresh = get_meta_refresh(response)[1]
        if refresh:
            yield refresh
        for link in response.xpath("//a[@href] | //area[@href] | //iframe[@src] | //frame[@src]"):
            if self.robots_meta and NOFOLLOW in link.attrib.get("rel", "").lower().split():
                continue
            target = link.attrib["src" if link.root.tag in ("iframe", "frame") else "href"]
            try:
                address = urljoin(origin, target.strip())
                suffix = PurePosixPath(urlsplit(address).path).suffix
            except ValueError:  # not an address at all
                continue
            if suffix.lower().removeprefix(".") not in IGNORED_EXTENSIONS:
                yield address
