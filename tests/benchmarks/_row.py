"""A row of a benchmark's table."""

from typing import Any


def row(name: str, value: float, unit: str, goal: Any, holds: bool, **peer: Any) -> dict[str, Any]:
    """A benchmark's row; `peer`, `peer_value` and `ratio` where it is held against something."""
    found = {"name": name, "value": value, "unit": unit, "peer": None, "peer_value": None, "ratio": None}
    return {**found, **peer, "goal": goal, "holds": bool(holds)}
