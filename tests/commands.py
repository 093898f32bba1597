"""Runs the real `discover`, without the seconds that each new process takes to import torch.

A server process imports everything once and forks for each attempt. What an import itself does, and what signals do to
it, is tested by processes of their own.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from functools import cache
from pathlib import Path
from typing import Any, TextIO

# What a run imports on its way; no more than imports, since a process whose torch has computed cannot fork.
IMPORTED = (
    "captum.attr",
    "discover.loop",
    "discover.start",
    "matplotlib.pyplot",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.bert.modeling_bert",
)


@cache
def _server() -> subprocess.Popen[str]:
    # A run has two threads, as on two cores, though a worker of the suite has one.
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "2"}
    command = [sys.executable, __file__]  # it ends when this process does, since its input does
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def attempt(
    arguments: list[str],
    crash_at: str = "",
    kill_after: float | None = None,
    signal_: int = 9,
    stdin: str = "",
) -> dict[str, Any]:
    """One attempt; ``status`` is negative when a signal ended it, as in `subprocess`."""
    request = {
        "arguments": arguments,
        "crash_at": crash_at,
        "kill_after": kill_after,
        "signal": signal_,
        "stdin": stdin,
        "folder": str(Path.cwd()),
    }
    server = _server()
    server.stdin.write(json.dumps(request) + "\n")
    server.stdin.flush()
    return json.loads(server.stdout.readline())


def command(*arguments: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    done = attempt(list(map(str, arguments)), stdin=stdin)
    return subprocess.CompletedProcess(arguments, done["status"], done["stdout"], done["stderr"])


def assert_one_line(result: subprocess.CompletedProcess[str], said: str) -> None:
    assert result.returncode == 1, result.stderr
    assert said in result.stderr
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("discover: ")
    assert "Traceback" not in result.stderr


def _serve() -> None:
    for name in IMPORTED:
        importlib.import_module(name)
    for line in sys.stdin:
        request = json.loads(line)
        with (
            tempfile.TemporaryFile("w+") as stdin,
            tempfile.TemporaryFile() as stdout,
            tempfile.TemporaryFile() as stderr,
        ):
            stdin.write(request["stdin"])
            stdin.seek(0)
            started = time.monotonic()
            child = os.fork()
            if child == 0:
                _attempt(request, (stdin, stdout, stderr))
            status = _wait(child, request["kill_after"], request["signal"], started)
            answer = {"status": os.waitstatus_to_exitcode(status), "seconds": time.monotonic() - started}
            answer |= {"stdout": _text(stdout), "stderr": _text(stderr)}
        print(json.dumps(answer), flush=True)


def _attempt(request: dict[str, Any], streams: tuple[TextIO, ...]) -> None:
    import discover.cli

    for number, stream in enumerate(streams):
        os.dup2(stream.fileno(), number)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)
    os.environ["DISCOVER_CRASH_AT"] = request["crash_at"]
    os.chdir(request["folder"])
    status = 1
    try:
        status = discover.cli.main(request["arguments"])
    except SystemExit as error:  # of the parser
        status = error.code
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _text(stream: Any) -> str:
    stream.seek(0)
    return stream.read().decode()


def _wait(child: int, kill_after: float | None, signal_: int, started: float) -> int:
    while kill_after is not None:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        if time.monotonic() - started >= kill_after:
            os.kill(child, signal.Signals(signal_))
            break
        time.sleep(0.005)
    return os.waitpid(child, 0)[1]


if __name__ == "__main__":
    _serve()
