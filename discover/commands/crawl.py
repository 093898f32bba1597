"""The crawl as a child process: Twisted never meets the trainer."""

import hashlib
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from discover.campaign import Campaign
from discover.child import end, watch
from discover.config import Config
from discover.errors import UNFINISHED, DiscoverError, Unfinished

WAIT = 24 * 3600.0  # seconds that a crawl beside the loop waits for servers that fail, with nothing else to do


def check(config: Config) -> None:
    """Refuse a config that says nothing of a crawl.

    Raises:
        DiscoverError: it does not.
    """
    if config.crawl is None:
        raise DiscoverError("the config needs a section `crawl` with `start` addresses: see configs/site.yaml")


def crawl(campaign: Campaign) -> None:
    """Crawl to the end, or go on with a crawl that was stopped.

    Of a finished one nothing is repeated but what is due again (`crawl.revisit`), and what failed for a reason that may
    be gone: a server's trouble, or a fault of the spider that is mended.

    Raises:
        DiscoverError: the config has no crawl, or the crawl failed.
        Unfinished: some servers could not be reached.
    """
    check(campaign.config)
    assert campaign.config.crawl is not None
    revisit = campaign.config.crawl.revisit
    if _finished(campaign):
        due = "" if revisit is None else f", and what was fetched more than {revisit:g} days ago"
        again = f"what failed for a passing reason is tried again{due}"
        print(f"crawl: finished before, with these settings: only {again}", flush=True)
    with _child(campaign) as (child, said):
        child.wait()
        _conclude(campaign, child.returncode, said)


@contextmanager
def alongside(campaign: Campaign) -> Iterator[Callable[[], bool]]:
    """Crawl while the body runs: before it, unless the config says `crawl.background`.

    With `crawl.revisit` one in the background does not end by itself. That some servers cannot be reached is told, and
    no reason not to learn from what the others have.

    Yields:
        A function that says whether the crawl still runs.

    Raises:
        DiscoverError: the crawl failed; in the background it is told at once, and raised after the body.
    """
    settings = campaign.config.crawl
    if settings is None or (_finished(campaign) and settings.revisit is None):
        yield lambda: False
        return
    if not settings.background:
        with _told():
            crawl(campaign)
        yield lambda: False
        return
    failures: list[DiscoverError] = []
    with _child(campaign, WAIT if settings.revisit is None else math.inf) as (child, said):

        def failed(status: int) -> None:
            failures.append(_failure(status, said))
            print(f"discover: {failures[0]}; the loop goes on with what it has brought", file=sys.stderr, flush=True)

        watching = watch(child, failed)
        try:
            yield lambda: child.poll() is None
        except DiscoverError as error:
            if child.poll():  # why there is nothing to learn from, say
                watching.join()
                if failures:
                    raise failures[0] from error
            raise
        if child.poll() is not None:  # else it is stopped by us now, and goes on next time
            watching.join()
            if not failures:
                _conclude(campaign, child.returncode, said)
            elif not isinstance(failures[0], Unfinished):
                raise failures[0]


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except Unfinished as unfinished:
        print(f"discover: {unfinished}; the loop begins with what it has brought", file=sys.stderr, flush=True)


@contextmanager
def _child(campaign: Campaign, wait: float = 0.0) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The process, and the end of a pipe at which it says in one line why it failed."""
    command = [sys.executable, "-m", "crawlers", "crawl", str(campaign.folder.root), "--wait", str(wait)]
    reading, writing = os.pipe()
    # It ends with us, also when we are killed.
    environment = {**os.environ, "DISCOVER_PARENT": str(os.getpid()), "DISCOVER_FAILURE": str(writing)}
    # In a session of its own: a Ctrl-C in the terminal reaches it through us, once.
    child = subprocess.Popen(command, start_new_session=True, env=environment, pass_fds=(writing,))
    os.close(writing)
    try:
        yield child, reading
    finally:
        end(child)
        os.close(reading)


def _conclude(campaign: Campaign, status: int, said: int) -> None:
    """Note that a crawl ended by itself, so that it is not repeated."""
    if status:
        raise _failure(status, said)
    campaign.database.note("crawl", _digest(campaign))


def _failure(status: int, said: int) -> DiscoverError:
    """Why the crawl failed; to be asked once it has ended."""
    os.set_blocking(said, False)  # a process that the crawl began may still hold the other end
    try:
        reason = os.read(said, 1 << 16).decode(errors="replace")
    except BlockingIOError:
        reason = ""
    reason = reason or f"it ended with status {status} and without a word: see crawl.log; the same command goes on"
    if status == UNFINISHED:
        return Unfinished(f"the crawl is not finished: {reason}")
    return DiscoverError(f"the crawl failed: {reason}")


def _finished(campaign: Campaign) -> bool:
    return bool(campaign.database.noted("crawl") == _digest(campaign))


def _digest(campaign: Campaign) -> str:
    """Of the crawl's settings: with other addresses or limits there is more to crawl."""
    settings = campaign.config.crawl
    return hashlib.sha256(settings.model_dump_json(exclude_none=True).encode()).hexdigest() if settings else ""
