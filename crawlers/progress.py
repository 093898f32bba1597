"""How a crawl shows that it goes on: a bar on a terminal, a line now and then elsewhere."""

import sys
import time

from tqdm import tqdm

from crawlers.task import Task

EVERY = 5.0  # seconds between two lines
HOSTS = 5  # named at most


class Progress:
    """Called with the task after each transaction.

    Args:
        max_pages: where the crawl ends at the latest.
    """

    def __init__(self, max_pages: int):
        self.max_pages = max_pages
        self._bar = tqdm(unit="page", desc="crawl", disable=None, file=sys.stderr, leave=False)
        self._last = time.monotonic()

    def __call__(self, task: Task) -> None:
        """Show the counts."""
        counts = task.counts
        pages = task.frontier.finished_before + counts["pages"] + sum(task.rejected.values())
        if not self._bar.disable:
            self._bar.total = min(self.max_pages, task.frontier.known())
            self._bar.n = min(pages, self._bar.total)
            self._bar.set_postfix(documents=counts["new"], refresh=False)
            self._bar.refresh()
        elif time.monotonic() - self._last > EVERY:
            self._last = time.monotonic()
            print(f"crawl: {counts['pages']:,} pages, {counts['new']:,} documents", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Clear the bar."""
        self._bar.close()


def summary(task: Task) -> str:
    """The line a crawl ends with, and a second one where there is advice."""
    counts = task.counts
    line = f"crawl: {counts['pages']:,} pages, {counts['new']:,} new documents, {counts['seen']:,} seen before"
    if counts["unchanged"]:
        line += f"; {counts['unchanged']:,} pages unchanged"
    if task.rejected:
        reasons = ", ".join(f"{number:,} {reason}" for reason, number in task.rejected.most_common())
        line += f"; rejected: {reasons}"
    if task.frontier.finished_before:
        line += f"; {task.frontier.finished_before:,} addresses were done earlier"
    if task.off_site:
        line += f"\ncrawl: {off_site(task)}"
    return line


def off_site(task: Task) -> str:
    """What to do about redirects that were not followed."""
    names = [name for name, _ in task.off_site.most_common(HOSTS)]
    more = f" and {len(task.off_site) - HOSTS:,} other hosts" if len(task.off_site) > HOSTS else ""
    return (
        f"redirects led off site, to {', '.join(names)}{more}: to follow them, name the hosts in crawl.allowed_domains"
    )
