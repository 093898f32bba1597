"""report.html: one self-contained page that shows how a run went, and learning_curve.png beside it.

No script, nothing loaded from elsewhere; every text that was crawled, typed or configured is escaped by the template.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from discover import __version__, plugins, values
from discover.db import Database
from discover.evaluate import charts, curves, evidence, explained
from discover.evaluate.curves import Series
from discover.evaluate.evidence import Arm
from discover.evaluate.metrics import error_by_chance, reliability
from discover.evaluate.verdict import headline, needs_phrase, points, single_line, summary_line
from discover.pool import spans
from discover.pool.answers import agree
from discover.pool.labels import Task, labels_of
from discover.run import RunFolder, publish
from discover.strict import Strict

EXCERPT = 280
MARKED = 900  # characters of an explained text
STATES = {
    "pool": "in the pool",
    "found": "found, not yet taken in",
    "duplicate": "near-duplicates",
    "aside": "set aside",
}


def write(
    run: RunFolder,
    database: Database,
    config: Strict,
    examples: Sequence[dict[str, Any]] = (),
    to: RunFolder | None = None,
) -> Path:
    """Write ``report.html``, and ``learning_curve.png`` where a round has a score.

    Args:
        run: where the decisions' arrays lie.
        database: of the run; it is only read.
        config: the run's whole config.
        examples: predictions to show, explained as in `discover.evaluate.explained`, each with its `text`, what
            was `predicted`, how `likely` that is, its `answer`, and whether both are the same (`right`).
        to: the folder for both files, in their names of a run folder; by default the run's own.

    Returns:
        The path of the page.
    """
    to = to or run
    to.root.mkdir(parents=True, exist_ok=True)
    settings = config.model_dump()
    arms = _arms(database, settings)
    accuracy = [_series(arm, "accuracy") for arm in arms]
    if any(one.labels for one in accuracy):
        score = "test accuracy" if any(len(arm.truth) for arm in arms) else "audited accuracy"
        curves.draw(accuracy, to.learning_curve, settings["name"], score)
    content = _content(run, database, settings, arms) | {
        "examples": [_marked(one, settings["label"]["task"]) for one in examples]
    }
    page = _environment().get_template("report.html").render(content)
    with publish(to.report) as scratch:
        scratch.write_text(page, encoding="utf-8")
    return to.report


def _arms(database: Database, settings: dict[str, Any]) -> list[Arm]:
    label = settings["label"]
    return evidence.read_arms(database, _arm_order(settings), len(label["classes"]), label["budget"])


def verdict(database: Database, config: Strict) -> str:
    """The last line of a run: what the strategy gained over the control, or where a single arm stands."""
    settings = config.model_dump()
    arms = _arms(database, settings)
    compared = evidence.comparisons(arms)
    if compared:
        return summary_line(compared[0])
    return single_line(arms[0].last if arms else None)


def _content(run: RunFolder, database: Database, settings: dict[str, Any], arms: list[Arm]) -> dict[str, Any]:
    compared = evidence.comparisons(arms)
    classes = list(settings["label"]["classes"])
    labels = labels_of(settings["label"]["task"], classes)
    return {
        "name": settings["name"] or run.root.name,
        "question": settings["label"]["question"],
        "multilabel": settings["label"]["task"] == "multilabel",
        "spans": settings["label"]["task"] == "spans",
        "classes": classes,
        "headline": headline(compared[0]) if compared else "",
        "verdict": summary_line(compared[0]) if compared else single_line(arms[0].last if arms else None),
        "comparisons": [{"of": one, "needs": needs_phrase(one)} for one in compared],
        "arms": arms,
        "budget": settings["label"]["budget"],
        "paid": evidence.paid(database, arms[0].name) if arms else 0,
        "charts": _charts(arms),
        "per_class": _per_class(arms, classes),
        "by_chance": error_by_chance(arms[0].confidence) if arms else 0.0,
        "tested": any(len(arm.truth) for arm in arms),
        "confused_pairs": [
            (index, arm.name, pairs) for index, arm in enumerate(arms) if (pairs := evidence.confused(arm, classes))
        ],
        "asked": [
            (index, name, picks)
            for index, name in enumerate(_arm_order(settings, found=arms))
            if (picks := evidence.asked(database, run, name))
        ],
        "spoken": lambda kept, text: ", ".join(labels.spoken(kept, text)),
        "stages": _stages(arms),
        "pool": (pool := evidence.pool_counts(database)),
        "texts": {STATES.get(state, state): n for state, n in pool["states"].items()},
        "version": __version__,
        "settings": _shown(settings),
    }


def _charts(arms: list[Arm]) -> dict[str, Markup | None]:
    """Each chart that there is something to draw for."""
    scores = {"accuracy": "Accuracy", "entity_f1": "Entity F1", "micro_f1": "Micro-F1", "macro_f1": "Macro-F1"}
    scores["ece"] = "Calibration error"
    drawn: dict[str, Markup | None] = dict.fromkeys((*scores, "estimates", "reliability", "time"))
    for key, score in scores.items():
        series = [_series(arm, key) for arm in arms]
        if any(one.labels for one in series):
            drawn[key] = charts.learning_curve(series, score)
    estimates = [row for index, arm in enumerate(arms) for row in _estimates(index, arm)]
    if estimates:
        drawn["estimates"] = charts.whiskers(estimates)
    arm = arms[0] if arms else None
    if arm and len(arm.confidence):
        bins = reliability(arm.confidence, agree(arm.predictions[max(arm.predictions)], arm.truth))
        drawn["reliability"] = charts.reliability_diagram([(one.confidence, one.accuracy, one.n) for one in bins])
    timed = [(f"{row['round']} · {arm.name}", row["seconds"]) for arm in arms for row in arm.rows if row.get("seconds")]
    if timed:
        drawn["time"] = charts.stacked_bars(timed, _stages(arms))
    return drawn


def _marked(example: dict[str, Any], task: Task) -> dict[str, Any]:
    reasons = explained.shown(example, MARKED, task == "multilabel")
    if task == "spans":
        said = {name: spans.pieces(example["text"], example[name], MARKED) for name in ("predicted", "answer")}
        return {**example, **said, "reasons": reasons}
    return {
        **example,
        **{name: explained.spoken(example[name]) for name in ("predicted", "answer")},
        "reasons": reasons,
    }


def _series(arm: Arm, key: str) -> Series:
    """A score by round; only accuracy has an interval.

    Rounds from before test documents were imported were judged by audits, which is another figure: they are left out.
    """
    source = "test" if arm.truths else "audit"
    rows = [row for row in arm.rows if row.get(key) is not None and row["source"] == source]
    score = [row[key] for row in rows]
    low, high = (([row[end] for row in rows] if key == "accuracy" else score) for end in ("low", "high"))
    return Series(arm.name, [arm.spent(row) for row in rows], score, low, high, arm.unit)


def _estimates(index: int, arm: Arm) -> list[tuple[str, int, float, float, float]]:
    """The last round's accuracy on the test set, and what the audit sample says of all that was never asked about."""
    row = arm.last or {}
    audit = row.get("audit") or {}
    found = []
    if row.get("source") == "test" and row.get("accuracy") is not None:
        found.append((f"{arm.name}, test ({len(arm.truth)})", index, row["accuracy"], row["low"], row["high"]))
    if audit.get("n"):
        found.append((f"{arm.name}, audit ({audit['n']})", index, audit["accuracy"], audit["low"], audit["high"]))
    return found


