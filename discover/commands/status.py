"""Where a run stands, in lines for people."""

from typing import Any

COUNTS = {
    "test": "of these to test on",
    "found": "found and not yet taken in",
    "duplicate": "near-duplicates",
    "aside": "set aside for want of a single answer",
}


def render(status: dict[str, Any]) -> str:
    """The lines: the pool, what it did not take and why, then each arm, of what `Campaign.status` gives."""
    states = [f"{value} {COUNTS.get(key, key)}" for key, value in status["pool"].items() if isinstance(value, int)]
    lines = [f"{status['run']}: {', '.join(states)}"]
    if refused := status["pool"].get("rejected"):
        lines.append(f"not taken in: {', '.join(f'{number} {reason}' for reason, number in refused.items())}")
    for arm, state in status["arms"].items():
        last = state["last"]
        known = last and last["accuracy"] is not None  # 0 is known, and common where all entities must be right
        score = f", accuracy {last['accuracy']:.3f} after round {last['round']}" if known else ""
        lines.append(
            f"{arm}: {state['labels']} labels, {state['spent']:.0f} of {status['budget']} {status['unit']} spent, "
            f"{state['waiting']} waiting, model {state['model'] or 'none yet'}{score}"
        )
        if last and last.get("note"):
            lines.append(f"{arm}: {last['note']}")
    return "\n".join(lines)
