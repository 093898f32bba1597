"""Child processes: they end when their parent wants it, and when it has gone."""

import os
import signal
import subprocess
import threading
import time

GRACE_SECONDS = 8.0  # for a process to end by SIGTERM, before SIGKILL
LOOK_SECONDS = 0.5  # between two looks for the parent


def end(child: subprocess.Popen[bytes]) -> None:
    """Stop a child that still runs; what it has done so far must bear to be killed."""
    child.terminate()
    try:
        child.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def end_with_parent(parent: int) -> None:
    """Send this process SIGTERM when its parent has gone, and end it if that does not.

    The kernel's own signal for this (PR_SET_PDEATHSIG) is not used: it also comes when the thread that started this
    process ends, and only Linux has it.

    Args:
        parent: the parent's process id; one that had gone before this call is noticed too.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_SECONDS)
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
