"""Child processes: they end when their parent wants it, and when it has gone."""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from discover.errors import DiscoverError

Item = TypeVar("Item")
Result = TypeVar("Result")

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
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


def watch(child: subprocess.Popen[bytes], failed: Callable[[int], None]) -> threading.Thread:
    """Tell of a child's failure when it happens, since the work beside it may go on for months.

    Args:
        child: that runs.
        failed: called with its status, from another thread; of one that `end` stopped, and of success, nothing is told.

    Returns:
        The thread, to be joined before what was told is looked at.
    """

    def wait() -> None:
        if (status := child.wait()) not in (0, -signal.SIGTERM, 128 + signal.SIGTERM):
            failed(status)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


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


def side_by_side(
    work: Callable[[Any, Item], Result], shared: Any, items: Sequence[Item], jobs: int | None = None
) -> Generator[Result, None, None]:
    """What ``work(shared, item)`` gives for each item, as it is finished, by processes that share the cores.

    Args:
        work: a function that a new process can import.
        shared: handed to each process once; what it caches there is kept between items.
        items: begun in their order.
        jobs: processes, by default one a core; a single one is this process. Each has its share of the threads.

    Raises:
        DiscoverError: a process was killed; or what ``work`` raises.
    """
    cores = len(os.sched_getaffinity(0))
    jobs = jobs or cores
    if jobs == 1 or not items:
        yield from (work(shared, item) for item in items)
        return
    spawn = multiprocessing.get_context("spawn")  # torch does not survive a fork
    with ProcessPoolExecutor(min(jobs, len(items)), spawn, initializer=_begin, initargs=(shared, os.getpid())) as pool:
        try:
            with _inherited(max(1, cores // jobs)):
                running = [pool.submit(_work, work, item) for item in items]
            for future in as_completed(running):
                yield future.result()
        except BrokenProcessPool as error:
            raise DiscoverError(
                "a process was killed, perhaps for want of memory: give the same command again, with --jobs 1 where "
                "there is such an option; what is finished is kept"
            ) from error
        except BaseException:
            for child in multiprocessing.active_children():  # the pool then knows that it is broken, and ends
                child.terminate()
            raise


@contextlib.contextmanager
def _inherited(threads: int) -> Iterator[None]:
    """What processes started meanwhile take over: their number of threads, and that Ctrl-C is not theirs to answer.

    Libraries read the number when they load, so it must be there before a process imports anything.
    """
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, str(threads)))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


_shared: Any


def _begin(shared: Any, parent: int) -> None:
    """In a new process: keep what all items need, and end when the parent ends, even if it is killed."""
    global _shared
    _shared = shared
    end_with_parent(parent)


def _work(work: Callable[[Any, Item], Result], item: Item) -> Result:
    return work(_shared, item)
