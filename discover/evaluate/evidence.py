"""What a run left in its database, gathered for the report: courses of the arms, what was asked and why, the pool."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import exp, inf
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, func, select

from discover.db import Database
from discover.errors import DiscoverError
from discover.evaluate.compare import Comparison, Course, compare
from discover.evaluate.metrics import confusion
from discover.pool.answers import agree, from_json
from discover.query.decisions import read_arrays
from discover.query.strategy import CONTROL
from discover.run import RunFolder
from discover.tables import REMOVED, document, metric, pick, query, rejection, slot, source, step, url

# The bootstrap of one run's report: a fixed stream, so that the same database gives the same page.
BOOTSTRAP_SEED = 20


@dataclass(frozen=True)
class Arm:
    """One arm of a run.

    Attributes:
        name: the strategy's word.
        rows: its lines of metrics, by round.
        predictions: (n,) class indices of the test documents, for the rounds that have them; of several labels (n, c)
            0 and 1.
        confidence: (n,) probabilities of the last of those rounds' predictions; empty where the loop keeps none.
        truths: the answers about the same documents and rounds, likewise; n grows when test documents are imported.
        budget: what may be spent; the last question of a budget in words may go over it.
    """

    name: str
    rows: list[dict[str, Any]]
    predictions: dict[int, NDArray[np.int64]] = field(default_factory=dict)
    confidence: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    truths: dict[int, NDArray[np.int64]] = field(default_factory=dict)
    budget: float = inf

    @property
    def unit(self) -> str:
        """What is paid in: labels, or the words of their texts."""
        return "words" if self.rows and "words" in self.rows[-1] else "labels"

    def spent(self, row: Mapping[str, Any]) -> float:
        """What a line of metrics was learned from: labels, imported ones too; or the words paid for, of the budget."""
        return row["labels"] if self.unit == "labels" else min(row["words"], self.budget)

    @property
    def last(self) -> dict[str, Any] | None:
        """The newest line of metrics."""
        return self.rows[-1] if self.rows else None

    @property
    def truth(self) -> NDArray[np.int64]:
        """The n answers about the last round's test documents; empty without a test set."""
        return self.truths[max(self.truths)] if self.truths else np.empty(0, np.int64)

    def course(self, truth: NDArray[np.int64]) -> Course | None:
        """Correctness by round, of the rounds with this test set, None where there are none.

        Of rounds that had spent the same the last counts.
        """
        alike = {round_ for round_, own in self.truths.items() if np.array_equal(own, truth)}
        by_spent = {self.spent(row): self.predictions[row["round"]] for row in self.rows if row["round"] in alike}
        if not by_spent:
            return None
        spent = sorted(by_spent)
        correct = np.stack([agree(by_spent[count], truth) for count in spent])
        return Course(self.name, np.array(spent, np.int64), correct, self.unit)


def read_arms(database: Database, order: Sequence[str], c: int = 0, budget: float = inf) -> list[Arm]:
    """The arms with at least one measured round: those of the config in its order, then others by name.

    Args:
        database: of the run.
        order: of the arms, in the config.
        c: classes; asked for only where documents have several labels.
        budget: of each arm.
    """
    measured = select(metric.c.arm, metric.c.row).order_by(metric.c.round)
    outputs = select(step.c.arm, step.c.round, step.c.output).where(step.c.step == "evaluate").order_by(step.c.round)
    arms: dict[str, Arm] = {}
    with database.read() as connection:
        for name, row in connection.execute(measured):
            arms.setdefault(name, Arm(name, [], budget=budget)).rows.append(row)
        for name, round_, output in connection.execute(outputs):
            if name in arms and output.get("truth"):
                arms[name] = _with_predictions(arms[name], round_, output, c)
    place = {name: index for index, name in enumerate(order)}
    return sorted(arms.values(), key=lambda arm: (place.get(arm.name, len(place)), arm.name))


def comparisons(arms: Sequence[Arm]) -> list[Comparison]:
    """Every other arm against the control, which is `random` where it took part, else the last arm."""
    tested = [arm for arm in arms if arm.truths]
    if not tested:
        return []
    # An arm may be a round ahead, with a larger test set: what the last one was tested on, the others were too.
    truth = min(tested, key=lambda arm: max(arm.truths)).truth
    courses = {arm.name: course for arm in tested if (course := arm.course(truth)) is not None}
    if len(courses) < 2:
        return []
    control = courses.pop(CONTROL) if CONTROL in courses else courses.pop(next(reversed(courses)))
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    return [
        compare(course, control, rng)
        for course in courses.values()
        if max(course.labels[0], control.labels[0]) <= min(course.labels[-1], control.labels[-1])
    ]


