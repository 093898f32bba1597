import itertools
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import select

from discover.tables import document, rejection, source, url
from tests.crawl_site import SPIDER, TREE, Site, rows, run, run_folder, start, wait_until

UNREACHABLE = "http://127.0.0.1:9/"  # the discard port: nobody listens


@pytest.fixture(scope="module")
def crawled(tmp_path_factory):
    """One crawl of tests/site, which most tests below look at."""
    root = tmp_path_factory.mktemp("crawl")
    with Site() as site, Site() as private:
        folder = run_folder(
            root,
            start=[
                f"{site.url}/",
                f"{site.url}/out",
                f"{private.url}/",
                "http://localhost/",
                "http://2130706433/",
                UNREACHABLE,
            ],
            allowed_domains=["127.0.0.1", "localhost", "2130706433", "169.254.169.254"],
            allow_private=[site.pair, "127.0.0.1:9"],
            contact="pilot@example.org",
        )
        yield folder, run("crawl", str(folder)), site, private


def rejected(crawled) -> dict[str, str]:
    folder, _, site, private = crawled
    names = {site.url: "", private.url: "private"}
    result = {}
    for row in rows(folder, select(rejection)):
        address = row.address
        for origin, name in names.items():
            address = address.replace(origin, name)
        result[address] = row.reason
    return result


def test_the_main_text_of_each_page_becomes_a_document(crawled):
    folder, finished, site, _ = crawled
    assert finished.returncode == 0, finished.stderr
    found = rows(folder, select(document.c.text, document.c.title, document.c.language, source.c.address).join(source))
    by_path = {row.address.removeprefix(site.url): row for row in found}
    assert set(by_path) == {"/", "/article1.html", "/article2.html", "/article3.html", "/busy"}
    article = by_path["/article2.html"]
    assert article.title == "Article 2" and article.language == "en"
    assert "pilot of town number 2" in article.text and "Imprint" not in article.text


def test_what_is_no_use_is_rejected_with_its_reason(crawled):
    reasons = rejected(crawled)
    assert reasons["/binary"] == "not text"
    assert reasons["/huge"] == "too large"
    assert reasons["/missing.html"] == "status 404"
    assert reasons[UNREACHABLE] == "unreachable"


def test_robots_txt_is_obeyed(crawled):
    assert rejected(crawled)["/private/secret.html"] == "robots.txt"
    assert "/private/secret.html" not in crawled[2].asked


def test_no_private_network_is_entered(crawled):
    reasons = rejected(crawled)
    for address in ("private/", "http://localhost/", "http://2130706433/", "http://169.254.169.254/latest/meta-data/"):
        assert reasons[address] == "refused by the guard", reasons
    assert crawled[3].asked == []


def test_each_page_is_fetched_once_and_a_redirect_is_a_link(crawled):
    _, _, site, _ = crawled
    for path in ("/", "/article1.html", "/article2.html", "/article3.html", "/moved", "/binary"):
        assert site.asked.count(path) == 1, path
    assert not any("utm_source" in path or "picture" in path for path in site.asked)


def test_retry_after_is_honoured(crawled):
    _, _, site, _ = crawled
    first, second = [when for path, when in zip(site.asked, site.times, strict=True) if path == "/busy"]
    assert second - first >= 1.0


def test_the_agent_says_who_it_is(crawled):
    assert crawled[2].agents == {"Discover/0.1.0 (+pilot@example.org)"}


def test_one_summary_line_and_no_traceback(crawled):
    _, finished, _, _ = crawled
    (line,) = finished.stdout.splitlines()
    assert line.startswith("crawl: 5 pages, 5 new documents") and "1 robots.txt" in line and "1 unreachable" in line
    assert "Traceback" not in finished.stderr


def test_the_delay_of_the_config_is_never_undercut(tmp_path: Path):
    with Site() as site:
        pages = [f"{site.url}/tree/{number}" for number in range(1, 13)]
        folder = run_folder(tmp_path, start=pages, allow_private=[site.pair], max_depth=0, delay=0.5)
        assert run("crawl", str(folder)).returncode == 0
    pauses = [b - a for a, b in itertools.pairwise(site.times)]
    assert len(pauses) == 12 and min(pauses) >= 0.45


def test_crawl_delay_is_kept(tmp_path: Path):
    with Site() as site:
        site.robots = b"User-agent: *\nCrawl-delay: 0.4\n"
        folder = run_folder(tmp_path, start=[f"{site.url}/article1.html"], allow_private=[site.pair], max_depth=2)
        assert run("crawl", str(folder)).returncode == 0
    pages = [when for path, when in zip(site.asked, site.times, strict=True) if path.startswith("/article")]
    assert len(pages) == 3
    assert min(b - a for a, b in itertools.pairwise(pages)) >= 0.35


