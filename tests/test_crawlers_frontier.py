import random
import time
from pathlib import Path

import pytest
from sqlalchemy import event, insert, inspect, select

from crawlers.addresses import canonical
from crawlers.failures import OFF_SITE
from crawlers.frontier import Frontier, Outcome
from discover.db import Database
from discover.pool import minhash
from discover.pool.config import PoolConfig
from discover.pool.document import Document
from discover.pool.pool import Pool
from discover.tables import document, source, url
from tests.crawl_site import SPIDER, TREE, Site, run, run_folder, start, wait_until


@pytest.fixture
def frontier(either_database):
    return Frontier(Pool(either_database, PoolConfig()), max_pages=10, max_depth=2)


def page(number: int) -> str:
    return f"http://example.org/{number}"


def test_leases_come_by_level_and_only_once(frontier):
    frontier.seed([page(1), page(2)])
    first, second = frontier.lease(5)
    assert [first.address, second.address] == [page(1), page(2)]
    assert frontier.lease(5) == []
    frontier.record([Outcome(first, 200, links=[page(3)])])
    assert frontier.lease(5) == [], "level 1 must wait for all of level 0"
    frontier.record([Outcome(second, 200, links=[page(3), page(4)])])
    assert [p.address for p in frontier.lease(5)] == [page(3), page(4)]


def test_a_host_does_not_wait_for_another(frontier):
    frontier.seed(["http://slow.org/", "http://fast.org/"])
    pages = {p.address: p for p in frontier.lease(2)}
    frontier.record(
        [
            Outcome(pages["http://slow.org/"], 200, links=["http://slow.org/1", "http://slow.org/2"]),
            Outcome(pages["http://fast.org/"], 200, links=["http://fast.org/1"]),
        ]
    )
    (first,) = frontier.lease(5, avoid=["slow.org"])
    assert first.address == "http://fast.org/1"
    frontier.record([Outcome(first, 200, links=["http://fast.org/2"])])
    assert [p.address for p in frontier.lease(5, avoid=["slow.org"])] == ["http://fast.org/2"], "two levels on"
    assert [p.address for p in frontier.lease(5)] == ["http://slow.org/1", "http://slow.org/2"]


def test_hosts_take_turns(frontier):
    frontier.seed([f"http://{name}.org/{n}" for name in "ab" for n in range(3)])
    leased = [[p.address for p in frontier.lease(2, each=1)] for _ in range(3)]
    assert leased == [[f"http://{name}.org/{n}" for name in "ab"] for n in range(3)]


def test_a_shorter_way_over_another_host_counts(either_database):
    frontier = Frontier(Pool(either_database, PoolConfig()), max_pages=10, max_depth=5)
    frontier.seed(["http://a.org/", "http://b.org/"])
    a, b = frontier.lease(2)
    frontier.record([Outcome(a, 200, links=["http://a.org/1"])])
    (one,) = frontier.lease(1, avoid=["b.org"])
    frontier.record([Outcome(one, 200, links=["http://a.org/2", "http://b.org/2"])])
    frontier.record([Outcome(b, 200, links=["http://a.org/2", "http://b.org/2"])])
    assert {p.address: p.depth for p in frontier.lease(5)} == {"http://a.org/2": 1, "http://b.org/2": 1}


def test_a_lease_costs_the_same_in_a_large_frontier(database):
    frontier = Frontier(Pool(database, PoolConfig()), max_pages=10**6, max_depth=5)
    addresses = [{"address": page(n), "host": "example.org", "depth": 3} for n in range(20_000)]
    with database.write() as connection:
        connection.execute(insert(url), addresses)
    frontier.seed(["http://example.org/"])
    frontier.record([Outcome(frontier.lease(1)[0], 200)])
    executed = []
    event.listen(database.engine, "before_cursor_execute", lambda *call: executed.append(call[2:4]))
    assert frontier.lease(5, avoid=["example.org"]) == [] and not executed, "it does not even ask the database"
    assert len(frontier.lease(5)) == 5
    database.engine.dispose()
    with database.read() as connection:  # each by the index, down to the level
        for statement, values in [call for call in executed if call[0].startswith("SELECT")]:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all()
            assert "url_level (state=? AND host=?" in str(plan) and "TEMP B-TREE" not in str(plan), plan


def test_a_run_of_an_earlier_version_gets_the_index(database):
    (index,) = url.indexes
    with database.write() as connection:
        index.drop(connection)
    Frontier(Pool(database, PoolConfig()), max_pages=10, max_depth=2)
    with database.read() as connection:
        assert [found["name"] for found in inspect(connection).get_indexes("url")] == ["url_level"]


def test_slow_work_is_done_before_the_write_transaction(frontier, monkeypatch):
    writing = frontier.database._writing
    signed: list[tuple[bool, int]] = []
    bands = minhash.bands

    def watched(texts):
        signed.append((getattr(writing, "now", False), len(texts)))
        return bands(texts)

    monkeypatch.setattr("discover.pool.minhash.bands", watched)
    frontier.seed([page(1)])
    outcome = Outcome(frontier.lease(1)[0], 200, [Document("A text of more than twenty characters", page(1))])
    assert frontier.record([outcome])["new"] == 1
    assert sum(n for within, n in signed if not within) == 1 and not sum(n for within, n in signed if within)


