"""What a spider is given to do in one session of a crawl, and what it says of it."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from crawlers.frontier import Frontier


@dataclass
class Task:
    """One session of a crawl.

    Attributes:
        frontier: where addresses come from and results go.
        domains: hosts, subdomains included, that may be fetched; empty: all.
        concurrency: pages under way at a time.
        report: called after each transaction, with the counts so far.
        wait: seconds for servers that rest, when nothing else is left to do; infinite: it goes on for good.
        counts: "pages", of them "unchanged", "new", "seen".
        rejected: the reasons of rejection.
        details: of each reason, what was said first.
        off_site: the hosts outside the domains that redirects led to.
        failure: what ended the session early.
        stopping: whether it was told to stop; what fails from then on was cut short, and is fetched again.
        resting: the servers that still rested when there was nothing else to do, and why.
    """

    frontier: Frontier
    domains: list[str]
    concurrency: int
    report: Callable[["Task"], None]
    wait: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    details: dict[str, str] = field(default_factory=dict)
    off_site: Counter[str] = field(default_factory=Counter)
    failure: Exception | None = None
    stopping: bool = False
    resting: dict[str, str] = field(default_factory=dict)

    @property
    def is_endless(self) -> bool:
        """Whether it takes up pages that come to be due again, rather than end."""
        return self.wait == math.inf
