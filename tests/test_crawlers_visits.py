"""Pages that are fetched again: `crawl.revisit`."""

import json
import threading
import time
from pathlib import Path

from sqlalchemy import select

from crawlers.frontier import Frontier, Outcome
from crawlers.visits import conditions, version_of
from discover.pool.config import PoolConfig
from discover.pool.pool import Pool
from discover.tables import document, source, url
from tests.commands import command
from tests.crawl_site import SPIDER, Site, rows, run, run_folder
from tests.test_background import config as background_config

DAY = 24 * 3600.0
SOON = 0.5 / DAY  # half a second


class Changing(Site):
    """A front page, with links to `leaves` and a version; these say the same for good, but have no version."""

    leaves = range(2)
    edition = "first"

    def answer(self, path: str):
        html = {"Content-Type": "text/html"}
        if path == "/":
            if self.known["/"] == f'"{self.edition}"':
                return 304, {}, b""
            links = "".join(f'<a href="/leaf/{number}">{number}</a>' for number in self.leaves)
            said = f"<html><body><p>The {self.edition} edition of the town's paper is out.</p>{links}"
            return 200, html | {"ETag": f'"{self.edition}"'}, said.encode()
        if path.startswith("/leaf/"):
            number = int(path.rpartition("/")[2])
            said = f"<html><body><p>Notice {number}: the bridge over river {number * 7} closes for repairs at {number}."
            return (200, html, said.encode()) if number in self.leaves else (404, html, b"gone")
        return super().answer(path)


def texts(folder: Path) -> set[str]:
    return {row.text.split()[1] for row in rows(folder, select(document))}


def test_what_is_due_is_fetched_again_and_a_page_is_asked_for_its_changes_alone(tmp_path: Path):
    (tmp_path / "leaves.py").write_text(SPIDER)
    with Changing() as site:
        leaves = f"{tmp_path / 'leaves.py'}:leaves"
        limits = {"revisit": SOON, "max_pages": 5, "allow_private": [site.pair]}
        folder = run_folder(tmp_path, spider=leaves, start=[f"{site.url}/"], **limits)
        assert run("crawl", str(folder)).returncode == 0
        assert site.known["/"] is None and texts(folder) == {"first", "0:", "1:"}
        time.sleep(0.6)
        again = run("crawl", str(folder))
        assert again.returncode == 0, again.stderr
        assert "3 pages, 0 new documents, 2 seen before; 1 pages unchanged" in again.stdout
        assert site.known["/"] == '"first"' and site.asked.count("/leaf/1") == 2
        site.edition, site.leaves = "second", range(1, 3)
        time.sleep(0.6)
        last = run("crawl", str(folder)).stdout
        assert "3 pages, 2 new documents, 1 seen before; rejected: 1 status 404" in last
        assert texts(folder) == {"first", "second", "0:", "1:", "2:"}, "what a page said before is kept"
        assert len(rows(folder, select(source).where(source.c.address == f"{site.url}/"))) == 2
        assert sorted(row.state for row in rows(folder, select(url))) == ["done", "done", "done", "failed"]


def test_a_crawl_beside_the_loop_brings_what_appears_later(tmp_path: Path):
    with Changing() as site:
        site.leaves = range(12)
        file = background_config(tmp_path, site, seed=10, budget=20)
        content = json.loads(file.read_text())
        content["crawl"] |= {"start": [f"{site.url}/"], "revisit": SOON}
        content["label"]["options"]["table"] = {str(n): ("odd" if n % 2 else "even") for n in range(30)}
        file.write_text(json.dumps(content))

        def grow() -> None:
            while site.asked.count("/") < 3:
                time.sleep(0.05)
            site.edition, site.leaves = "second", range(30)

        threading.Thread(target=grow, daemon=True).start()
        done = command("run", file, "--run", tmp_path / "run")
        assert done.returncode == 0, done.stderr
        assert len([one for one in texts(tmp_path / "run") if one.endswith(":")]) >= 20
        asked = len(site.asked)
        time.sleep(1.0)
        assert len(site.asked) == asked, "it ends with the loop"


