"""How a command is stopped: by KeyboardInterrupt, on Ctrl-C as on SIGTERM, but never while modules are imported."""

import logging
import signal
import sys
from types import FrameType


def heed() -> None:
    """From now on end by KeyboardInterrupt, with an argument where SIGTERM asked for it."""
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    sys.unraisablehook = _unheard
    if logging.lastResort is not None:
        logging.lastResort.addFilter(_is_no_stop)


def _stop(number: int, frame: FrameType | None) -> None:
    """End by KeyboardInterrupt; while modules are imported, after that: half a torch may crash instead."""
    if _importing(frame):
        _stop_soon(number)
        return
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt(*(["SIGTERM"] if number == signal.SIGTERM else []))


def _stop_soon(number: int) -> None:
    signal.signal(signal.SIGALRM, lambda _, frame: _stop(number, frame))
    signal.setitimer(signal.ITIMER_REAL, 0.05)


def _unheard(unraisable: "sys.UnraisableHookArgs") -> None:
    """What is raised in a finaliser goes no further than that; a stop that fell into one is raised once more."""
    stop = unraisable.exc_value
    if isinstance(stop, KeyboardInterrupt):
        _stop_soon(signal.SIGTERM if stop.args else signal.SIGINT)
    else:
        sys.__unraisablehook__(unraisable)


def _is_no_stop(record: logging.LogRecord) -> bool:
    """A stop that falls into SQLAlchemy's pool is raised again there, and is no failure to log first."""
    return not (record.exc_info and isinstance(record.exc_info[1], KeyboardInterrupt))


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
