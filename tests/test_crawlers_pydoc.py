import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import select

from crawlers.pydoc_entries import MASK, entries, mask
from crawlers.pydoc_site import load_modules, module_names, page
from discover.db import Database
from discover.pool.document import clean
from discover.tables import document, source
from tests.crawl_site import run, run_folder, start

MODULES = (
    "json queue socket collections string code time xml.dom email.mime csv heapq zlib os.path dataclasses __future__"
)


def found(name: str) -> dict[str, tuple[str, str, str]]:
    modules, _ = load_modules([name])
    return {e.name: (e.kind, e.signature, e.documentation) for e in entries(page(modules[name], name).encode(), name)}


def test_modules_classes_functions_and_methods():
    queue = found("queue")
    assert "" not in queue, "its docstring is four words"
    assert found("heapq")[""][:2] == ("module", "") and found("heapq")[""][2].startswith("Heap queue algorithm")
    assert queue["Queue"][0] == "class" and queue["Queue"][1] == "(maxsize=0)"
    kind, signature, documentation = queue["Queue.put"]
    assert (kind, signature) == ("method", "(self, item, block=True, timeout=None)")
    assert documentation.startswith("Put an item into the queue.")
    assert found("json")["dumps"][0] == "function"


def test_what_is_inherited_belongs_to_the_class_that_defines_it():
    assert "PriorityQueue.put" not in found("queue") and "LifoQueue.put" not in found("queue")
    assert any(name.startswith("socket.send") for name in found("socket")), "of _socket.socket, which has no page"


def test_what_says_nothing_is_left_out():
    names = found("json.decoder")
    assert "JSONDecodeError.__init__" not in names and "JSONDecodeError.__reduce__" not in names
    assert "JSONDecoder.__init__" in names


def test_a_long_signature_over_several_lines_as_python_3_13_writes_it():
    lines = "Pilot(<br>\n&nbsp;&nbsp;&nbsp;&nbsp;ship,<br>\n&nbsp;&nbsp;&nbsp;&nbsp;port=None<br>\n)<br>\n&nbsp;<br>\n"
    content = (
        '<table class="heading"><tr><td>harbour</td></tr></table><p></p><table class="section"><tr><td colspan=3>'
        '<a name="Pilot">class <strong>Pilot</strong></a>(<a href="x">object</a>)</td></tr><tr><td rowspan=2></td>'
        f'<td colspan=2><span class="code">{lines}Brings the ship into the port.<br>&nbsp;</span></td></tr></table>'
    )
    (entry,) = entries(content.encode(), "harbour")
    assert (entry.signature, entry.documentation) == ("(ship, port=None)", "Brings the ship into the port.")


def test_a_page_of_another_kind_has_no_entries():
    assert list(entries(b"<html><body><a name='x'>class x</a><p>hello</p></body></html>", "x")) == []
    assert list(entries(b"", "x")) == []


@pytest.mark.parametrize(
    ("text", "module", "expected"),
    [
        ("json and _json and json_x and JSON.", "json", "… and _… and …_x and …."),
        ("jsonify rejson", "json", "jsonify rejson"),
        ("xml.etree, etree, XML, ElementTree", "xml.etree", "…, …, …, ElementTree"),
        ("from __future__ import the future", "__future__", "from … import the …"),
        ("_base of concurrent", "concurrent.futures._base", "… of …"),
    ],
)
def test_mask(text, module, expected):
    assert mask(text, module) == expected


def test_modules_that_do_things_are_left_out_and_missing_ones_are_named():
    names = module_names(["json", "idlelib", "this", "antigravity", "no_such_module", "unittest"])
    assert "json.decoder" in names and not {"this", "antigravity", "idlelib"} & set(names)
    assert not any("test" in name.split(".") or name.endswith("__main__") for name in names)
    modules, missing = load_modules(["json", "no_such_module"])
    assert list(modules) == ["json"] and missing == ["no_such_module"]


def test_the_site_ends_with_its_parent():
    code = (
        "import subprocess, sys, time\n"
        "command = [sys.executable, '-m', 'crawlers.pydoc_site', 'json']\n"
        "p = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)\n"
        "print(p.pid, p.stdout.readline().strip(), flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pid, said = parent.stdout.readline().split(maxsplit=1)
    assert re.fullmatch(r"serving on http://127\.0\.0\.1:\d+/", said.strip())
    handle = os.pidfd_open(int(pid))
    parent.kill()
    parent.communicate()
    import select as readiness

    assert readiness.select([handle], [], [], 30)[0], "the site outlived its parent"
    os.close(handle)


def test_a_real_crawl_names_no_module_and_goes_on_under_another_port(tmp_path: Path):
    label = {"classes": ["a", "b"], "options": {"table": dict.fromkeys(MODULES.split(), "a")}}
    folder = run_folder(tmp_path, spider="pydoc", serve="crawlers.pydoc_site", label=label)
    assert run("crawl", str(folder), DISCOVER_CRASH_AT="crawl.recorded").returncode == -9
    finished = run("crawl", str(folder))
    assert finished.returncode == 0, finished.stderr
    database = Database(f"sqlite:///{folder / 'discover.db'}")
    with database.read() as connection:
        rows = connection.execute(select(document.c.text, source.c.address).join(source)).all()
    database.close()
    assert {(row.text, row.address) for row in rows} == _expected() and len(rows) > 300
    for text, address in rows:
        assert address.startswith("http://pydoc.localhost/")
        module = address.partition("#")[0].rpartition("/")[2].removesuffix(".html")
        for part in {module, *module.split("."), *(part.strip("_") for part in module.split("."))} - {""}:
            assert not re.search(rf"(?<![a-z0-9]){re.escape(part)}(?![a-z0-9])", text, re.IGNORECASE), (address, text)
        assert "/lib/python" not in text and "docs.python.org/3/library" not in text and " at 0x" not in text
    assert any(MASK in text for text, _ in rows)


def _expected() -> set[tuple[str, str]]:
    modules, _ = load_modules(module_names(MODULES.split()))
    return {
        (clean(e.text(name)), f"http://pydoc.localhost/{name}.html" + (f"#{e.name}" if e.name else ""))
        for name, module in modules.items()
        for e in entries(page(module, name).encode(), name)
    }


def test_a_crawl_that_is_killed_takes_its_site_along(tmp_path: Path):
    label = {"classes": ["a", "b"], "options": {"table": {"json": "a"}}}
    folder = run_folder(tmp_path, spider="pydoc", serve="crawlers.pydoc_site", label=label)
    process = start("crawl", str(folder), DISCOVER_CRASH_AT="crawl.record")
    assert process.wait(timeout=120) == -9
    process.communicate()
    deadline = time.monotonic() + 20
    while _mentioned(str(folder)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _mentioned(str(folder))


def _mentioned(word: str) -> bool:
    """Whether the command line of a living process has the word in it."""
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word.encode() in command.read_bytes():
                return True
        except OSError:  # it has just ended
            continue
    return False
