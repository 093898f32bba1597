"""A PostgreSQL server of the suite's own, from the binaries that `pgserver` packages.

They are started here directly: as root, `pgserver` itself would add a user to the system and open folders to others.
"""

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

NOBODY = 65534
START_SECONDS = 60


@contextmanager
def server() -> Iterator[str]:
    """Run a server; yield its address but for the database's name, to put in place of ``{}``.

    Raises:
        OSError: it cannot be started here; the message says why.
    """
    found = importlib.util.find_spec("pgserver")
    if found is None or found.origin is None:
        raise OSError("pgserver is not installed")
    binaries = Path(found.origin).parent / "pginstall" / "bin"
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # short: the path of a socket is limited
    owner: dict[str, Any] = {"cwd": folder}
    if os.geteuid() == 0:  # the server refuses to run as root, and another user may not look into this environment
        package = binaries.parent.parent
        for part in (package, package.with_name("pgserver.libs")):
            shutil.copytree(part, folder / part.name, symlinks=True)
        binaries = folder / "pgserver" / "pginstall" / "bin"
        os.chown(folder, NOBODY, NOBODY)
        owner |= {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    try:
        make = [binaries / "initdb", "-D", folder / "data", "-U", "postgres", "--auth=trust", "--encoding=utf8"]
        made = subprocess.run([*make, "--no-sync"], capture_output=True, text=True, **owner)
        if made.returncode:
            raise OSError(f"initdb failed: {made.stderr.strip()[-300:]}")
        options = ["-k", folder, "-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=50"]
        with (folder / "log").open("w") as log:
            process = subprocess.Popen([binaries / "postgres", "-D", folder / "data", *options], stderr=log, **owner)
        try:
            address = f"postgresql://postgres@/{{}}?host={folder}"
            _wait(process, address.format("postgres"), folder / "log")
            yield address.replace("postgresql:", "postgresql+psycopg:")
        finally:
            process.send_signal(signal.SIGQUIT)  # at once: nothing of it is kept
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            psycopg.connect(address).close()
            return
        except psycopg.OperationalError as error:
            if process.poll() is not None or time.monotonic() > until:
                raise OSError(f"postgres did not start: {log.read_text().strip()[-300:]}") from error
            time.sleep(0.05)