def test_a_page_is_leased_again_when_it_is_due_and_not_before(either_database, monkeypatch):
    moment = [1e9]
    monkeypatch.setattr("crawlers.frontier.now", lambda: moment[0])
    frontier = Frontier(Pool(either_database, PoolConfig()), max_pages=3, max_depth=2, revisit=DAY)
    frontier.seed(["http://example.org/"])
    read = Outcome(frontier.lease(1)[0], 200, links=["http://example.org/gone", "http://example.org/moved"])
    read.version = {"etag": '"1"', "modified": "Mon, 30 Nov 2026 00:00:00 GMT"}
    frontier.record([read])
    gone, moved = frontier.lease(2)
    frontier.record([Outcome(gone, 404, reason="status 404"), Outcome(moved, 503, reason="status 503")])
    assert frontier.renew(True) == DAY / 100 and frontier.waiting() is None
    moment[0] += DAY / 2
    assert frontier.renew(True) == DAY / 100 and frontier.lease(3) == [] and frontier.left == 0
    moment[0] += DAY
    assert frontier.renew(True) == 0 and frontier.left == 2
    again = frontier.lease(3)
    assert [(page.address, page.etag) for page in again] == [("http://example.org/", '"1"')]
    frontier.record([Outcome(again[0], 304)])
    (later,) = frontier.lease(3)
    assert (later.address, later.attempts, later.etag) == ("http://example.org/moved", 0, "")
    assert frontier.pool.counts()["rejected"] == {"status 404": 1, "status 503": 1}
    frontier.record([Outcome(later, 200)])
    assert frontier.pool.counts()["rejected"] == {"status 404": 1}
    assert 0 < frontier.renew(True) <= DAY / 100 and frontier.waiting() is None


def test_a_session_that_ends_takes_up_once_what_was_due_as_it_began(database, monkeypatch):
    moment = [1e9]
    monkeypatch.setattr("crawlers.frontier.now", lambda: moment[0])
    frontier = Frontier(Pool(database, PoolConfig()), max_pages=3, max_depth=2, revisit=DAY)
    frontier.seed(["http://example.org/"])
    frontier.record([Outcome(frontier.lease(1)[0], 200, version={"etag": "", "modified": "yesterday"})])
    moment[0] += 2 * DAY
    assert frontier.renew(False) is None and frontier.lease(3) == []
    again = Frontier(frontier.pool, 3, 2, DAY)
    again.seed(["http://example.org/", "http://example.org/late"])
    (late,) = again.lease(3)
    assert late.address == "http://example.org/late", "what has never been fetched comes first"
    again.record([Outcome(late, 200)])
    assert again.lease(3) == [] and again.waiting() is None and again.renew(False) == 0
    (page,) = again.lease(3)
    assert page.modified == "yesterday"
    again.record([Outcome(page, 304)])
    moment[0] += 2 * DAY
    assert again.renew(False) is None
    never = Frontier(frontier.pool, 3, 2)
    never.seed(["http://example.org/"])
    assert never.renew(True) is None and never.lease(3) == []


def test_a_run_of_an_earlier_version_is_fetched_again_at_once(database):
    frontier = Frontier(Pool(database, PoolConfig()), max_pages=3, max_depth=2)
    frontier.seed(["http://example.org/"])
    frontier.record([Outcome(frontier.lease(1)[0], 200)])
    with database.write() as connection:
        connection.exec_driver_sql("DROP TABLE visit")
    frontier = Frontier(Pool(database, PoolConfig()), max_pages=3, max_depth=2, revisit=DAY)
    frontier.seed(["http://example.org/"])
    assert frontier.renew(False) == 0 and len(frontier.lease(3)) == 1


def test_names_of_versions():
    told = version_of({"ETag": b' W/"a\xe4" ', "Last-Modified": b"Mon, 30 Nov 2026 00:00:00 GMT"})
    assert conditions(**told) == {
        "If-None-Match": b'W/"a\xe4"',
        "If-Modified-Since": b"Mon, 30 Nov 2026 00:00:00 GMT",
    }
    assert conditions(**version_of({"ETag": b"a" * 2000, "Last-Modified": b"a\tb"})) == {}


class Listing(Site):
    """A front page without a text of its own, whose links change, and which moves to itself once it is known."""

    links = ("/leaf/1",)

    def answer(self, path: str):
        html = {"Content-Type": "text/html"}
        if path == "/":
            links = "".join(f'<a href="{link}">x</a>' for link in self.links)
            return 200, html, f'<meta name="robots" content="noindex">{links}'.encode()
        if path.startswith("/leaf/"):
            if self.known[path]:
                return 304, {"Location": path}, b""
            said = f"Notice {path[-1]} says that the bridge closes for repairs, and nobody knows for how long. " * 6
            return 200, html | {"ETag": '"1"'}, f"<html><body><article><p>{said}</p></article></body></html>".encode()
        return super().answer(path)


def test_a_page_that_is_not_kept_is_asked_again_for_its_links(tmp_path: Path):
    with Listing() as site:
        folder = run_folder(tmp_path, start=[f"{site.url}/"], revisit=SOON, allow_private=[site.pair], max_pages=3)
        assert run("crawl", str(folder)).returncode == 0
        site.links = ("/leaf/1", "/leaf/2")
        time.sleep(0.6)
        again = run("crawl", str(folder))
        assert "2 pages, 1 new documents" in again.stdout and "1 pages unchanged" in again.stdout, again
        states = {row.address.removeprefix(site.url): row.reason for row in rows(folder, select(url))}
        assert states == {"/": "noindex", "/leaf/1": "", "/leaf/2": ""}
