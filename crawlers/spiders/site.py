"""Any site: follow links inside the allowed domains, keep the main text of each page.

Sitemaps (https://www.sitemaps.org/protocol.html), packed or not, and feeds, RSS and Atom, are pages of links. They are
not looked for: name one in ``crawl.start``, or a page that links to it.
"""

import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import PurePosixPath
from urllib.parse import urljoin, urlsplit

from scrapy.http import HtmlResponse, TextResponse, XmlResponse
from scrapy.linkextractors import IGNORED_EXTENSIONS
from scrapy.utils.response import get_base_url, get_meta_refresh

from crawlers.extract import Extractor
from crawlers.frontier_spider import FrontierSpider, Skip
from crawlers.robots_meta import NOFOLLOW, NOINDEX, rules
from discover.errors import DiscoverError
from discover.pool.document import Document

# Feeds, and pages that are called so, as /wiki/Node.js is: the head of the answer says what they are.
_NO_PAGES = set(IGNORED_EXTENSIONS) - {"rss", "js", "py", "rb", "sh", "ai"}


class site(FrontierSpider):
    """The spider ``site``.

    Args:
        languages: two-letter codes; pages in other languages are rejected, their links followed. Empty: all.
        deadline: seconds of processor time that the extraction of one page may take.
        robots_meta: whether noindex and nofollow are obeyed; false is for a site of your own.
    """

    def __init__(self, *, languages: list[str] | str | None = None, deadline: float = 5.0, robots_meta: bool = True):
        super().__init__()
        self.languages = _codes([languages] if isinstance(languages, str) else languages or [])
        self.robots_meta = robots_meta
        self.extractor = Extractor(workers=2, deadline=deadline)

    def closed(self, reason: str) -> None:
        """Called by Scrapy at the end."""
        self.extractor.close()

    def parse_page(self, response: TextResponse) -> Iterable[Document | str]:
        """One document a page, and every link that may lead to another page."""
        if isinstance(response, XmlResponse):
            yield from _listed(response)
            return
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
        with suppress(ValueError):  # not an address at all
            if refresh := get_meta_refresh(response)[1]:
                yield refresh
        for link in response.xpath("//a[@href] | //area[@href] | //iframe[@src] | //frame[@src]"):
            if self.robots_meta and NOFOLLOW in link.attrib.get("rel", "").lower().split():
                continue
            yield from _page(origin, link.attrib["src" if link.root.tag in ("iframe", "frame") else "href"])


def _codes(languages: list[str]) -> list[str]:
    for language in languages:
        if not re.fullmatch("[A-Za-z]{2}", str(language)):  # YAML makes false of no, which is Norwegian
            raise DiscoverError(
                f"crawl.options: languages are named by two letters, like en (no in quotes), found {language!r}"
            )
    return [language.lower() for language in languages]


def _listed(response: XmlResponse) -> Iterable[str]:
    """The addresses of a sitemap, of an index of sitemaps, or of a feed's entries."""
    tree = response.selector
    tree.remove_namespaces()
    if tree.root is None or tree.root.tag not in ("urlset", "sitemapindex", "rss", "RDF", "feed"):
        raise Skip("not text", "XML that is neither a sitemap nor a feed")
    places = (
        "url/loc/text()",
        "sitemap/loc/text()",
        "item/link/text()",
        "entry/link[not(@rel) or @rel='alternate']/@href",
    )
    for target in tree.xpath(" | ".join(f"//{place}" for place in places)).getall():
        yield from _page(response.url, target)


def _page(origin: str, target: str) -> Iterable[str]:
    """The address that a link leads to, unless its name is that of a picture, say."""
    try:
        address = urljoin(origin, target.strip())
        suffix = PurePosixPath(urlsplit(address).path).suffix
    except ValueError:  # not an address at all
        return
    if suffix.lower().removeprefix(".") not in _NO_PAGES:
        yield address
