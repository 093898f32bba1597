"""What another policy would have been worth: the table of its estimates, as text, JSON and a plot."""

import argparse
import difflib
import json
from collections.abc import Iterator

from discover.errors import DiscoverError
from discover.ope.columns import ROLES
from discover.ope.evaluation import Estimate, Evaluation, Settings
from discover.ope.offline import ope as judge


def ope(options: argparse.Namespace) -> None:
    """Judge the target of a log and print what was found.

    Raises:
        DiscoverError: the log, the target or an option does not fit; or, once printed, no estimate can be believed.
    """
    declared = None if options.range is None else (options.range[0], options.range[1])
    settings = Settings(options.interval, options.level, declared, seed=options.seed)
    found = judge(
        options.log,
        options.target,
        columns=_columns(options.columns),
        estimators=options.estimators,
        reward=options.reward or "",
        settings=settings,
    )
    print(json.dumps(found.as_dict()) if options.json else "\n".join(table(found)))
    if options.plot:
        from discover.ope import plot

        plot.draw(found, options.plot, f"{options.target}, judged from {options.log.name}")
    if found.verdict == "refuse":
        raise DiscoverError(
            f"no estimate of {options.target!r} can be believed: {_why(found)}; log more, or judge "
            "a policy closer to the logged one"
        )


def table(found: Evaluation) -> Iterator[str]:
    """The evaluation as lines."""
    campaigns = next((f", of a campaign {one.logged:.5g}" for one in found.estimates if one.per == "campaign"), "")
    yield f"{found.rows:,} picks, {found.units:,} units; their mean reward as logged {found.logged:.5g}{campaigns}"
    yield from found.notes
    yield from (f"{check.name}: {check.verdict}, {check.reason}" for check in found.checks)
    heads = ("estimator", "of a", "estimate", f"{100 * found.level:.6g}% interval", "effective", "verdict")
    rows = [heads, *(_row(one) for one in found.estimates)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        yield "  ".join(cells).rstrip()
    for reason in dict.fromkeys(found.unavailable.values()):
        names = [name for name, why in found.unavailable.items() if why == reason]
        yield f"not for this log: {', '.join(names)}: {reason}"


def _row(one: Estimate) -> tuple[str, ...]:
    """One line; a figure that is refused is not shown."""
    bad = [check for check in one.checks if check.verdict != "ok"]
    verdict = one.verdict + "".join(f"; {check.name}: {check.reason}" for check in bad)
    shown = one.verdict != "refuse"
    return (
        one.estimator,
        one.per,
        f"{one.value:.5g}" if shown else "-",
        f"[{one.low:.5g}, {one.high:.5g}]" if shown else "-",
        f"{one.effective:,.0f} ({one.share:.0%})",
        verdict,
    )


def _why(found: Evaluation) -> str:
    checks = [*found.checks, *(check for one in found.estimates for check in one.checks)]
    reasons = dict.fromkeys(f"{check.name} {check.reason}" for check in checks if check.verdict == "refuse")
    return "; ".join(list(reasons)[:3]) or "it is undefined on this log"


def _columns(text: str) -> dict[str, str]:
    """Roles and names of ``action=item,reward=click``."""
    found: dict[str, str] = {}
    for pair in filter(None, text.split(",")):
        role, equals, name = (part.strip() for part in pair.partition("="))
        if not equals or not name or role not in ROLES:
            close = difflib.get_close_matches(role, ROLES, n=1)
            advice = f"did you mean {close[0]!r}?" if close else f"roles are {', '.join(ROLES)}"
            raise DiscoverError(f"--columns must be role=name,…, found {pair!r}: {advice}")
        if role in found:
            raise DiscoverError(f"--columns gives {role!r} twice, as {found[role]!r} and as {name!r}: leave one out")
        found[role] = name
    return found