def test_nothing_fetched_is_one_clear_line(tmp_path: Path):
    finished = run("crawl", str(run_folder(tmp_path, start=[UNREACHABLE], allow_private=["127.0.0.1:9"])))
    assert finished.returncode == 1
    *progress, line = finished.stderr.splitlines()
    assert UNREACHABLE in line and "unreachable" in line
    assert set(progress) <= {"crawl: 0 pages, 0 documents"}  # which a slow machine has time to tell


@pytest.mark.parametrize(
    ("crawl", "said"),
    [
        ({"allow_private": []}, "refused by the guard (port {port} is neither 80 nor 443: to allow it, name"),
        ({"options": {"selector": "h5"}}, "the spider found none on the pages that it read: check crawl.spider"),
    ],
)
def test_where_nothing_is_found_it_says_what_to_see_to(tmp_path: Path, crawl, said):
    (tmp_path / "leaves.py").write_text(SPIDER)
    with Site() as site:
        settings = {"spider": f"{tmp_path / 'leaves.py'}:leaves", "allow_private": [site.pair], "max_pages": 2} | crawl
        finished = run("crawl", str(run_folder(tmp_path, start=[f"{site.url}/tree/1"], **settings)))
    assert finished.returncode == 1
    line = finished.stderr.splitlines()[-1]
    assert said.format(port=site.port) in line and "crawl.log" not in line, line


def test_a_signal_ends_the_crawl_cleanly_and_it_goes_on(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch):
    from crawlers.__main__ import main

    monkeypatch.setattr("crawlers.crawl.LOCK_SECONDS", 0.0)
    (tmp_path / "leaves.py").write_text(SPIDER)
    with Site(delay=0.05) as site:
        folder = run_folder(
            tmp_path,
            spider=f"{tmp_path / 'leaves.py'}:leaves",
            start=[f"{site.url}/tree/1"],
            allow_private=[site.pair],
            max_depth=20,
            concurrency=2,
        )
        process = start("crawl", str(folder))
        wait_until(lambda: len(site.asked) > 10, process)
        assert main(["crawl", str(folder)]) == 1
        assert "another crawl is at work" in capsys.readouterr().err
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=10)
        assert process.returncode == 128 + signal.SIGTERM, err
        assert "the same command goes on" in out and "Traceback" not in err
        assert {row.state for row in rows(folder, select(url))} <= {"new", "done", "leased"}
        site.delay = 0.0
        assert run("crawl", str(folder)).returncode == 0
        assert len(rows(folder, select(document))) == TREE and not rows(folder, select(rejection))


def test_a_crawl_ends_with_the_discover_that_started_it_and_the_same_command_goes_on(tmp_path: Path):
    (tmp_path / "leaves.py").write_text(SPIDER)

    def discover(folder: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "discover.cli", "crawl", tmp_path / "tree.yaml", "--run", folder]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    with Site(delay=0.1) as site:
        crawl = {
            "spider": f"{tmp_path / 'leaves.py'}:leaves",
            "start": [f"{site.url}/tree/1"],
            "allow_private": [site.pair],
            "max_depth": 20,
            "concurrency": 2,
            "delay": 0,
        }
        config = {"crawl": crawl, "label": {"classes": {"a": "one", "b": "two"}}}
        (tmp_path / "tree.yaml").write_text(json.dumps(config))  # JSON is YAML
        killed = discover(tmp_path / "killed")
        wait_until(lambda: len(site.asked) > 10, killed)
        killed.kill()
        assert killed.wait() == -signal.SIGKILL
        assert len(rows(tmp_path / "killed", select(document))) < TREE
        assert discover(tmp_path / "killed").wait(60) == 0
        site.delay = 0.0
        assert discover(tmp_path / "whole").wait(60) == 0
    texts = [{row.text for row in rows(tmp_path / name, select(document.c.text))} for name in ("killed", "whole")]
    assert texts[0] == texts[1] and len(texts[0]) == TREE


def test_a_crawl_started_by_hand_outlives_its_shell(tmp_path: Path):
    (tmp_path / "leaves.py").write_text(SPIDER)
    with Site(delay=0.03) as site:
        options = {"start": [f"{site.url}/tree/1"], "allow_private": [site.pair], "max_depth": 20, "concurrency": 2}
        folder = run_folder(tmp_path, spider=f"{tmp_path / 'leaves.py'}:leaves", **options)
        shell = ["sh", "-c", '"$0" -m crawlers crawl "$1" >"$1/said" 2>&1 & echo started', sys.executable, str(folder)]
        assert subprocess.run(shell, capture_output=True, text=True, check=True).stdout == "started\n"
        end = time.monotonic() + 60
        while "new documents" not in (folder / "said").read_text() and time.monotonic() < end:
            time.sleep(0.05)
    assert f"{TREE} new documents" in (folder / "said").read_text()


