"""Pages of Python's own documentation generator: one document for each module, class, function and method."""

from collections.abc import Iterable
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from scrapy.http import TextResponse

from crawlers.frontier_spider import FrontierSpider
from crawlers.pydoc_entries import entries
from discover.pool.document import Document


class pydoc(FrontierSpider):
    """The spider ``pydoc``, for `crawlers.pydoc_site`.

    Links are followed from the index alone: it names every page, while the pages also link to modules left out.
    A document's address is that of its page with the entry's name behind ``#``: ``…/json.decoder.html#JSONDecoder``.
    """

    def parse_page(self, response: TextResponse) -> Iterable[Document | str]:
        """The documents of a module's page, or the links of the index."""
        module = PurePosixPath(urlsplit(response.url).path).name.removesuffix(".html")
        if not module or module == "index":
            yield from response.xpath("//a/@href[contains(., '.html')]").getall()
            return
        for entry in entries(response.body, module):
            address = f"{response.url}#{entry.name}" if entry.name else response.url
            yield Document(entry.text(module), address, title=entry.name, language="en")
