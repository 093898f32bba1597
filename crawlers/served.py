"""A site that the crawl serves to itself on loopback, for as long as it runs.

A config names a module, ``crawl.serve: crawlers.pydoc_site``, which is run as ``python -m MODULE --port 0 --config
CONFIG`` and says ``serving on http://127.0.0.1:PORT/`` on its first line. The port changes from run to run, so pages
are known by a name that does not: ``http://pydoc.localhost/`` (the module's last word without ``_site``), which the
guard's resolver turns into the port. So a crawl that goes on after a crash meets the same addresses again.
"""

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from discover.errors import DiscoverError

STARTING = 120.0  # seconds to import what is served
_ANNOUNCEMENT = "serving on "


@dataclass(frozen=True)
class Served:
    """A site on loopback.

    Attributes:
        start: its stable address.
        names: ``host:port`` to ``ip:port``, for the guard.
        process: which serves it.
    """

    start: str
    names: dict[str, str]
    process: subprocess.Popen[str]


@contextmanager
def served(module: str, config: Path) -> Iterator[Served]:
    """Serve a module's pages inside the block.

    Raises:
        DiscoverError: it does not start.
    """
    # One hash seed, so that sets are written in the same order in every run.
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONWARNINGS": "ignore"}
    process = subprocess.Popen(
        [sys.executable, "-m", module, "--port", "0", "--config", str(config)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,  # Ctrl-C is for the crawl to handle; the site ends with it
    )
    try:
        address = urlsplit(_announced(module, process))
        name = module.rpartition(".")[2].removesuffix("_site").replace("_", "-") + ".localhost"
        yield Served(f"http://{name}/", {f"{name}:80": f"{address.hostname}:{address.port}"}, process)
    finally:
        process.kill()
        process.communicate()


def _announced(module: str, process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], STARTING)
    line = process.stdout.readline().strip() if ready else ""
    if line.startswith(_ANNOUNCEMENT):
        return line.removeprefix(_ANNOUNCEMENT)
    process.kill()
    said = process.communicate()[1].strip().splitlines()
    raise DiscoverError(
        f"crawl.serve: {module} must print '{_ANNOUNCEMENT}http://127.0.0.1:PORT/' first, it printed {line!r}"
        + (f" and said: {said[-1]}" if said else "")
    )