def confused(arm: Arm, classes: Sequence[str], limit: int = 12) -> list[dict[str, Any]]:
    """The pairs of classes that the last round confused most: true class, what it was taken for, how often.

    None where documents have several labels, or spans: one that is missing is in nobody's place.
    """
    if not arm.predictions or arm.truth.ndim == 2 or arm.truth.dtype == object:
        return []
    table = confusion(arm.predictions[max(arm.predictions)], arm.truth, len(classes))
    np.fill_diagonal(errors := table.copy(), 0)
    pairs = sorted(zip(*np.nonzero(errors), strict=True), key=lambda pair: (-errors[pair], pair))
    return [
        {
            "truth": classes[i],
            "taken_for": classes[j],
            "count": int(errors[i, j]),
            "share": float(errors[i, j] / table[i].sum()),
        }
        for i, j in pairs[:limit]
    ]


def asked(database: Database, folder: RunFolder, arm: str, each: tuple[int, int] = (5, 2)) -> list[dict[str, Any]]:
    """For each round of an arm: how it chose, and its first picks, at most ``each`` (policy, audit), with reasons."""
    with database.read() as connection:
        rounds = connection.execute(select(query).where(query.c.arm == arm).order_by(query.c.round)).mappings().all()
        return [
            {**row, "picks": _picks(connection, row, folder.decision_arrays / f"{row['id']}.safetensors", each)}
            for row in rounds
        ]


def paid(database: Database, arm: str) -> int:
    """What an arm's answers have cost, of its budget; labels that were imported cost nothing."""
    with database.read() as connection:
        return int(connection.execute(select(func.sum(slot.c.cost)).where(slot.c.arm == arm)).scalar() or 0)


def pool_counts(database: Database) -> dict[str, Any]:
    """What was found and what became of it: documents by state and split, rejections and pages by reason."""
    with database.read() as connection:

        def counts(column: Any, *where: Any) -> dict[str, int]:
            grouped = select(column, func.count()).where(*where).group_by(column).order_by(func.count().desc(), column)
            return {str(key): int(n) for key, n in connection.execute(grouped)}

        return {
            "states": counts(document.c.state),
            "splits": counts(document.c.split, document.c.state == "pool"),
            "aside": counts(document.c.reason, document.c.state == "aside"),
            "rejections": counts(rejection.c.reason),
            "pages": counts(url.c.state),
            "sources": int(connection.execute(select(func.count()).select_from(source)).scalar() or 0),
        }


def _with_predictions(arm: Arm, round_: int, output: dict[str, Any], c: int) -> Arm:
    return replace(
        arm,
        predictions={**arm.predictions, round_: from_json(output["predictions"], c)},
        confidence=np.asarray(output.get("confidence") or [], np.float64),
        truths={**arm.truths, round_: from_json(output["truth"], c)},
    )


def _picks(connection: Connection, row: Any, arrays: Path, each: tuple[int, int]) -> list[dict[str, Any]]:
    """The first picks of each kind, with what the model thought of them when they were picked."""
    features = candidate_features(arrays)
    wanted = (
        select(pick, document.c.public_id, document.c.title, document.c.text, slot.c.label, slot.c.state)
        .join(document, document.c.id == pick.c.document_id)
        .outerjoin(slot, (slot.c.document_id == pick.c.document_id) & (slot.c.arm == row["arm"]))
        .where(pick.c.query_id == row["id"], document.c.state != REMOVED)
        .order_by(pick.c.position)
    )
    shown: dict[str, list[dict[str, Any]]] = {}
    for found in connection.execute(wanted).mappings():
        kind = shown.setdefault(found["kind"], [])
        if len(kind) < each[found["kind"] == "audit"]:
            kind.append({**found, **_chance(row, found), **features.get(found["public_id"], {})})
    return [entry for kind in shown.values() for entry in kind]


def _chance(row: Any, found: Any) -> dict[str, float | None]:
    """The probability of a pick given those before it, and how many times that of a uniform draw it is."""
    chance = exp(found["log_propensity"])
    left = max(1, row["candidates"] - found["position"])
    return {"chance": chance, "times": chance * left if found["kind"] != "audit" else None}


def candidate_features(arrays: Path) -> dict[str, dict[str, float]]:
    """A decision's features by public id; empty where the file is missing or damaged: the report does without."""
    try:
        opened, metadata = read_arrays(arrays)
    except DiscoverError:
        return {}
    names = metadata.get("features", "").split(",")
    return {
        bytes(public_id).hex(): dict(zip(names, map(float, line), strict=False))
        for public_id, line in zip(opened["public_ids"], opened["features"], strict=True)
    }