@pytest.mark.parametrize(
    ("crawl", "said"),
    [
        ({"start": []}, "crawl.start must hold at least one address"),
        ({"start": ["ftp://example.org/"]}, "no address of the web"),
        ({"start": ["http://example.org/"], "spider": "sight"}, "did you mean 'site'?"),
        ({"start": ["http://example.org/"], "options": {"language": ["en"]}}, "did you mean 'languages'?"),
        ({"serve": "crawlers.nothing_here"}, "crawl.serve: crawlers.nothing_here must print"),
    ],
)
def test_a_wrong_config_is_one_clear_line(tmp_path: Path, capsys, crawl, said):
    from crawlers.__main__ import main

    assert main(["crawl", str(run_folder(tmp_path, **crawl))]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_a_spider_that_cannot_be_made_says_why(tmp_path: Path):
    (tmp_path / "leaves.py").write_text(SPIDER.replace("super().__init__()", "open('no such list')"))
    for crawl, said in (
        ({"spider": f"{tmp_path / 'leaves.py'}:leaves"}, ["FileNotFoundError", "no such list", "crawl.log"]),
        ({"options": {"languages": ["en", "german"]}}, ["languages", "two letters, like en", "'german'"]),
    ):
        finished = run("crawl", str(run_folder(tmp_path, start=[UNREACHABLE], **crawl)))
        assert finished.returncode == 1
        (line,) = finished.stderr.splitlines()
        assert all(word in line for word in said), line


def test_extract_prints_one_object(tmp_path: Path, capsys):
    from crawlers.__main__ import main

    page = Path(__file__).parent / "site" / "article1.html"
    assert main(["extract", str(page)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"title", "date", "language", "text"}
    assert found["date"] == "2024-03-01"
    (tmp_path / "picture.html").write_bytes(b"\x89PNG\x00\x00")
    assert main(["extract", str(tmp_path / "picture.html")]) == 0
    assert json.loads(capsys.readouterr().out) == {"rejected": "not text"}
    assert main(["extract", str(tmp_path / "missing.html")]) == 1
    assert "cannot be read" in capsys.readouterr().err


def test_extract_fetches_through_the_guard():
    with Site() as site:
        refused = run("extract", f"{site.url}/article1.html")
        assert refused.returncode == 1 and site.asked == []
        assert len(refused.stderr.splitlines()) == 1
        mistaken = run("extract", "--allow-private", "foo", f"{site.url}/moved")
        assert mistaken.returncode == 1 and "foo" in mistaken.stderr and len(mistaken.stderr.splitlines()) == 1
        fetched = run("extract", "--allow-private", site.pair, f"{site.url}/moved")
        assert json.loads(fetched.stdout)["title"] == "Article 2"


def test_headers_without_end_are_broken_off():
    sent = 0

    def flood(listening: socket.socket) -> None:
        nonlocal sent
        while True:
            with listening.accept()[0] as connection, suppress(OSError):
                asked = connection.recv(4096)
                if b"/robots.txt" in asked:
                    connection.sendall(b"HTTP/1.1 404 None\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    continue
                connection.sendall(b"HTTP/1.1 200 OK\r\n")
                for number in range(20_000):
                    line = b"X-%d: %s\r\n" % (number, b"a" * 8000)
                    connection.sendall(line)
                    sent += len(line)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=flood, args=(listening,), daemon=True).start()
        pair = f"127.0.0.1:{listening.getsockname()[1]}"
        given_up = run("extract", "--allow-private", pair, f"http://{pair}/")
    assert given_up.returncode == 1 and len(given_up.stderr.splitlines()) == 1, given_up.stderr
    assert 1 << 20 < sent < 40 << 20, "what the sockets hold comes on top"


def test_a_start_that_failed_is_tried_again_by_the_same_command(tmp_path):
    with Site() as site:
        folder = run_folder(tmp_path, start=[f"{site.url}/"], allow_private=[])
        refused = run("crawl", str(folder))
        assert refused.returncode == 1 and "guard" in refused.stderr
        run_folder(tmp_path, start=[f"{site.url}/"], allow_private=[site.pair])
        assert run("crawl", str(folder)).returncode == 0
    assert rows(folder, select(document.c.id))
