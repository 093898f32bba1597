"""Ending with the process that started this one, also when that one was killed and could send no signal."""

import os
import signal
import threading
import time

LOOK = 0.5  # seconds between two looks
GRACE = 6.0  # seconds to end by SIGTERM


def end_with_parent(parent: int) -> None:
    """Send this process SIGTERM when its parent has gone, and end it if that does not.

    The kernel's own signal for this (PR_SET_PDEATHSIG) is not used: it also comes when the thread that started this
    process ends, and only Linux has it.

    Args:
        parent: the parent's process id; one that had gone before this call is noticed too.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE)
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
