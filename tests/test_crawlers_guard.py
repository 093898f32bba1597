import asyncio
import subprocess
import sys
from types import SimpleNamespace

import pytest
from scrapy import Request
from scrapy.addons import AddonManager
from scrapy.exceptions import DownloadCancelledError, IgnoreRequest
from scrapy.http import Headers, Response
from scrapy.settings import Settings
from scrapy.utils.test import get_crawler
from twisted.internet.address import IPv4Address

from crawlers import robots as robots_txt
from crawlers.guard import Guard, GuardedResolver, is_public, refused
from crawlers.hardening import ROBOTS, retry_after
from crawlers.robots import RobotsTxt
from crawlers.settings import crawl_settings
from discover.config import CrawlConfig
from tests.crawl_site import Site


@pytest.mark.parametrize("address", ["93.184.215.14", "8.8.8.8", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "1.1.1.1"])
def test_public(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1"),
        *("192.0.2.1", "198.18.0.1", "224.0.0.1", "239.255.255.250", "255.255.255.255", "192.88.99.1", "240.0.0.1"),
        *("::1", "::", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::7f00:1", "64:ff9b:1::1"),
        *("2002:7f00:1::", "2001:0:1::1", "fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "ff02::1", "2001:db8::1"),
        *("not an address", ""),
    ],
)
def test_not_public(address):
    assert not is_public(address)


def test_only_the_very_pair_is_let_through():
    guard = Guard(["intranet:8000"], {"pydoc.localhost:80": "127.0.0.1:4000"})
    assert not guard.refuses("Intranet", 8000, "10.0.0.1")
    assert guard.refuses("intranet", 8001, "10.0.0.1")
    assert guard.refuses("intranet", 80, "10.0.0.1")
    assert guard.refuses("other", 8000, "8.8.8.8")
    assert not guard.refuses("pydoc.localhost", 80, "127.0.0.1")
    assert guard.objection("example.org", 22) and not guard.objection("example.org", 443)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), ("", None), ("soon", None), ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0), (b"\xb2", None), ("-1", None)],
)
def test_retry_after(value, seconds):
    assert retry_after(Headers({"Retry-After": value})) == seconds


def test_a_name_is_resolved_and_checked_again_for_each_connection():
    answers = [["8.8.8.8"], ["8.8.4.4"], ["10.0.0.1"], ["10.0.0.1", "8.8.8.8"]]

    class Resolver:
        def resolveHostName(self, receiver, name, port=0, kinds=None, transport="TCP"):
            receiver.resolutionBegan(None)
            for ip in answers.pop(0):
                receiver.addressResolved(IPv4Address("TCP", ip, port))
            receiver.resolutionComplete()

    class Receiver:
        def __init__(self):
            self.found = []

        def resolutionBegan(self, resolution):
            pass

        def addressResolved(self, address):
            self.found.append(address.host)

        def resolutionComplete(self):
            pass

    settings = Settings(crawl_settings(CrawlConfig(), {}, ""))
    AddonManager.load_pre_crawler_settings(settings)  # as Scrapy does it for a process
    reactor = SimpleNamespace(nameResolver=Resolver())
    resolver = GuardedResolver.from_crawler(SimpleNamespace(settings=settings), reactor)
    found = []
    known = []
    for _ in range(4):
        receiver = Receiver()
        resolver.resolveHostName(receiver, "moving.example", 443)
        found.append(receiver.found)
        known.append(refused.get(("moving.example", 443)))
    assert found == [["8.8.8.8"], ["8.8.4.4"], [], ["8.8.8.8"]]
    assert known == [None, None, "10.0.0.1", None], "a host of which one address will do is not refused"


