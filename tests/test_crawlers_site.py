"""The spider `site`: what it keeps of a page, and which of its links it follows."""

from collections.abc import Iterable
from types import SimpleNamespace

import pytest
from scrapy.http import HtmlResponse, Response, TextResponse, XmlResponse

from crawlers.extract import Extractor
from crawlers.frontier import Leased, Outcome
from crawlers.frontier_spider import LINKS, OTHERS, FrontierSpider, Skip
from crawlers.spiders.site import site
from discover.pool.document import Document

TEXT = "The ferry sails again after the pilots have had their morning coffee, and the harbour is glad of it."


@pytest.fixture(scope="module")
def read():
    """A function: a page's links and texts, or the reason of its rejection in place of the texts."""
    extractor = Extractor(1)

    def read(body: str, headers: dict[str, str] | None = None, **options) -> tuple[list[str], list[str]]:
        spider = site(**options)
        spider.extractor = extractor
        response = HtmlResponse("http://example.org/a/", headers=headers, body=f"<html>{body}</html>".encode())
        found: list[Document | str] = []
        try:
            for one in spider.parse_page(response):
                found.append(one)
        except Skip as skip:
            return [one for one in found if isinstance(one, str)], [skip.reason]
        return [one for one in found if isinstance(one, str)], [one.text for one in found if isinstance(one, Document)]

    yield read
    extractor.close()


class Made(FrontierSpider):
    """Yields what it is told to."""

    def __init__(self, found: Iterable[str]):
        super().__init__()
        self.found, self.task = found, SimpleNamespace(domains=["example.org"])

    def parse_page(self, response: TextResponse) -> Iterable[Document | str]:
        yield from self.found


@pytest.mark.parametrize("link", ["/same", "http://elsewhere.org/{}"])
def test_no_more_links_of_a_page_are_looked_at_than_there_is_time_for(monkeypatch, caplog, link):
    looked = []
    monkeypatch.setattr(Made, "_link", lambda self, response, found: looked.append(found) or "")
    page = HtmlResponse("http://example.org/", body=b"<p>")
    outcome = Made(link.format(n) for n in range(100_000))._read(page, Leased(1, page.url, 0, 1))
    assert outcome.links == [] and len(looked) <= LINKS + OTHERS + 1
    assert "more links than are looked at" in caplog.text


def test_a_redirect_to_no_address_is_told():
    page = Response("http://example.org/", 302)
    outcome = Outcome(Leased(1, page.url, 0, 1), 302)
    Made([])._redirect(outcome, page, b"http://[::1/\xff")
    assert outcome.reason == "redirect to no address" and outcome.is_refused and "http://[::1/" in outcome.detail


PAGE = f'<a></a><a href="one"></a><a rel="author NoFollow" href="two"></a><p>{TEXT}</p>'
ONE, TWO = "http://example.org/a/one", "http://example.org/a/two"


@pytest.mark.parametrize(
    ("head", "headers", "links", "texts"),
    [
        ("", {}, [ONE], [TEXT]),
        ('<meta name="Robots" content="index, NOFOLLOW">', {}, [], [TEXT]),
        ('<meta name="discover" content="noindex">', {}, [ONE], ["noindex"]),
        ('<meta name="robots" content="none">', {}, [], ["noindex"]),
        ('<meta name="googlebot" content="none">', {}, [ONE], [TEXT]),
        ("", {"X-Robots-Tag": "noarchive, noindex"}, [ONE], ["noindex"]),
        ("", {"X-Robots-Tag": "Discover: nofollow"}, [], [TEXT]),
        ("", {"X-Robots-Tag": "otherbot: noindex, nofollow"}, [ONE], [TEXT]),
    ],
)
def test_noindex_and_nofollow_are_obeyed(read, head, headers, links, texts):
    assert read(head + PAGE, headers) == (links, texts)


@pytest.mark.parametrize(
    ("body", "links"),
    [
        (
            '<?xml version="1.0"?><urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"><url><loc>\n /one </loc>'
            "<lastmod>2026-01-01</lastmod></url><url><loc>/a/two</loc></url></urlset>",
            ["http://example.org/one", TWO],
        ),
        ("<sitemapindex><sitemap><loc>one.xml</loc></sitemap></sitemapindex>", ["http://example.org/a/one.xml"]),
        (
            "<rss><channel><link>/</link><item><title>1</title><link>one</link></item><item/></channel></rss>",
            [ONE],
        ),
        (
            '<feed xmlns="http://www.w3.org/2005/Atom"><link rel="self" href="self"/><entry><link href="one"/>'
            '<link rel="edit" href="edit"/></entry><entry><link rel="alternate" href="two"/></entry></feed>',
            [ONE, TWO],
        ),
    ],
)
def test_sitemaps_and_feeds_are_lists_of_links(body, links):
    response = XmlResponse("http://example.org/a/", body=body.encode())
    assert list(site().parse_page(response)) == links


def test_what_a_link_is_called_is_no_reason_to_pass_over_a_page(read):
    names = ["news.rss", "wiki/Node.js", "users/john.rb", "a.pdf", "a.JPG"]
    links, _ = read("".join(f'<a href="{name}"></a>' for name in names))
    assert links == [f"http://example.org/a/{name}" for name in names[:3]]


def test_a_refresh_to_no_address_costs_no_page(read):
    assert read('<meta http-equiv="refresh" content="0; url=http://[domain]/">' + PAGE) == ([ONE], [TEXT])


def test_other_xml_is_no_text():
    with pytest.raises(Skip, match="not text"):
        list(site().parse_page(XmlResponse("http://example.org/a/", body=b"<svg><text>Not to be read</text></svg>")))


def test_whoever_owns_the_site_may_pass_over_them(read):
    assert read('<meta name="robots" content="none">' + PAGE, robots_meta=False) == ([ONE, TWO], [TEXT])
