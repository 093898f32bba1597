"""Sitemaps that lie packed on a server, like sitemap.xml.gz (https://www.sitemaps.org/protocol.html#index)."""

import zlib
from urllib.parse import urlsplit

from scrapy.http import Response, TextResponse, XmlResponse
from scrapy.utils.gz import gzip_magic_number

from crawlers.settings import MAX_BYTES

GZIP = 31  # zlib's word for a gzip file


class NoText(ValueError):
    """Says why there is none: the reason of a rejection."""


def is_packed(address: str) -> bool:
    """Whether an address is called like a packed sitemap."""
    return urlsplit(address).path.lower().endswith(".xml.gz")


def text_of(response: Response) -> TextResponse:
    """What was answered, as text; of a packed sitemap what it holds, which the way here may have unpacked already.

    Raises:
        NoText: it is none ("not text"), or more than a page may hold ("too large").
    """
    if not is_packed(response.url):
        if isinstance(response, TextResponse):
            return response
        raise NoText("not text")
    body = response.body
    if gzip_magic_number(response):
        unpacker = zlib.decompressobj(GZIP)
        try:
            body = unpacker.decompress(body, MAX_BYTES)
        except zlib.error as error:
            raise NoText("not text") from error
        if not unpacker.eof:
            raise NoText("too large" if unpacker.unconsumed_tail else "not text")
    return XmlResponse(response.url, response.status, response.headers, body)