def test_documents_links_and_the_note_that_it_is_done_are_one_commit(frontier, monkeypatch):
    frontier.seed([page(1)])
    leased = frontier.lease(1)
    outcome = Outcome(leased[0], 200, [Document("A text of more than twenty characters", page(1))], [page(2)])
    monkeypatch.setattr("crawlers.frontier._finish", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        frontier.record([outcome])
    with frontier.database.read() as connection:
        assert connection.execute(select(document)).all() == []
        assert [row.state for row in connection.execute(select(url))] == ["leased"]
    monkeypatch.undo()
    assert frontier.record([outcome])["new"] == 1


def test_a_new_session_takes_up_what_a_killed_one_had_leased(frontier):
    frontier.seed([page(1)])
    assert len(frontier.lease(1)) == 1
    again = Frontier(frontier.pool, 10, 2)
    again.seed([page(1)])
    assert [p.address for p in again.lease(1)] == [page(1)]


def test_a_new_session_tries_again_what_may_have_passed(either_database):
    reasons = ["unreachable", "status 503", "status 429", "spider error", "status 404", "robots.txt"]
    passing = [page(n) for n in range(4)]
    frontier = Frontier(Pool(either_database, PoolConfig()), max_pages=6, max_depth=2)
    frontier.seed(page(n) for n in range(6))
    leased = frontier.lease(6)
    frontier.record(Outcome(p, reason=reason) for p, reason in zip(leased, reasons, strict=True))
    assert frontier.waiting() is None and frontier.lease(6) == [], "not in the same session"
    again = Frontier(frontier.pool, 6, 2)
    assert again.finished_before == 2 and again.left == 4, "they do not count against max_pages"
    again.seed([])
    found = again.lease(6)
    assert [p.address for p in found] == passing and {p.attempts for p in found} == {0}
    assert set(frontier.pool.counts()["rejected"]) == {"status 404", "robots.txt"}


def test_a_redirect_off_site_is_followed_once_its_host_is_allowed(either_database):
    frontier = Frontier(Pool(either_database, PoolConfig()), max_pages=4, max_depth=2)
    frontier.seed([page(0)])
    frontier.record([Outcome(frontier.lease(1)[0], 200, links=[page(1), page(2)])])
    targets = ["http://www.new.org/", "http://other.org/"]
    frontier.record(
        Outcome(p, 302, reason=OFF_SITE, detail=target) for p, target in zip(frontier.lease(2), targets, strict=True)
    )
    again = Frontier(frontier.pool, 4, 2)
    again.seed([page(0)], ["example.org", "new.org"])
    assert again.finished_before == 2 and again.left == 2
    assert [(p.address, p.depth) for p in again.lease(4)] == [(page(1), 1)]
    assert frontier.pool.counts()["rejected"] == {OFF_SITE: 1}


@pytest.mark.parametrize(
    ("target", "depth"),
    [
        ("http://example.org/Town/", 1),
        ("https://example.org/Town", 1),
        ("http://www.example.org/town", 1),
        ("http://example.org/Town//", 2),  # else a server that adds something each time would never end
        ("http://example.org/Town?s=1", 2),
        ("http://example.org/login", 2),
    ],
)
def test_another_spelling_of_a_page_is_as_deep(either_database, target, depth):
    frontier = Frontier(Pool(either_database, PoolConfig()), max_pages=10, max_depth=2)
    frontier.seed([page(0)])
    frontier.record([Outcome(frontier.lease(1)[0], 200, links=["http://example.org/Town"])])
    frontier.record([Outcome(frontier.lease(1)[0], 301, links=[target], reason="redirect")])
    assert [(p.address, p.depth) for p in frontier.lease(1)] == [(target, depth)]


def test_a_start_that_redirects_without_end_does_not_take_every_page(either_database):
    frontier = Frontier(Pool(either_database, PoolConfig()), max_pages=100, max_depth=2)
    frontier.seed([page(0)])
    depths = []
    while leased := frontier.lease(1):
        depths += [one.depth for one in leased]
        frontier.record([Outcome(leased[0], 302, links=[page(len(depths))], reason="redirect")])
    assert depths == [0] * 11 + [1, 2], "the way to a start may take a few"


def test_what_is_given_back_costs_no_attempt(frontier):
    frontier.seed([page(1)])
    frontier.record([Outcome(frontier.lease(1)[0], reason="unreachable", retry_after=0.0, given_back=True)])
    assert [p.attempts for p in frontier.lease(1)] == [0] and frontier.left == 9


def test_a_host_that_rests_is_waited_for_while_it_has_work(frontier):
    frontier.seed(["http://a.org/", "http://b.org/"])
    a, b = frontier.lease(2)
    frontier.record([Outcome(a, 200), Outcome(b, 503, reason="status 503", retry_after=0.0, given_back=True)])
    assert frontier.waiting({"a.org": 50.0, "b.org": 70.0}) == 70.0
    assert frontier.has_work("b.org") and not frontier.has_work("a.org")


def test_depth_and_number_of_pages_are_limited(frontier):
    frontier.seed([page(0)])
    seen = []
    while pages := frontier.lease(3):
        seen += pages
        frontier.record([Outcome(p, 200, links=[f"{p.address}/{n}" for n in range(3)]) for p in pages])
    assert len(seen) == 10 and max(p.depth for p in seen) == 2
    assert frontier.waiting() is None


def test_a_page_to_try_again_waits_for_its_time(frontier):
    frontier.seed([page(1)])
    frontier.record([Outcome(frontier.lease(1)[0], 503, reason="status 503", retry_after=100.0)])
    assert frontier.lease(1) == []
    assert 90 < frontier.waiting() <= 100


def test_a_clock_that_is_set_back_holds_up_no_page(frontier, monkeypatch):
    frontier.seed([page(1)])
    (leased,) = frontier.lease(1)
    frontier.record([Outcome(leased, 503, reason="status 503", retry_after=100.0)])
    assert frontier.lease(1) == [] and frontier.waiting() > 90
    monkeypatch.setattr("crawlers.frontier.now", lambda: time.time() - 24 * 3600)
    assert frontier.waiting() == 0.0
    assert [again.address for again in frontier.lease(1)] == [page(1)]


def test_waiting_speaks_of_what_a_lease_would_give(frontier):
    frontier.seed([page(1), page(2)])
    first, second = frontier.lease(2)
    frontier.record([Outcome(first, 200, links=[page(3)])])
    frontier.record([Outcome(second, 503, reason="status 503", retry_after=100.0)])
    assert frontier.lease(1) == [] and frontier.waiting() > 90, "level 1 is ready, but waits for level 0"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("http://example.cn/s?wd=%D6%D0%B9%FA&utm_source=x", "http://example.cn/s?wd=%D6%D0%B9%FA"),  # GBK
        ("http://example.org/?q=%e4pfel&&flag", "http://example.org/?flag&q=%e4pfel"),  # Latin-1
        ("http://example.org/index.php?/news/1", "http://example.org/index.php?/news/1"),
        ("http://example.org/git?p=x.git;a=commit#1", "http://example.org/git?p=x.git;a=commit"),
        ("http://example.org/?q=caf\u00e9 au lait&", "http://example.org/?q=caf%C3%A9%20au%20lait"),
        ("HTTP://Example.org:80/a?b=2&a=1#part", "http://example.org/a?a=1&b=2"),
        ("http://example.org/?utm_source=x&q=1&fbclid=y", "http://example.org/?q=1"),
        ("http://example.org", "http://example.org/"),
        ("http://example.org/a;JSESSIONID=1A2B.node-1;v=2/b?id=3", "http://example.org/a;v=2/b?id=3"),
        ("http://example.org/?PHPSESSID=1a2b&id=3&ASPSESSIONIDQABC=x", "http://example.org/?id=3"),
        ("file:///etc/passwd", None),
        ("http://name:password@example.org/", None),
        ("http://[broken/", None),
        ("http://a\x00.example.org/", None),
        ("javascript:void(0)", None),
    ],
)
def test_addresses_have_one_form(address, expected):
    assert canonical(address) == expected
    assert expected is None or canonical(expected) == expected


