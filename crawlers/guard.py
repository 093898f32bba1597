"""The guard: no address on the web may lead the crawler into a private network (server-side request forgery).

It stands where names become IP addresses, in Twisted's resolver, which is asked for IP literals too. Twisted connects
to the very answer that was checked, so a name that resolves differently a second later (DNS rebinding) gains nothing.
"""

import ipaddress
from collections.abc import Sequence
from typing import Any

from scrapy.resolver import CachingHostnameResolver
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IHostResolution, IResolutionReceiver
from zope.interface import implementer  # type: ignore[import-untyped]

PORTS = (80, 443)
# Spelled out, since what `is_global` says of these has changed between Python versions, or is wrong for our purpose.
_DENIED = [
    ipaddress.ip_network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24"),
        *("203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        "::/96",  # unspecified, loopback, and IPv4 inside IPv6
        "::ffff:0:0/96",  # mapped IPv4: no name server has a reason to answer with it
        *("64:ff9b::/96", "64:ff9b:1::/48"),  # NAT64: any IPv4, a private one too
        *("2001::/32", "2002::/16"),  # Teredo and 6to4, likewise
        *("100::/64", "2001:db8::/32", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"),
    )
]


def is_public(address: str) -> bool:
    """Whether an IP address is one that the public web may use."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if any(ip.version == network.version and ip in network for network in _DENIED):
        return False
    return ip.is_global and not ip.is_multicast


class Guard:
    """What may be connected to.

    Args:
        allowed: ``host:port`` pairs that are let through whatever they resolve to.
        served: ``host:port`` to ``ip:port``: names that this crawl itself gives to a site on loopback.
    """

    def __init__(self, allowed: Sequence[str] = (), served: dict[str, str] | None = None):
        self.allowed = {pair.lower().replace("[", "").replace("]", "") for pair in allowed}  # [::1]:8000 is ::1:8000
        self.served = {pair.lower(): target for pair, target in (served or {}).items()}

    def knows(self, host: str, port: int) -> bool:
        """Whether the pair was allowed by name."""
        pair = f"{host}:{port}".lower()
        return pair in self.allowed or pair in self.served

    def objection(self, host: str, port: int) -> str:
        """Why a request must not even be tried; empty where nothing speaks against it."""
        if self.knows(host, port):
            return ""
        if port not in PORTS:
            advice = f"name {host}:{port} in crawl.allow_private, or as --allow-private of `extract`"
            return f"port {port} is neither 80 nor 443: to allow it, {advice}"
        return ""

    def refuses(self, host: str, port: int, ip: str) -> bool:
        """Whether the connection to an IP address must not be made."""
        return not self.knows(host, port) and (port not in PORTS or not is_public(ip))


# Hosts all of whose addresses were refused. Name resolution belongs to the process's one reactor, and so does this.
refused: dict[tuple[str, int], str] = {}


class GuardedResolver(CachingHostnameResolver):
    """Scrapy's resolver, with the guard between it and whoever asked; what comes from its cache is checked too."""

    def __init__(self, reactor: Any, cache_size: int, guard: Guard):
        super().__init__(reactor, cache_size)
        self.guard = guard

    @classmethod
    def from_crawler(cls, crawler: Any, reactor: Any) -> "GuardedResolver":
        """Made by Scrapy from its settings ``GUARD_ALLOW`` and ``GUARD_SERVED``."""
        settings = crawler.settings
        guard = Guard(settings.getlist("GUARD_ALLOW"), settings.getdict("GUARD_SERVED"))
        cache_size = settings.getint("DNSCACHE_SIZE") if settings.getbool("DNSCACHE_ENABLED") else 0
        return cls(reactor, cache_size, guard)

    def resolveHostName(  # noqa: D102 - Twisted's interface
        self,
        resolutionReceiver: Any,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[Any]] | None = None,
        transportSemantics: str = "TCP",
    ) -> Any:
        target = self.guard.served.get(f"{hostName}:{portNumber}".lower())
        checked: Any = _Checked(resolutionReceiver, self.guard, hostName, portNumber)
        if target is None:
            return super().resolveHostName(checked, hostName, portNumber, addressTypes, transportSemantics)
        ip, _, port = target.rpartition(":")
        checked.resolutionBegan(_Answered(hostName))
        checked.addressResolved(IPv4Address("TCP", ip, int(port)))
        checked.resolutionComplete()
        return _Answered(hostName)


@implementer(IHostResolution)
class _Answered:
    def __init__(self, name: str):
        self.name = name

    def cancel(self) -> None:
        pass


@implementer(IResolutionReceiver)
class _Checked:
    def __init__(self, receiver: Any, guard: Guard, host: str, port: int):
        self.receiver, self.guard, self.host, self.port = receiver, guard, host, port
        self.denied, self.passed = "", False

    def resolutionBegan(self, resolution: Any) -> None:
        self.receiver.resolutionBegan(resolution)

    def addressResolved(self, address: Any) -> None:
        ip = getattr(address, "host", "")
        if self.guard.refuses(self.host, self.port, ip):
            self.denied = ip
        else:
            self.passed = True
            self.receiver.addressResolved(address)

    def resolutionComplete(self) -> None:
        refused.pop((self.host, self.port), None)
        if self.denied and not self.passed:
            refused[self.host, self.port] = self.denied
        self.receiver.resolutionComplete()
