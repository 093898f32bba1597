"""The documentation that Python itself carries, served as web pages on loopback: something real to crawl, offline.

``python -m crawlers.pydoc_site --port 0 json queue`` serves what `pydoc` writes about those modules and the modules
under them. The stock ``python -m pydoc -p`` wants a terminal and serves every module it is asked for, some of which do
things when imported; this one serves what it was told to, and nothing else. It ends with the process that started it.
"""

import argparse
import html
import importlib
import importlib.util
import os
import pkgutil
import pydoc
import signal
import sys
import threading
import warnings
from collections.abc import Iterable
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

from discover.child import end_with_parent
from discover.config import load_config
from discover.errors import DiscoverError

# Parts of a dotted name that are left out: they open windows, run on import, or are tests.
LEFT_OUT = {"__main__", "antigravity", "idlelib", "lib2to3", "pydoc_data", "test", "tests", "this", "turtledemo"}


def module_names(roots: Iterable[str]) -> list[str]:
    """The modules to serve: each root and whatever lies under it, found without importing more than packages."""
    found: dict[str, None] = {}
    for root in roots:
        _walk(root, found)
    return sorted(found)


def load_modules(names: Iterable[str]) -> tuple[dict[str, ModuleType], list[str]]:
    """Import what can be imported here; the rest (other platforms, modules that a version dropped) is named.

    Returns:
        modules by name, and the names that this Python does not have.
    """
    modules, missing = {}, []
    for name in names:
        try:
            modules[name] = importlib.import_module(name)
        except (Exception, SystemExit):  # whatever a module does when imported, the site goes on without it
            missing.append(name)
    return modules, missing


def page(module: ModuleType, name: str) -> str:
    """The HTML page of one module."""
    writer = _Writer()
    return writer.page(html.escape(name), writer.document(module, name))


def index_page(names: Iterable[str]) -> str:
    """A page that links to all others."""
    links = "\n".join(f'<li><a href="{name}.html">{name}</a></li>' for name in names)
    return f'<!DOCTYPE html><html lang="en"><head><title>Modules</title></head><body><ul>{links}</ul></body></html>'


def main(arguments: list[str] | None = None) -> int:
    """Serve until told to stop.

    Returns:
        the exit status.
    """
    parser = argparse.ArgumentParser(prog="python -m crawlers.pydoc_site", description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="modules to serve, with those under them")
    parser.add_argument("--port", type=int, default=0, help="0: any free port")
    parser.add_argument("--config", type=Path, help="serve the modules of its label.options.table")
    options = parser.parse_args(arguments)
    end_with_parent(os.getppid())
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.signal(signal.SIGINT, lambda *_: os._exit(0))
    try:
        roots = options.modules or _table(options.config)
    except DiscoverError as error:
        print(error, file=sys.stderr)
        return 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated modules are documentation too
        modules, missing = load_modules(module_names(roots))
        server = ThreadingHTTPServer(("127.0.0.1", options.port), _pages(modules))
        print(f"serving on http://127.0.0.1:{server.server_port}/", flush=True)
        if missing:
            print(f"{len(modules)} modules, {len(missing)} not on this machine: {', '.join(missing)}", file=sys.stderr)
        server.serve_forever()
    return 0


class _Writer(pydoc.HTMLDoc):
    """pydoc's writer, without the links to this machine's files and to the reference's own pages."""

    def filelink(self, url: str, path: str) -> str:
        return ""

    def getdocloc(self, object: Any, basedir: str = "") -> None:  # noqa: A002 - pydoc's name for it
        return None


def _walk(name: str, found: dict[str, None]) -> None:
    if LEFT_OUT.intersection(name.split(".")):
        return
    found[name] = None
    try:
        spec = importlib.util.find_spec(name)
    except (Exception, SystemExit):
        return
    for child in pkgutil.iter_modules(spec.submodule_search_locations or [] if spec else []):
        _walk(f"{name}.{child.name}", found)


def _pages(modules: dict[str, ModuleType]) -> type[BaseHTTPRequestHandler]:
    lock = threading.Lock()  # pydoc and inspect share caches

    @lru_cache(maxsize=8)
    def body(path: str) -> bytes | None:
        name = path.strip("/").removesuffix(".html")
        if name in ("", "index"):
            return index_page(modules).encode()
        return page(modules[name], name).encode("utf-8", "replace") if name in modules else None

    class Pages(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            with lock:
                content = body(self.path.partition("?")[0])
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name for it
            pass

    return Pages


def _table(path: Path | None) -> list[str]:
    if path is None:
        raise DiscoverError("name the modules to serve, or a config with label.options.table: got neither")
    table = load_config(path).label.options.get("table")
    if not isinstance(table, dict) or not table:
        raise DiscoverError(f"{path}: label.options.table must map modules to classes: pydoc_site serves its modules")
    return [str(name) for name in table]


if __name__ == "__main__":
    sys.exit(main())
