"""The sentence that a run ends with, whichever way it fell."""

from collections.abc import Mapping
from typing import Any

from discover.evaluate.compare import Comparison, Difference


def summary_line(comparison: Comparison) -> str:
    """What the strategy gained over the control, in one sentence; an interval that covers zero is called so."""
    accuracy, area = comparison.accuracy, comparison.area
    return (
        f"At {comparison.labels} {comparison.unit}, {headline(comparison)}: {comparison.strategy_accuracy:.1%} against "
        f"{comparison.control_accuracy:.1%} of {comparison.n} test documents, {points(accuracy)}; "
        f"area under the learning curve {points(area)}{'' if area.clear else ', no clear difference'}; "
        f"{needs_phrase(comparison)}."
    )


def headline(comparison: Comparison) -> str:
    """Who won, in a few words."""
    strategy, control = comparison.strategy, comparison.control
    if not comparison.accuracy.clear:
        return f"no clear difference in accuracy between {strategy} and {control}"
    return f"{strategy} {'beat' if comparison.accuracy.mean > 0 else 'lost to'} {control}"


def needs_phrase(comparison: Comparison) -> str:
    """What the difference is worth in labels, or in words, against when the other arm was there itself."""
    strategy, control, unit = comparison.strategy, comparison.control, comparison.unit
    if comparison.strategy_needs is not None:
        return _fewer(comparison, strategy, control, comparison.strategy_needs, comparison.control_since)
    if comparison.control_needs is not None:
        return _fewer(comparison, control, strategy, comparison.control_needs, comparison.strategy_since)
    return f"{control} did not reach {comparison.strategy_accuracy:.1%} before, so no {unit} were saved"


def _fewer(comparison: Comparison, first: str, second: str, needs: float, since: float) -> str:
    """That one arm was where another ended, and by how much sooner than that one."""
    fewer, unit = round(since - needs), comparison.unit
    if fewer <= 0:
        return f"{comparison.strategy} saved no {unit}"
    reached = f"{round(since) - fewer} {unit}"
    at = f"from {reached} on" if first == comparison.strategy else f"with {reached}"
    itself = "" if round(since) >= comparison.labels else f", {second} itself from {round(since)} on"
    return f"{first} was at {second}'s final accuracy {at}{itself}, {fewer} fewer"


def points(difference: Difference) -> str:
    """A difference of shares in percentage points with its interval."""
    low, high = 100 * difference.low, 100 * difference.high
    return f"{100 * difference.mean:+.1f} points (95% interval {low:+.1f} to {high:+.1f})"


def single_line(row: Mapping[str, Any] | None) -> str:
    """What a run of one arm ends with; ``row`` is its last line of metrics, None where no round was measured."""
    if row is None:
        return "No round has been measured yet."
    subject, words = row["strategy"], f" ({row['words']:,} words)" if "words" in row else ""
    labels = f"{row['labels']} labels{words}"
    if row.get("source") == "test" and row.get("accuracy") is not None:
        return (
            f"After {labels}, {subject} has {row['accuracy']:.1%} of the test documents right "
            f"(95% interval {row['low']:.1%} to {row['high']:.1%}){_f1(row)}."
        )
    audit = row.get("audit")
    skipped = (audit or {}).get("skipped")  # an earlier version did not count them
    if not audit or not audit["n"]:
        return (
            f"After {labels} there is no audit answer for the report yet (half of them, by chance, are for decisions), "
            "so nothing can be said about accuracy."
        )
    return (
        f"After {labels}, the model is right on an estimated {audit['accuracy']:.1%} of what nobody has been "
        f"asked about, judged by {audit['n']} audit answers that it was not trained on "
        f"(95% interval {audit['low']:.1%} to {audit['high']:.1%}){_f1(row)}."
        + (f" {skipped} more were skipped: of such documents it says nothing." if skipped else "")
    )


def _f1(row: Mapping[str, Any]) -> str:
    """What says more than accuracy where an answer has many parts, all of which must be right for that."""
    named = (("entity_f1", "entity F1"), ("micro_f1", "micro-F1"))
    return "".join(f"; {name} {row[key]:.3f}" for key, name in named if row.get(key) is not None)
