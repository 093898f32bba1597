"""A circuit breaker for each server: one that fails several times in a row is left alone, longer each time.

The terms are Nygard's (Release It!, 2007): a circuit is closed while all is well, open while the server rests, and
half-open when a rest is over and one request shall tell whether it has helped. That request is for an address which
the server has answered before: so a server that is down is told from pages that are broken. Once it is answered the
server is on trial: it is asked for one page at a time until it answers one, and what fails meanwhile is to blame
itself. So pages that are broken for good use up their attempts, however many of them come in a row. A server that has
not answered anything in this session is probed with a page of the frontier.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

FAILURES = 3  # in a row
GROWTH = 4.0  # of a rest over the one before
ASKED = 24 * 3600.0  # the longest rest that a server gets by asking for it


@dataclass
class _Circuit:
    failures: int = 0  # in a row
    rests: int = 0  # in a row; 0: closed
    until: float = 0.0  # on the monotonic clock
    reason: str = ""
    answered: str = ""  # the address it answered last
    probing: bool = False
    trial: bool = False


class Breaker:
    """The circuits of all servers, by ``host:port`` as addresses have it.

    Args:
        first: seconds of the first rest.
        longest: of the last ones.
        patience: a server that asks for a longer rest gets it at once.
    """

    def __init__(self, first: float, longest: float, patience: float):
        self.first, self.longest, self.patience = first, longest, patience
        self._circuits: dict[str, _Circuit] = {}

    def answered(self, server: str, address: str = "") -> None:
        """Note that all is well; the address is one to probe the server with, if it fails one day."""
        circuit = self._circuits.setdefault(server, _Circuit())
        self._circuits[server] = _Circuit(answered=address or circuit.answered)

    def probed(self, server: str) -> None:
        """Note that a probe was answered."""
        self._circuits[server] = _Circuit(answered=self._circuits[server].answered, trial=True)

    def failed(self, server: str, reason: str, asked: float | None = None, *, as_a_whole: bool = False) -> bool:
        """Note a failure.

        Args:
            server: which.
            reason: in a word or two.
            asked: seconds of rest that it asks for.
            as_a_whole: whether one failure is enough to tell that all its pages would fail.

        Returns:
            Whether the server is to blame, and not the page.
        """
        circuit = self._circuits.setdefault(server, _Circuit())
        circuit.failures += 1
        circuit.reason, circuit.probing = reason, False
        if circuit.rests and _left(circuit):
            return True  # it was under way when the rest began
        as_a_whole = as_a_whole or (asked or 0.0) > self.patience
        if circuit.failures < FAILURES and not circuit.rests and not as_a_whole:
            return False
        rest = min(self.first * GROWTH ** min(circuit.rests, 20), self.longest)
        circuit.until = time.monotonic() + min(max(rest, asked or 0.0), ASKED)
        circuit.rests += 1
        on_trial, circuit.trial = circuit.trial, False
        return as_a_whole or (bool(circuit.answered) and not on_trial)

    def resting(self) -> dict[str, float]:
        """Hosts that are to be left alone, and for how many seconds; 0 while they are probed."""
        rests: dict[str, float] = {}
        for server, circuit in self._circuits.items():
            if circuit.rests and (circuit.answered or _left(circuit)):
                name = _host(server)
                rests[name] = max(rests.get(name, 0.0), _left(circuit))
        return rests

    def untested(self) -> set[str]:
        """Hosts of which one page at a time may be tried: on trial, or with nothing else known to probe them with."""
        circuits = self._circuits.items()
        return {_host(server) for server, c in circuits if c.trial or (c.rests and not c.answered and not _left(c))}

    def probes(self, wanted: Callable[[str], bool]) -> list[str]:
        """Addresses that will tell whether a rest has helped, each given once; of hosts that are wanted."""
        due = [
            circuit
            for server, circuit in self._circuits.items()
            if circuit.rests and circuit.answered and not circuit.probing and not _left(circuit)
            if wanted(_host(server))
        ]
        for circuit in due:
            circuit.probing = True
        return [circuit.answered for circuit in due]

    def reasons(self, wanted: Callable[[str], bool]) -> dict[str, str]:
        """Why each server that rests does so; of hosts that are wanted."""
        circuits = self._circuits.items()
        return {server: circuit.reason for server, circuit in circuits if circuit.rests and wanted(_host(server))}


def server_of(address: str) -> str:
    """By what a circuit is known."""
    return urlsplit(address).netloc


def _host(server: str) -> str:
    return urlsplit(f"//{server}").hostname or ""


def _left(circuit: _Circuit) -> float:
    return max(0.0, circuit.until - time.monotonic())
