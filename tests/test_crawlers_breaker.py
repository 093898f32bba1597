"""Servers that fail for a while, and answers that nobody would expect."""

import gzip
import os
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from scrapy.http import TextResponse, XmlResponse
from sqlalchemy import select

from crawlers.breaker import FAILURES, Breaker
from crawlers.frontier import Leased
from crawlers.frontier_spider import LINKS, LISTED, FrontierSpider
from crawlers.outages import ATTEMPTS
from crawlers.settings import MAX_BYTES
from discover.commands import crawl as command
from discover.errors import UNFINISHED, Unfinished
from discover.pool.document import Document
from discover.tables import document, rejection, url
from tests.crawl_site import HASTY, TREE, Site, rows, run, run_folder

SERVER, HOST, GOOD = "example.org:8000", "example.org", "http://example.org:8000/good"


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr("crawlers.breaker.time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def always(_: str) -> bool:
    return True


def test_a_server_that_fails_in_a_row_rests_and_is_probed_with_what_it_has_answered(clock):
    breaker = Breaker(first=5.0, longest=60.0, patience=300.0)
    breaker.answered(SERVER, GOOD)
    assert [breaker.failed(SERVER, "unreachable") for _ in range(FAILURES)] == [False, False, True]
    assert breaker.resting() == {HOST: 5.0} and breaker.probes(always) == []
    assert breaker.failed(SERVER, "unreachable"), "it was under way"
    rests = []
    for _ in range(4):
        clock.now += breaker.resting()[HOST]
        assert breaker.resting() == {HOST: 0.0}, "nothing but the probe"
        assert breaker.probes(lambda name: False) == [] and breaker.probes(always) == [GOOD]
        assert breaker.probes(always) == [], "it is on its way"
        breaker.failed(SERVER, "status 503")
        rests.append(breaker.resting()[HOST])
    assert rests == [20.0, 60.0, 60.0, 60.0] and breaker.reasons(always) == {SERVER: "status 503"}
    breaker.answered(SERVER)
    assert breaker.resting() == {} and breaker.reasons(always) == {}
    assert not breaker.failed(SERVER, "status 500"), "it begins anew"


def test_a_server_that_never_answered_is_probed_with_its_pages_and_they_count(clock):
    breaker = Breaker(first=5.0, longest=60.0, patience=300.0)
    assert not any(breaker.failed(SERVER, "unreachable") for _ in range(FAILURES))
    assert breaker.resting() == {HOST: 5.0} and breaker.untested() == set()
    clock.now += 5.0
    assert breaker.resting() == {} and breaker.untested() == {HOST} and breaker.probes(always) == []
    assert not breaker.failed(SERVER, "unreachable") and breaker.resting() == {HOST: 20.0}


def test_pages_of_a_server_on_trial_are_tried_one_by_one_and_they_count(clock):
    breaker = Breaker(first=5.0, longest=60.0, patience=300.0)
    breaker.answered(SERVER, GOOD)
    for blamed in (True, False):  # while all was well, and on trial
        assert [breaker.failed(SERVER, "status 500") for _ in range(FAILURES)] == [False, False, blamed]
        assert breaker.resting() == {HOST: 5.0} and breaker.untested() == set()
        clock.now += 5.0
        assert breaker.probes(always) == [GOOD]
        breaker.probed(SERVER)
        assert breaker.resting() == {} and breaker.untested() == {HOST}
    breaker.answered(SERVER)
    assert breaker.untested() == set()
    assert [breaker.failed(SERVER, "status 500") for _ in range(FAILURES)] == [False, False, True], "it begins anew"


def test_a_long_retry_after_is_a_rest_at_once(clock):
    breaker = Breaker(first=5.0, longest=60.0, patience=300.0)
    assert not breaker.failed(SERVER, "status 429", 200.0) and breaker.resting() == {}
    assert breaker.failed(SERVER, "status 429", 3600.0) and breaker.resting() == {HOST: 3600.0}
    assert breaker.failed("other.org", "status 429", float("inf")) and breaker.resting()["other.org"] == 24 * 3600.0


def spider(root: Path) -> str:
    (root / "leaves.py").write_text(HASTY)
    return f"{root / 'leaves.py'}:leaves"


class Failing(Site):
    """Drops the connection, or answers 503, from one number of requests on to another."""

    down = range(0)

    def answer(self, path: str):
        number = len(self.asked)
        if number in self.down:
            return None if number % 2 else (503, {}, b"")
        return super().answer(path)


def test_an_outage_costs_no_page(tmp_path: Path):
    with Failing() as site:
        site.down = range(30, 10**6)
        folder = run_folder(
            tmp_path, spider=spider(tmp_path), start=[f"{site.url}/tree/1"], allow_private=[site.pair], max_depth=20
        )
        stopped = run("crawl", str(folder))
        assert stopped.returncode == UNFINISHED, stopped.stderr
        *_, line = stopped.stderr.splitlines()  # after the progress that a slow machine has time to tell
        assert site.pair in line and "the same command goes on" in line
        assert {row.state for row in rows(folder, select(url))} == {"new", "done"}
        assert len(site.asked) < 60, "it was left alone"
        begun = len(site.asked)
        site.down = range(begun + 10, begun + 25)  # shorter than its patience
        finished = run("crawl", str(folder))
        assert finished.returncode == 0, finished.stderr
        assert len(rows(folder, select(document))) == TREE and not rows(folder, select(rejection))


def test_a_crawl_beside_a_loop_waits_for_a_server_to_come_back(tmp_path: Path):
    with Failing() as site:
        site.down = range(30, 10**6)
        folder = run_folder(
            tmp_path, spider=spider(tmp_path), start=[f"{site.url}/tree/1"], allow_private=[site.pair], max_depth=20
        )
        mended = threading.Timer(12.0, lambda: setattr(site, "down", range(0)))  # the test before ends within three
        mended.start()
        finished = run("crawl", str(folder), "--wait", "90")
        assert finished.returncode == 0 and not mended.is_alive(), finished.stderr
        assert len(rows(folder, select(document))) == TREE and not rows(folder, select(rejection))


class Broken(Site):
    """A row of pages that fail for good, more than are under way at a time, and a good one behind them."""

    def answer(self, path: str):
        if path == "/":
            links = "".join(f'<a href="/broken/{number}">a link</a>' for number in range(20))
            body = (
                f'<html><body><p>The way to what is broken.</p>{links}<a href="/tree/{TREE}">a leaf</a></body></html>'
            )
            return 200, {"Content-Type": "text/html"}, body.encode()
        return (500, {}, b"") if path.startswith("/broken/") else super().answer(path)


def test_pages_that_are_broken_for_good_are_given_up(tmp_path: Path):
    with Broken() as site:
        folder = run_folder(
            tmp_path, spider=spider(tmp_path), start=[f"{site.url}/"], allow_private=[site.pair], max_depth=1
        )
        finished = run("crawl", str(folder))
    assert finished.returncode == 0, finished.stderr
    assert len(rows(folder, select(document))) == 2
    states = {row.address: row.state for row in rows(folder, select(url)) if "/broken/" in row.address}
    assert len(states) == 20 and set(states.values()) == {"failed"}
    asked = [site.asked.count(f"/broken/{number}") for number in range(20)]
    assert min(asked) == ATTEMPTS and max(asked) <= 2 * ATTEMPTS, asked


class Unruly(Site):
    """A robots.txt that comes at the third time of asking, or never."""

    never = False

    def answer(self, path: str):
        if path == "/robots.txt":
            asked = self.asked.count(path)
            if asked == 2:
                return None
            return (503, {}, b"") if self.never or asked == 1 else (200, {}, b"User-agent: *\nDisallow: /private/\n")
        return super().answer(path)


def test_without_robots_txt_pages_wait(tmp_path: Path):
    with Unruly() as late, Unruly() as never:
        never.never = True
        folder = run_folder(
            tmp_path,
            spider=spider(tmp_path),
            start=[f"{late.url}/private/secret.html", f"{late.url}/article1.html", f"http://localhost:{never.port}/"],
            allow_private=[late.pair, f"localhost:{never.port}"],
            max_depth=0,
        )
        finished = run("crawl", str(folder))
        assert finished.returncode == UNFINISHED and "localhost" in finished.stderr
        assert late.asked == ["/robots.txt"] * 3 + ["/article1.html"]
        assert set(never.asked) == {"/robots.txt"}
    states = {row.address: (row.state, row.attempts) for row in rows(folder, select(url))}
    assert states[f"{late.url}/article1.html"][0] == "done"
    assert states[f"{late.url}/private/secret.html"][0] == "failed"
    assert states[f"http://localhost:{never.port}/"][0] == "new"


class Odd(Site):
    """Answers that are legal, or nearly."""

    def answer(self, path: str):
        if path == "/":
            links = "".join(f'<a href="/{name}">a link</a>' for name in ("bad", "old", "away", "endless", "nowhere"))
            base = '<base href="http://[domain]/">'
            body = f"<html>{base}<body><p>A paragraph of more than twenty characters.</p>{links}</body></html>"
            return 200, {"Content-Type": "text/html"}, body.encode()
        if path == "/bad" and self.asked.count(path) == 1:
            return 500, {"Retry-After": "\xb2"}, b""
        if path == "/old":
            return 301, {"Location": "/straße".encode().decode("latin-1")}, b""
        if path == "/away":
            return 302, {"Location": "http://www.example.org/elsewhere"}, b""
        if path == "/nowhere":
            return 302, {"Location": "http://[domain]/"}, b""
        if path == "/endless":
            return 10**30, {}, b""
        if path in ("/bad", "/stra%C3%9Fe"):
            return 200, {"Content-Type": "text/html"}, f"<p>A long enough paragraph about {path}.</p>".encode()
        return super().answer(path)


def test_odd_answers(tmp_path: Path):
    with Odd() as site:
        folder = run_folder(tmp_path, spider=spider(tmp_path), start=[f"{site.url}/"], allow_private=[site.pair])
        finished = run("crawl", str(folder))
    assert finished.returncode == 0, finished.stderr
    summary, advice = finished.stdout.splitlines()
    assert "3 new documents" in summary and "1 redirect off site" in summary
    assert "www.example.org" in advice and "crawl.allowed_domains" in advice
    rejected = {(row.reason, row.detail) for row in rows(folder, select(rejection))}
    assert rejected == {
        ("redirect off site", "http://www.example.org/elsewhere"),
        ("redirect to no address", "'http://[domain]/'"),
        ("status 999", ""),
    }


class Gateway(Site):
    """Says of its troubles in JSON, packed, as gateways do; and packs more than a page may hold."""

    def answer(self, path: str):
        problem = {"Content-Type": "application/problem+json", "Content-Encoding": "gzip"}
        if path == "/":
            links = "".join(f'<a href="{link}">a link</a>' for link in ("/limited", "/gone", "/bomb"))
            body = f"<html><body><p>A paragraph of more than twenty characters.</p>{links}</body></html>"
            return 200, {"Content-Type": "text/html"}, body.encode()
        if path == "/limited" and self.asked.count(path) == 1:
            return 429, problem | {"Retry-After": "1"}, gzip.compress(b'{"title": "slow down"}')
        if path == "/limited":
            return 200, {"Content-Type": "text/html"}, b"<p>What was worth another attempt.</p>"
        if path == "/gone":
            return 410, problem, gzip.compress(b'{"title": "gone"}')
        if path == "/bomb":
            bomb = gzip.compress(b"<p>" + bytes(4 * MAX_BYTES))
            return 200, {"Content-Type": "text/html", "Content-Encoding": "gzip"}, bomb
        return super().answer(path)


def test_an_error_that_comes_in_json_is_an_error_all_the_same(tmp_path: Path):
    with Gateway() as site:
        folder = run_folder(tmp_path, spider=spider(tmp_path), start=[f"{site.url}/"], allow_private=[site.pair])
        finished = run("crawl", str(folder))
    assert finished.returncode == 0, finished.stderr
    assert "What was worth another attempt." in {row.text for row in rows(folder, select(document))}
    reasons = {row.address.removeprefix(site.url): row.reason for row in rows(folder, select(rejection))}
    assert reasons == {"/gone": "status 410", "/bomb": "too large"}


class Visited(Site):
    """Writes a new session into each link, or asks for one in the address, or for a cookie, before it shows a page."""

    def answer(self, path: str):
        session = f";jsessionid={len(self.asked):032x}"
        if path.startswith("/page"):
            links = "".join(
                f'<a href="/{name}{session}">a link</a>' for name in ("page/1", "page/2", "asking", "cookie")
            )
            return 200, {"Content-Type": "text/html"}, f"<p>A long enough paragraph.</p>{links}".encode()
        if path == "/cookie" or path == "/asking":
            return 302, {"Location": f"{path}{session if path == '/asking' else ''}", "Set-Cookie": "a=b"}, b""
        if path.startswith("/asking;jsessionid="):
            return 200, {"Content-Type": "text/html"}, b"<p>What is only shown to a session.</p>"
        return super().answer(path)


def test_a_page_is_fetched_once_however_many_sessions_its_address_is_written_for(tmp_path: Path):
    with Visited() as site:
        folder = run_folder(
            tmp_path, spider=spider(tmp_path), start=[f"{site.url}/page/1"], allow_private=[site.pair], max_depth=20
        )
        finished = run("crawl", str(folder))
        asked = [path for path in site.asked if path != "/robots.txt"]
    assert finished.returncode == 0, finished.stderr
    names = sorted(path.partition(";")[0] for path in asked)
    assert names == ["/asking", "/asking", "/cookie", "/page/1", "/page/2"]
    assert "What is only shown to a session." in {row.text for row in rows(folder, select(document))}
    assert "1 redirect to itself" in finished.stdout


class Careless(FrontierSpider):
    def parse_page(self, response):
        yield Document(response.css("p::text").get(), title=response.css("title::text").get(), date=None, language=None)
        yield response.css("a.next::attr(href)").get()
        if response.css("h1"):
            yield Document(response.css("h1::text").getall())


def test_a_document_that_cannot_be_stored_costs_its_page_and_not_the_crawl():
    spider = Careless()
    spider.task = SimpleNamespace(domains=["example.org"])
    page = Leased(1, "http://example.org/", 0, 0)
    found = spider._read(
        TextResponse(page.address, body=b"<p>No title, as many pages have none.", encoding="utf-8"), page
    )
    assert found.links == [] and found.documents == [Document("No title, as many pages have none.", page.address)]
    refused = spider._read(TextResponse(page.address, body=b"<p>A paragraph.<h1>A list", encoding="utf-8"), page)
    assert refused.reason == "spider error" and refused.documents == []
    assert "Document.text must be text, found list" in refused.detail


class Links(FrontierSpider):
    def parse_page(self, response):
        for number in range(2 * LISTED):
            yield f"/{number % (LISTED + 1)}"


@pytest.mark.parametrize(("kind", "most"), [(TextResponse, LINKS), (XmlResponse, LISTED)])
def test_links_of_a_page_are_limited_and_that_is_told(kind, most, caplog):
    spider = Links()
    spider.task = SimpleNamespace(domains=["example.org"])
    found = spider._read(kind("http://example.org/many"), Leased(1, "http://example.org/many", 0, 0))
    assert found.links == [f"http://example.org/{number}" for number in range(most)]
    (record,) = caplog.records
    assert "http://example.org/many" in record.getMessage() and str(most) in record.getMessage()


def test_an_unfinished_crawl_is_told_and_not_noted(capsys):
    campaign = SimpleNamespace(database=None)  # a note would fail
    reading, writing = os.pipe()
    os.write(writing, b"example.org: unreachable")
    with pytest.raises(Unfinished, match=r"not finished: example\.org: unreachable"):
        command._conclude(campaign, UNFINISHED, reading)
    os.write(writing, b"example.org: unreachable")
    with command._told():  # so that the loop goes on
        command._conclude(campaign, UNFINISHED, reading)
    assert "example.org" in capsys.readouterr().err
    os.close(reading)
    os.close(writing)
