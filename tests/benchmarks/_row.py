"""A row of a benchmark's table."""

from typing import Any


def row(
    name: str,
    value: float,
    unit: str,
    goal: Any,
    holds: bool,
    *,
    peer: str | None = None,
    peer_value: float | None = None,
    ratio: float | None = None,
) -> dict[str, Any]:
    """A benchmark's row; `peer`, `peer_value` and `ratio` where it is held against something."""
    found = {"name": name, "value": value, "unit": unit, "peer": peer, "peer_value": peer_value, "ratio": ratio}
    return {**found, "goal": goal, "holds": bool(holds)}
