"""Sitemaps that are gzip files."""

import gzip
from pathlib import Path

import pytest
from scrapy.http import Response, TextResponse
from sqlalchemy import select

from crawlers.packed import NoText, is_packed, text_of
from crawlers.settings import MAX_BYTES
from discover.tables import document, rejection
from tests.crawl_site import Site, rows, run, run_folder

PLACE = "http://example.org/sitemap.xml.gz"
LISTED = b"<urlset><url><loc>/article1.html</loc></url><url><loc>/article2.html</loc></url></urlset>"


class Packed(Site):
    """Two sitemaps in an index of them; one server's word for gzip is another's for anything."""

    def answer(self, path: str):
        if path == "/sitemap.xml":
            names = "".join(f"<sitemap><loc>/{name}.xml.gz</loc></sitemap>" for name in ("one", "two", "broken"))
            return 200, {"Content-Type": "application/xml"}, f"<sitemapindex>{names}</sitemapindex>".encode()
        if path == "/one.xml.gz":
            return 200, {"Content-Type": "application/octet-stream"}, gzip.compress(LISTED)
        if path == "/two.xml.gz":  # packed for the way as well
            packed = gzip.compress(LISTED.replace(b"article", b"other"))
            return 200, {"Content-Type": "application/x-gzip", "Content-Encoding": "gzip"}, packed
        if path == "/broken.xml.gz":
            return 200, {"Content-Type": "application/gzip"}, gzip.compress(LISTED)[:-20]
        return super().answer(path)


def test_what_packed_sitemaps_list_is_fetched(tmp_path: Path):
    with Packed() as site:
        folder = run_folder(tmp_path, start=[f"{site.url}/sitemap.xml"], allow_private=[site.pair])
        done = run("crawl", str(folder))
        assert done.returncode == 0, done.stderr
        assert {"/article1.html", "/article2.html", "/other1.html"} <= set(site.asked)
    assert rows(folder, select(document))
    refused = {row.address.rpartition("/")[2]: row.reason for row in rows(folder, select(rejection))}
    assert refused["broken.xml.gz"] == "not text" and not {"one.xml.gz", "two.xml.gz"} & refused.keys()


def test_what_is_unpacked_and_what_is_not():
    for response in (Response(PLACE, body=gzip.compress(LISTED)), TextResponse(PLACE, body=LISTED)):
        assert text_of(response).text == LISTED.decode()
    for body, reason in (
        (gzip.compress(LISTED)[:-20], "not text"),
        (b"\x1f\x8b\x08 is how it begins", "not text"),
        (gzip.compress(bytes(MAX_BYTES + 1)), "too large"),
    ):
        with pytest.raises(NoText, match=reason):
            text_of(Response(PLACE, body=body))
    page = TextResponse("http://example.org/", body=b"a page")
    assert text_of(page) is page
    with pytest.raises(NoText, match="not text"):
        text_of(Response("http://example.org/", body=b"\x89PNG"))
    assert is_packed("https://example.org/a/SITEMAP.XML.GZ?page=2") and not is_packed("https://example.org/all.tar.gz")
