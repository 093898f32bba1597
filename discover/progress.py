"""Progress of anything that takes more than two seconds: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")

DELAY_SECONDS = 2.0
INTERVAL = 10.0


def progress(iterable: Iterable[Item], total: int | None, title: str) -> Iterator[Item]:
    """Pass the items on, and show on stderr how far it has come; silent when it is over within two seconds.

    Args:
        iterable: what is worked through.
        total: how many items there are, if known.
        title: what is being done, in a word or two.
    """
    if sys.stderr.isatty():
        yield from tqdm(iterable, total=total, desc=title, delay=DELAY_SECONDS, leave=False)
        return
    begun = last = time.monotonic()
    done = 0
    for item in iterable:
        yield item
        done += 1
        moment = time.monotonic()
        if moment - last >= INTERVAL:
            last = moment
            print(f"{title}: {done}{f' of {total}' if total else ''}, {moment - begun:.0f} s", file=sys.stderr)
    if time.monotonic() - begun >= DELAY_SECONDS:
        print(f"{title}: {done} done in {time.monotonic() - begun:.0f} s", file=sys.stderr)