def test_robots_txt_is_asked_again_after_a_failure_and_after_a_day(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr("crawlers.robots.time", SimpleNamespace(monotonic=lambda: clock.now))
    answers = [Response("http://x.org/robots.txt", 503), OSError("dropped"), Response("http://x.org/robots.txt", 404)]
    body = b"User-agent: *\nDisallow: /\n"
    answers += [Response("http://x.org/robots.txt", 200, body=body), Response("http://x.org/robots.txt", 429)]
    answers.append(DownloadCancelledError("6 MB"))

    async def download(request):
        await asyncio.sleep(0)
        assert request.meta[ROBOTS], "of whatever kind it says it is, its head is let through"
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    crawler = get_crawler(settings_dict={"ROBOTSTXT_OBEY": True, "ROBOTSTXT_USER_AGENT": "Discover"})
    crawler.engine = SimpleNamespace(download_async=download)
    robots = RobotsTxt(crawler)

    async def allowed() -> list[bool | str]:
        """What two pages at a time are told."""
        pages = [robots.process_request(Request(f"http://x.org/{n}")) for n in range(2)]
        told = await asyncio.gather(*pages, return_exceptions=True)
        return [True if t is None else str(t) for t in told]

    async def session():
        assert await allowed() == ["robots.txt cannot be had: status 503"] * 2
        assert all("OSError: dropped" in said for said in await allowed())
        assert await allowed() == await allowed() == [True, True] and len(answers) == 3
        clock.now += 25 * 3600
        assert await allowed() == ["Forbidden by robots.txt"] * 2
        clock.now += 25 * 3600
        assert await allowed() == ["robots.txt cannot be had: status 429"] * 2
        assert await allowed() == ["robots.txt cannot be had: 6 MB"] * 2

    asyncio.run(session())


def test_of_robots_txt_no_more_is_kept_than_there_is_room_for(monkeypatch):
    monkeypatch.setattr(robots_txt, "MOST_BYTES", 200)
    monkeypatch.setattr(robots_txt, "KEPT_BYTES", 1000)
    rules = b"User-agent: *\nDisallow: /first\n" + b"".join(b"Disallow: /%d\n" % n for n in range(20))
    asked = []

    async def download(request):
        asked.append(request.url)
        return Response(request.url, 200, body=rules + b"Disallow: /last\n")

    crawler = get_crawler(settings_dict={"ROBOTSTXT_OBEY": True, "ROBOTSTXT_USER_AGENT": "Discover"})
    crawler.engine = SimpleNamespace(download_async=download)
    robots = RobotsTxt(crawler)

    async def session():
        for number in range(10):
            with pytest.raises(IgnoreRequest):
                await robots.process_request(Request(f"http://{number}.org/first"))
            assert await robots.process_request(Request(f"http://{number}.org/last")) is None, "beyond what is read"
        assert len(asked) == 10 and len(robots._asked) == 1000 // len(rules[: rules.rfind(b"\n", 0, 200) + 1])
        await robots.process_request(Request("http://9.org/"))
        await robots.process_request(Request("http://0.org/"))
        assert asked[10:] == ["http://0.org/robots.txt"]

    asyncio.run(session())


ORDINARY = """
import sys
from scrapy import Request, Spider
from scrapy.crawler import AsyncCrawlerProcess


class Plain(Spider):
    name = "plain"

    async def start(self):
        for address in sys.argv[1:]:
            yield Request(address, self.fetched, errback=self.failed)

    def fetched(self, response):
        print("fetched", response.url)

    def failed(self, failure):
        print(type(failure.value).__name__, failure.value)


process = AsyncCrawlerProcess({"ADDONS": {"crawlers.hardening.Hardening": 0}, "LOG_ENABLED": False})
process.crawl(Plain)
process.start()
"""


def test_the_add_on_guards_an_ordinary_scrapy_project(tmp_path):
    script = tmp_path / "plain.py"
    script.write_text(ORDINARY)
    with Site() as site:
        command = [sys.executable, str(script), site.url, "http://localhost/", "file:///etc/hostname"]
        said = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
        assert site.asked == []
    assert "fetched" not in said
    assert "is neither 80 nor 443" in said and "localhost is at" in said and "file" in said
