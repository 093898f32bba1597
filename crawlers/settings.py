"""Scrapy's settings: those of the hardening add-on, and those of one crawl.

Several of Scrapy 2.19's defaults suit a trusted machine, not a crawler that follows strangers' links: a remote console
and remote control, certificates unchecked, a gigabyte a response, ``file:`` addresses, robots.txt ignored.
"""

from typing import Any

from discover import __version__
from discover.config import CrawlConfig

AGENT = "Discover"  # as robots.txt and pages may call us
MAX_BYTES = 5 << 20  # of a page, unpacked

HARDENED: dict[str, Any] = {
    "ROBOTSTXT_OBEY": True,
    "DOWNLOAD_VERIFY_CERTIFICATES": True,
    "DOWNLOAD_MAXSIZE": MAX_BYTES,
    "DOWNLOAD_WARNSIZE": 0,
    "DOWNLOAD_TIMEOUT": 30,
    "DOWNLOAD_FAIL_ON_DATALOSS": True,
    "DOWNLOAD_HANDLERS": {
        **dict.fromkeys(("http", "https"), "crawlers.client.BoundedHandler"),
        **dict.fromkeys(("file", "data", "ftp", "s3")),
    },
    "TWISTED_DNS_RESOLVER": "crawlers.guard.GuardedResolver",
    "DNSCACHE_ENABLED": False,  # its answers never age, and a crawl may run for weeks
    "HTTPPROXY_ENABLED": False,  # a proxy resolves names itself, behind the guard's back
    "TELNETCONSOLE_ENABLED": False,
    "REMOTE_CONTROL_ENABLED": False,
    "COOKIES_ENABLED": False,
    "METAREFRESH_ENABLED": False,
    "REFERRER_POLICY": "no-referrer",
    "URLLENGTH_LIMIT": 2083,
    "CONCURRENT_REQUESTS_PER_DOMAIN": 1,
    "DOWNLOAD_DELAY": 1,
    "CONTENT_TYPES": [
        *("text/html", "application/xhtml+xml", "text/plain"),
        *("text/xml", "application/xml", "application/rss+xml", "application/atom+xml"),  # sitemaps and feeds
    ],
    "LONGEST_PAUSE": 300.0,
    "GUARD_ALLOW": [],
    "GUARD_SERVED": {},
}


def crawl_settings(crawl: CrawlConfig, served: dict[str, str], log_file: str) -> dict[str, Any]:
    """The settings of one crawl.

    Args:
        crawl: the config's section.
        served: names that this crawl gives to a site on loopback, for the guard.
        log_file: where Scrapy reports what it did.
    """
    polite = crawl.delay > 0
    return {
        "ADDONS": {"crawlers.hardening.Hardening": 0},
        "USER_AGENT": user_agent(crawl.contact),
        "ROBOTSTXT_USER_AGENT": AGENT,
        "CONCURRENT_REQUESTS": crawl.concurrency,
        "CONCURRENT_REQUESTS_PER_DOMAIN": 1 if polite else crawl.concurrency,
        "DOWNLOAD_DELAY": crawl.delay,
        "DOWNLOAD_DELAY_JITTER": 0.0,  # by default a pause may be half as long, but the delay is a promise
        "AUTOTHROTTLE_ENABLED": polite,
        "AUTOTHROTTLE_START_DELAY": crawl.delay,
        "GUARD_ALLOW": crawl.allow_private,
        "GUARD_SERVED": served,
        "FIRST_REST": 5.0,  # seconds, of a server that fails several times in a row; each further one is longer
        "LONGEST_REST": 900.0,
        # Retries and redirects are rows of the frontier: there they survive a crash, and obey the same rules.
        "RETRY_ENABLED": False,
        "LOG_FILE": log_file,
        "LOG_LEVEL": "WARNING",
        "LOG_INSTALL_ROOT_HANDLER": True,
        "LOGSTATS_INTERVAL": 0,
        "STATS_DUMP": False,
        "TWISTED_REACTOR": "twisted.internet.asyncioreactor.AsyncioSelectorReactor",
    }


def user_agent(contact: str) -> str:
    """Who we are, and whom a site's owner may write to."""
    return f"{AGENT}/{__version__} (+{contact})" if contact else f"{AGENT}/{__version__} (no contact given)"
