"""The one form in which an address is stored, compared and fetched."""

import re
from collections.abc import Iterable
from urllib.parse import urlsplit, urlunsplit

from w3lib.url import canonicalize_url, safe_url_string

LONGEST = 2083  # what browsers and servers agree to carry
_TRACKING = {"fbclid", "gclid", "dclid", "msclkid", "mc_cid", "mc_eid", "igshid", "yclid"}
# A server that writes them into links, as it does where cookies are refused, has each page under countless addresses.
_SESSIONS = {"phpsessid", "jsessionid"}
_SESSION_IN_PATH = re.compile(r";jsessionid=[^/;]*", re.IGNORECASE)


def canonical(address: str, *, session: bool = False) -> str | None:
    """Sort the query, drop the fragment, ids of sessions, and what only follows visitors around.

    Args:
        address: absolute.
        session: keep the id of a session.

    Returns:
        the address, or None where it is not one of the web: another scheme, no host, or one with control characters,
        a password inside, too long.
    """
    try:
        parts = urlsplit(canonicalize_url(address.strip()))
        written = urlsplit(safe_url_string(address.strip())).query
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        return None
    if not parts.netloc.isprintable():  # PostgreSQL stores no NUL
        return None
    # Piece by piece as it stands: a query need not be UTF-8, nor made of pairs, and some servers mind a "=" more.
    pieces = ((piece, piece.partition("=")[0].lower()) for piece in sorted(filter(None, written.split("&"))))
    query = "&".join(piece for piece, key in pieces if not (_is_tracking(key) or (_is_session(key) and not session)))
    usual = port == {"http": 80, "https": 443}[parts.scheme]
    netloc = parts.netloc.rpartition(":")[0] if usual else parts.netloc
    path = parts.path if session else _SESSION_IN_PATH.sub("", parts.path)
    result = urlunsplit((parts.scheme, netloc, path or "/", query, ""))
    return result if len(result) <= LONGEST else None


def _is_tracking(key: str) -> bool:
    return key in _TRACKING or key.startswith("utm_")


def _is_session(key: str) -> bool:
    return key in _SESSIONS or key.startswith("aspsessionid")


def host(address: str) -> str:
    """The host name of an address, lower case, without port."""
    return urlsplit(address).hostname or ""


def is_inside(address: str, domains: Iterable[str]) -> bool:
    """Whether the host of an address is one of these, or a subdomain of one."""
    name = host(address)
    return any(name == domain or name.endswith(f".{domain}") for domain in domains)


def are_spellings(address: str, other: str) -> bool:
    """Whether both name one page, as far as the usual redirects go: by scheme, www, letter case, a slash at the end."""
    return _spelling(address) == _spelling(other)


def _spelling(address: str) -> tuple[str, str, str]:
    parts = urlsplit(address)
    return host(address).removeprefix("www."), parts.path.lower().removesuffix("/"), parts.query
