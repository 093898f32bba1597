"""What follows a failure: another attempt, or a rest of the whole server, until a probe tells that it is well."""

from collections.abc import Callable
from typing import Any

from scrapy import Request
from scrapy.http import Response
from twisted.python.failure import Failure

from crawlers.breaker import Breaker, server_of
from crawlers.failures import transient, trouble, why
from crawlers.frontier import Outcome
from crawlers.hardening import GIVE_BACK, HardeningMiddleware, Resting, retry_after

ATTEMPTS = 3
META = {"dont_redirect": True, "handle_httpstatus_all": True, GIVE_BACK: True}  # of requests whose answers we judge


class Outages:
    """Those of one session of a crawl.

    Args:
        crawler: Scrapy's, when it has the settings of the add-on.

    Attributes:
        breaker: the servers' circuits.
        patience: a session ends, if all that is left are servers that rest for longer, in seconds.
    """

    def __init__(self, crawler: Any):
        settings = crawler.settings
        self.patience = settings.getfloat("LONGEST_PAUSE")
        self.breaker = Breaker(settings.getfloat("FIRST_REST"), settings.getfloat("LONGEST_REST"), self.patience)
        self._crawler = crawler

    def rests(self) -> dict[str, float]:
        """Hosts to leave alone, since they fail or have asked for it, so that they hold up no other."""
        hardening = self._crawler.get_downloader_middleware(HardeningMiddleware)
        asked = hardening.resting() if hardening else {}
        return asked | {name: max(left, asked.get(name, 0.0)) for name, left in self.breaker.resting().items()}

    def try_again(self, outcome: Outcome, asked: float | None = None, as_a_whole: bool = False) -> Outcome:
        """Another attempt, while there are any; none is counted where the server, not the page, is to blame."""
        page = outcome.page
        if self.breaker.failed(server_of(page.address), outcome.reason, asked, as_a_whole=as_a_whole):
            outcome.retry_after, outcome.given_back = 0.0, True  # the whole host is left alone meanwhile
        elif page.attempts + 1 < ATTEMPTS:
            outcome.retry_after = 0.5 * 2.0**page.attempts if asked is None else asked
        return outcome

    def probes(self, wanted: Callable[[str], bool]) -> list[Request]:
        """Requests for pages that were answered before, to learn whether their servers are well again."""
        return [
            Request(
                address,
                callback=self._answered,
                errback=self._failed,
                cb_kwargs={"server": server_of(address)},
                dont_filter=True,
                meta=META,
            )
            for address in self.breaker.probes(wanted)
        ]

    def _answered(self, response: Response, server: str) -> None:
        if trouble(response):
            self.breaker.failed(server, f"status {response.status}", retry_after(response.headers))
        else:
            self.breaker.probed(server)

    def _failed(self, failure: Failure) -> None:
        server = failure.request.cb_kwargs["server"]  # type: ignore[attr-defined]
        error = failure.value
        if transient(error) or isinstance(error, Resting):
            self.breaker.failed(server, why(error)[0], getattr(error, "asked", None))
        else:
            self.breaker.probed(server)
