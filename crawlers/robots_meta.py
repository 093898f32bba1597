"""What a page says of itself to robots: noindex and nofollow, in its head or in a header of its answer.

The words are those of https://developers.google.com/search/docs/crawling-indexing/robots-meta-tag, of which only these
two matter to a crawl.
"""

from collections.abc import Iterable

from scrapy.http import HtmlResponse, TextResponse

from crawlers.settings import AGENT

NOINDEX, NOFOLLOW = "noindex", "nofollow"
_OURS = ("robots", AGENT.lower())  # whom a rule is for
_VALUED = ("unavailable_after", "max-snippet", "max-image-preview", "max-video-preview")  # rules with a colon


def rules(response: TextResponse) -> set[str]:
    """Which of noindex and nofollow hold for a page."""
    said = set(_in_headers(value.decode("latin-1") for value in response.headers.getlist("X-Robots-Tag")))
    if isinstance(response, HtmlResponse):
        for meta in response.xpath("//meta[@name and @content]"):
            if meta.attrib["name"].strip().lower() in _OURS:
                said.update(word.strip().lower() for word in meta.attrib["content"].split(","))
    return {NOINDEX, NOFOLLOW} & said | ({NOINDEX, NOFOLLOW} if "none" in said else set())


def _in_headers(values: Iterable[str]) -> Iterable[str]:
    """The rules for us: ``noindex, nofollow`` for all, ``somebot: noindex, nofollow`` for one."""
    for value in values:
        whom = "robots"
        for piece in value.lower().split(","):
            name, colon, rule = (part.strip() for part in piece.partition(":"))
            if colon and name not in _VALUED:
                whom = name
            if whom in _OURS:
                yield rule if colon else name