def test_a_crawl_killed_again_and_again_ends_like_an_unkilled_one(tmp_path: Path):
    (tmp_path / "leaves.py").write_text(SPIDER)
    found = []
    for kills in ([], ["crawl.record", "at random", "crawl.recorded", "at random"]):
        root = tmp_path / f"kills-{len(kills)}"
        root.mkdir()
        with Site(delay=0.01) as site:
            spider = f"{tmp_path / 'leaves.py'}:leaves"
            folder = run_folder(
                root,
                spider=spider,
                start=[f"{site.url}/tree/1"],
                allow_private=[site.pair],
                max_depth=20,
                concurrency=4,
            )
            for kill in kills:
                _kill(site, folder, kill)
            finished = run("crawl", str(folder))
            assert finished.returncode == 0, finished.stderr
            found.append(_content(folder, site.url))
            if not kills:
                assert len(site.asked) == TREE + 1  # and robots.txt
    plain, killed = found
    assert len(plain) == TREE
    assert killed == plain


def _kill(site: Site, folder: Path, when: str) -> None:
    if when.startswith("crawl."):
        assert run("crawl", str(folder), DISCOVER_CRASH_AT=when).returncode == -9
        return
    process = start("crawl", str(folder))
    after = random.randint(1, 30)  # any moment will do
    served = len(site.asked) + after
    wait_until(lambda: len(site.asked) >= served, process)
    process.kill()
    process.communicate()


def _content(folder: Path, origin: str) -> list[tuple[str, str]]:
    database = Database(f"sqlite:///{folder / 'discover.db'}")
    with database.read() as connection:
        joined = select(document.c.text, source.c.address).join(source)
        rows = sorted((row.text, row.address.removeprefix(origin)) for row in connection.execute(joined))
        assert {row.state for row in connection.execute(select(url))} == {"done"}
    database.close()
    return rows