def _per_class(arms: list[Arm], classes: Sequence[str]) -> list[dict[str, Any]]:
    """A row a class, the most frequent first, with each arm's scores in its last round; () where there are none."""
    tables = [(arm.last or {}).get("per_class") or {} for arm in arms]
    if not any(tables):
        return []
    names = [*classes, *sorted({name for table in tables for name in table} - set(classes))]
    rows = [
        {
            "name": name,
            "support": int(max(table.get(name, {}).get("support", 0) for table in tables)),
            "arms": [table.get(name) for table in tables],
        }
        for name in names
    ]
    most = max(row["support"] for row in rows) or 1
    return sorted(({**row, "share": row["support"] / most} for row in rows), key=lambda row: -row["support"])


def _stages(arms: list[Arm]) -> list[str]:
    """Every stage that took time, in the order of first appearance."""
    return list(dict.fromkeys(stage for arm in arms for row in arm.rows for stage in row.get("seconds") or {}))


def _arm_order(settings: dict[str, Any], found: Sequence[Arm] = ()) -> list[str]:
    """The arms of the config, preceded by those that were measured, so that colours agree all over the page."""
    words = settings["loop"]["arms"] or [settings["query"]["strategy"]]
    return list(dict.fromkeys([*(arm.name for arm in found), *map(plugins.name_of, words)]))


def _shown(settings: dict[str, Any]) -> str:
    """The settings as YAML, without the database's password."""
    address = settings["pool"]["url"]
    try:
        address = make_url(address).render_as_string(hide_password=True) if address else address
    except ArgumentError:
        address = "(not shown)"
    shown = {**settings, "pool": {**settings["pool"], "url": address}}
    return values.render(shown, width=110)


def _excerpt(text: str, limit: int = EXCERPT) -> str:
    """The beginning of a text on one line."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("discover.evaluate", ""),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=lambda value, digits=1: "–" if value is None else f"{value:.{digits}%}",
        number=lambda value, digits=2: "–" if value is None or np.isnan(value) else f"{value:,.{digits}f}",
        excerpt=_excerpt,
        points=points,
    )
    return environment
