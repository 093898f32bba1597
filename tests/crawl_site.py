"""A real web server on loopback for the crawler's tests, and how the crawl is started: as a process, as users do."""

import http.server
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from discover.db import Database

PAGES = Path(__file__).parent / "site"
TREE = 90  # pages of the tree, each linking to two more


# A user's own spider, in a file outside the project.
SPIDER = """
from crawlers.frontier_spider import FrontierSpider
from discover.pool.document import Document


class leaves(FrontierSpider):
    def __init__(self, *, selector="p"):
        super().__init__()
        self.selector = selector

    def parse_page(self, response):
        for paragraph in response.css(self.selector):
            yield Document(" ".join(paragraph.css("::text").getall()))
        yield from response.css("a::attr(href)").getall()
"""


# The same, with rests of a server that fails, and patience, short enough for a test.
HASTY = SPIDER.replace(
    "    def __init__",
    '    custom_settings = {"FIRST_REST": 0.2, "LONGEST_REST": 9.0, "LONGEST_PAUSE": 2.0}\n\n    def __init__',
)


class Site:
    """Serves tests/site, and some pages that misbehave; `asked` lists the paths of all requests."""

    def __init__(self, delay: float = 0.0):
        self.delay = delay
        self.asked: list[str] = []
        self.agents: set[str] = set()
        self.known: dict[str, str | None] = {}  # path: the version that the last request for it named
        self.times: list[float] = []
        self.robots = b""
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _pages(self))
        self.server.daemon_threads = True
        self.port = self.server.server_port
        self.pair = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.pair}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self) -> "Site":
        return self

    def __exit__(self, *_) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes] | None:
        """Status, headers and body; None: the connection is dropped."""
        if path == "/robots.txt" and self.robots:
            return 200, {"Content-Type": "text/plain"}, self.robots
        if path.startswith("/tree/"):
            return 200, {"Content-Type": "text/html"}, _tree(int(path.rpartition("/")[2]))
        if path == "/moved":
            return 301, {"Location": "/article2.html"}, b""
        if path == "/out":
            return 302, {"Location": "http://169.254.169.254/latest/meta-data/"}, b""
        if path == "/binary":
            return 200, {"Content-Type": "application/octet-stream"}, b"\x00\x01" * 5000
        if path == "/huge":
            return 200, {"Content-Type": "text/html"}, b"<html><body>" + b"<p>many words</p>" * 600_000
        if path == "/busy":
            first = self.asked.count("/busy") == 1
            body = b"<html><body><p>The ferry sails again after the pilots have had their morning coffee.</p></body>"
            return (503, {"Retry-After": "1"}, b"") if first else (200, {"Content-Type": "text/html"}, body)
        file = PAGES / ("index.html" if path == "/" else path.lstrip("/").partition("?")[0])
        if not file.is_file():
            return 404, {"Content-Type": "text/html"}, b"<html><body>not here</body></html>"
        kind = "text/plain" if file.suffix == ".txt" else "text/html"
        return 200, {"Content-Type": f"{kind}; charset=utf-8"}, file.read_bytes()


def run_folder(root: Path, **crawl) -> Path:
    """A run folder with a config for this crawl; `label` and `pool` are other sections."""
    folder = root / "run"
    folder.mkdir(exist_ok=True)
    label = crawl.pop("label", {"classes": ["a", "b"]})
    sections = {"crawl": {"delay": 0, **crawl}, "label": label}
    (folder / "config.yaml").write_text(json.dumps(sections))  # JSON is YAML
    return folder


def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error::DeprecationWarning:crawlers", "-m", "crawlers", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    process = start(*arguments, **environment)
    out, err = process.communicate(timeout=120)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def rows(folder: Path, query) -> list:
    """What a query finds in a run's database."""
    database = Database(f"sqlite:///{folder / 'discover.db'}")
    with database.read() as connection:
        found = connection.execute(query).all()
    database.close()
    return found


def wait_until(condition, process: subprocess.Popen[str]) -> None:
    """Wait until the condition holds or the process has ended."""
    while not condition() and process.poll() is None:
        time.sleep(0.005)


def _tree(number: int) -> bytes:
    links = "".join(f'<a href="/tree/{n}">{n}</a>' for n in (2 * number, 2 * number + 1, number // 2) if 0 < n <= TREE)
    return f"<html><body><p>Leaf number {number} hangs on a branch that grew in {number * number}.</p>{links}".encode()


def _pages(site: Site) -> type[http.server.BaseHTTPRequestHandler]:
    class Pages(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            site.asked.append(self.path)
            site.times.append(time.monotonic())
            site.agents.add(self.headers["User-Agent"])
            site.known[self.path] = self.headers["If-None-Match"]
            time.sleep(site.delay)
            answer = site.answer(self.path)
            if answer is None:
                self.close_connection = True
                return
            status, headers, body = answer
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            try:
                self.wfile.write(body)
            except ConnectionError:  # the crawler hung up, as it should on what is too large
                self.close_connection = True

        def log_message(self, *_) -> None:
            pass

    return Pages
