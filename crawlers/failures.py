"""Why a page was not fetched, in a word for counting and a sentence for reading."""

import scrapy.exceptions as scrapy_errors
from scrapy.exceptions import IgnoreRequest, StopDownload
from scrapy.http import Response
from twisted.internet import error as twisted_errors
from twisted.web.client import ResponseFailed

from crawlers.hardening import NoRobots, Refusal

OFF_SITE = "redirect off site"
# Reasons that may be gone at another time: of the network, of a server, of this machine, of a spider that is mended.
PASSING = frozenset(
    {
        *("unreachable", "timeout", "crash", "spider error", "crawler error", "status 408", "status 429"),
        *(f"status {number}" for number in range(500, 600)),
    }
)
_UNREACHABLE = (
    scrapy_errors.CannotResolveHostError,
    scrapy_errors.DownloadConnectionRefusedError,
    scrapy_errors.DownloadFailedError,
    scrapy_errors.DownloadTimeoutError,
    scrapy_errors.ResponseDataLossError,
    ResponseFailed,
    twisted_errors.ConnectError,
    twisted_errors.ConnectionLost,
    twisted_errors.ConnectionDone,
    twisted_errors.DNSLookupError,
    TimeoutError,
    OSError,
)


def why(error: BaseException | None) -> tuple[str, str]:
    """The reason, at most 32 characters, and its detail."""
    detail = " ".join(str(error).split())
    if isinstance(error, Refusal):
        return "refused by the guard", detail
    if isinstance(error, NoRobots):
        return error.reason, detail
    if isinstance(error, StopDownload):
        response = getattr(error, "response", None)
        return "not text", (response.headers.get("Content-Type") or b"").decode("latin-1") if response else ""
    if isinstance(error, IgnoreRequest) and detail.startswith("Ignored response"):  # Scrapy's word of what is packed
        return "too large", detail
    if isinstance(error, IgnoreRequest):
        return ("robots.txt" if detail.startswith("Forbidden by robots") else "offsite"), detail
    if isinstance(error, scrapy_errors.DownloadCancelledError):
        return "too large", detail
    if isinstance(error, _UNREACHABLE):
        return "unreachable", f"{type(error).__name__}: {detail}"
    return "not fetched", f"{type(error).__name__}: {detail}"


def transient(error: BaseException | None) -> bool:
    """Whether trying again may help."""
    return isinstance(error, NoRobots) or why(error)[0] == "unreachable"


def trouble(response: Response) -> bool:
    """Whether the same request may be answered at another time."""
    return response.status in (408, 429) or response.status >= 500
