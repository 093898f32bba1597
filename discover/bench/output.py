"""What a bench leaves: `results.jsonl`, `summary.json`, a picture for each dataset; and the table that it prints."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from discover import tracking
from discover.bench.config import FULL
from discover.bench.summary import FIELDS, Found
from discover.evaluate.curves import Series, draw
from discover.run import RunFolder, publish


def write(found: Found, summary: dict[str, Any], folder: RunFolder) -> None:
    """Rewrite the files of a bench's folder, whole."""
    with publish(folder.results) as scratch, scratch.open("w", encoding="utf-8") as lines:
        for cell, content in found:
            for row in content["rounds"]:
                lines.write(json.dumps(cell.names | {field: row[field] for field in FIELDS}, ensure_ascii=False) + "\n")
    with publish(folder.summary) as scratch:
        scratch.write_text(json.dumps(summary, indent=1, ensure_ascii=False, allow_nan=False), encoding="utf-8")
    names = _names(summary)
    for arm in summary["arms"]:
        learner, strategy = (names[arm[part]].replace("/", "_") for part in ("learner", "strategy"))
        tracking.write(folder.tensorboard / arm["dataset"] / learner / strategy, _means(arm))
    for dataset in dict.fromkeys(arm["dataset"] for arm in summary["arms"]):
        arms = [arm for arm in summary["arms"] if arm["dataset"] == dataset]
        _draw(arms, folder.curves / f"{dataset}.png", dataset, names)


def table(summary: dict[str, Any]) -> Iterator[str]:
    """Lines to print: one an arm, then what is found over all datasets."""
    gains = {(row["dataset"], row["learner"], row["strategy"]): row for row in summary["comparisons"]}
    names = _names(summary)
    for dataset in dict.fromkeys(arm["dataset"] for arm in summary["arms"]):
        arms = [arm for arm in summary["arms"] if arm["dataset"] == dataset]
        rows: list[tuple[str, ...]] = [
            ("learner", "strategy", "labels", "accuracy", "aulc", "to target", "against random: aulc", "accuracy")
        ]
        for arm in arms:
            gain = gains.get((dataset, arm["learner"], arm["strategy"]), {})
            rows.append(
                (
                    names[arm["learner"]],
                    names[arm["strategy"]],
                    str(arm["labels"][-1]),
                    f"{arm['final_accuracy']:.1%}" + _plus_minus(arm["half_width"][-1]),
                    "" if arm["strategy"] == FULL else f"{arm['aulc']:.1%}",
                    "" if arm["strategy"] == FULL else f"{_labels(arm)} to {arm['target']:.1%}",
                    _points(gain.get("aulc")),
                    _points(gain.get("final_accuracy")),
                )
            )
        yield f"{dataset}: means over {max(arm['seeds'] for arm in arms)} seeds, 95% intervals, p by Holm"
        yield from _aligned(rows)
    for note in summary["notes"]:
        place = f"{note['dataset']}, {names[note['learner']]}, {names[note['strategy']]}, seed {note['seed']}"
        yield f"{place}, at {note['labels']} labels: {note['note']}"
    if len({arm["dataset"] for arm in summary["arms"]}) > 1 and summary["pooled"]:
        rows = [("learner", "strategy", "datasets", "against random: aulc", "accuracy")]
        for row in summary["pooled"]:
            points = (_points(row[measure]) for measure in ("aulc", "final_accuracy"))
            rows.append((names[row["learner"]], names[row["strategy"]], str(row["datasets"]), *points))
        yield "all datasets, each counting the same"
        yield from _aligned(rows)


def _means(arm: dict[str, Any]) -> Iterator[tracking.Point]:
    """The mean curves of an arm, called as those of a run."""
    names = {name: name for name in ("accuracy", "macro_f1", "minority_f1")} | {"calibration_error": "ece"}
    for curve, name in names.items():
        means = zip(arm["labels"], arm[name], strict=True)
        yield from (tracking.Point(curve, step, mean) for step, mean in means if mean is not None)


def _draw(arms: list[dict[str, Any]], path: Path, title: str, names: Mapping[str, str]) -> None:
    several = len({arm["learner"] for arm in arms}) > 1
    curves, levels = [], {}
    for arm in arms:
        name = names[arm["strategy"]]
        name = f"{names[arm['learner']]} · {name}" if several else name
        if arm["strategy"] == FULL:
            levels[name] = arm["final_accuracy"]
            continue
        pairs = [(mean, half or 0) for mean, half in zip(arm["accuracy"], arm["half_width"], strict=True)]
        low = [max(mean - half, 0.0) for mean, half in pairs]  # of two seeds an interval may be wider than all there is
        high = [min(mean + half, 1.0) for mean, half in pairs]
        curves.append(Series(name, arm["labels"], arm["accuracy"], low, high))
    draw(curves, path, title, "mean test accuracy", levels)


def _names(summary: dict[str, Any]) -> dict[str, str]:
    """What learners and strategies are called: by their words without the folders of files, where that is one's own."""
    words = {arm[part] for arm in summary["arms"] for part in ("learner", "strategy")}
    short = {word: re.sub("[^,=]*/", "", word) for word in words}
    often = Counter(short.values())
    return {word: name if often[name] == 1 else word for word, name in short.items()}


def _labels(arm: dict[str, Any]) -> str:
    return "never" if arm["labels_to_target"] is None else f"{arm['labels_to_target']:.0f}"


def _points(difference: dict[str, Any] | None) -> str:
    """A difference in percentage points, its interval, and Holm's p."""
    if difference is None:
        return ""
    text = f"{100 * difference['mean']:+.1f}"
    if difference["low"] is not None:
        text += f" [{100 * difference['low']:+.1f}, {100 * difference['high']:+.1f}]"
    return text + (f" p {difference['p_holm']:.3f}" if difference.get("p_holm") is not None else "")


def _plus_minus(half: float | None) -> str:
    return "" if half is None else f" ±{100 * half:.1f}"


def _aligned(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
