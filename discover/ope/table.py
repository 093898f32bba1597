"""A logged bandit in a plain table, CSV, JSONL or Parquet, with named columns, as feedback; and feedback as a table.

A row is a pick. Columns: `action` (a label), `reward`, `propensity`; where there are any `position`, `unit` (campaign),
`step` (round), `batch` (query), `time`, and `context` (several: ``a+b`` or ``user_*``; of lists a number is a column,
of words a word).
The target is ``uniform``; a column with its probability of the logged action, or with a list of them for actions
numbered from 0; several columns, ``target_*``, in that order; or a file: `action`, `probability` and, where it matters,
`position`. Rows of a `batch` were drawn without replacement: there ``uniform``, and a file without `position`, say the
first draw, and each further draw is among what is left; columns are on those terms already. Rows are counted from 1,
without a header.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover.errors import DiscoverError
from discover.ope.columns import Columns, missing
from discover.ope.feedback import SUM_TOLERANCE, Feedback, Floats
from discover.pool.files import export_rows

LEVELS = 50  # of a word-valued context: the rest is one more
CELLS = 200_000_000  # rows times actions: 1.6 GB, several times over


def read_table(path: Path, target: str, columns: Mapping[str, str] | None = None) -> tuple[Feedback, list[str]]:
    """Read a table for one target policy.

    Args:
        path: the table.
        target: uniform, a column or several, or a file of probabilities.
        columns: what the table calls each of its columns.

    Returns:
        The feedback, and notes.

    Raises:
        DiscoverError: a file, row or field is not as it must be; it says which.
    """
    table = Columns.read(path, columns or {})
    labels = table.labels("action")
    fields: dict[str, Any] = {name: table.codes(name) for name in ("unit", "batch") if name in table}
    fields |= {name: table.order(name) for name in ("step", "position", "time") if name in table}
    if "position" in table and "batch" not in table:
        fields["batch"] = np.arange(len(table))
    notes: list[str] = []
    if "context" in table:
        fields["contexts"] = _contexts(table, notes)
    actions, more, k = _target(table, labels, target)
    fields |= {"actions": actions, **more}
    fields |= {"rewards": table.numbers("reward"), "propensities": table.numbers("propensity")}
    try:
        feedback = Feedback(**fields)
    except DiscoverError as error:
        raise DiscoverError(f"{path}: {error}") from error
    return feedback, [*notes, *([f"actions: {k}"] if k else [])]


def write_table(feedback: Feedback, path: Path) -> None:
    """Write feedback as a table that `read_table` reads with ``--target target``.

    Left out: features, the mask, predictions, the behaviour's other probabilities, those of sets and of other rows'
    actions, and what was drawn but has no row.

    Raises:
        DiscoverError: rewards are of whole batches, the kind of file is unknown, or it cannot be written.
    """
    feedback.check_own_rewards("a table")
    export_rows(_rows(feedback), path)


def _rows(feedback: Feedback) -> Iterator[dict[str, Any]]:
    names = ("position", "unit", "step", "batch", "time")
    contexts = feedback.contexts if feedback.contexts is not None else np.empty((len(feedback), 0))
    for row in range(len(feedback)):
        yield {
            "action": int(feedback.actions[row]),
            "reward": float(feedback.rewards[row]),
            "propensity": float(feedback.propensities[row]),
            "target": float(feedback.targets[row]) if feedback.target is None else feedback.target[row].tolist(),
            **{name: int(feedback.of(name)[row]) for name in names},
            **{f"context_{index}": float(value) for index, value in enumerate(contexts[row])},
        }


def _target(table: Columns, labels: NDArray[np.str_], word: str) -> tuple[NDArray[np.int64], dict[str, Floats], int]:
    """(n,) numbers of the actions, the target's fields, and how many actions there are, 0 where that is unknown."""
    if word == "uniform":
        actions, codes = np.unique(labels, return_inverse=True)
        _check_size(table, len(actions))
        target = np.full((len(table), len(actions)), 1 / len(actions))
        return codes, {"target": _draw_by_draw(table, codes, target)}, len(actions)
    if word.lower().removesuffix(".gz").endswith((".csv", ".jsonl", ".parquet")):
        return _from_file(table, labels, Path(word))
    names = table.expand(table.names.get("target", word) if word == "target" else word, ordered=True)
    if len(names) > 1:
        probabilities = np.column_stack([table.numbers_of(name) for name in names])
    else:
        lists = table.lists_of(names[0])
        if lists is None:
            return np.unique(labels, return_inverse=True)[1], {"target_propensities": table.numbers_of(names[0])}, 0
        probabilities = lists
    return _numbered(table, labels, probabilities.shape[1]), {"target": probabilities}, probabilities.shape[1]


def _numbered(table: Columns, labels: NDArray[np.str_], k: int) -> NDArray[np.int64]:
    """(n,) actions that are numbers already, since the target's probabilities are in their order."""
    for row, label in enumerate(labels, start=1):
        if not label.isdecimal() or int(label) >= k:
            raise DiscoverError(
                f"{table.path}, row {row}: {table.names.get('action', 'action')} must be a number from 0 to {k - 1}, "
                f"as the target gives {k} probabilities, found {str(label)!r}: number the actions in their order"
            )
    return labels.astype(np.int64)


def _from_file(
    table: Columns, labels: NDArray[np.str_], path: Path
) -> tuple[NDArray[np.int64], dict[str, Floats], int]:
    """The target's probabilities by action, and by position where the file has it."""
    policy = Columns.read(path, {}, ("action", "probability"))
    known, probabilities = policy.labels("action"), policy.numbers("probability")
    bad = np.flatnonzero(~((probabilities >= 0) & (probabilities <= 1 + SUM_TOLERANCE)))
    if len(bad):
        raise DiscoverError(
            f"{path}, row {bad[0] + 1}: probability must be in [0, 1], found {probabilities[bad[0]]:g}: mend the row"
        )
    actions = np.unique(np.concatenate([known, labels]))
    _check_size(table, len(actions))
    by_place = "position" in policy
    places = policy.labels("position") if by_place else np.full(len(known), "")
    at = table.labels("position") if by_place else np.full(len(labels), "")
    rows, given = {place: np.zeros(len(actions)) for place in places}, set()
    for row, key in enumerate(zip(places, known, strict=True), start=1):
        if key in given:
            raise DiscoverError(f"{path}, row {row}: the action {str(key[1])!r} stands there twice: leave one out")
        given.add(key)
        rows[key[0]][np.searchsorted(actions, key[1])] = probabilities[row - 1]
    for place, wanted in rows.items():
        if abs(wanted.sum() - 1) > SUM_TOLERANCE:
            where = f" at position {place}" if by_place else ""
            raise DiscoverError(
                f"{path}: the probabilities must sum to 1{where}, found {wanted.sum():.6g}: add the actions that are "
                "missing, or divide each by their sum"
            )
    for row, place in enumerate(at, start=1):
        if place not in rows:
            raise DiscoverError(
                f"{table.path}, row {row}: position {place} is not in {path}, which has {', '.join(rows)}: add it there"
            )
    target, codes = np.array([rows[place] for place in at]), np.searchsorted(actions, labels)
    return codes, {"target": target if by_place else _draw_by_draw(table, codes, target)}, len(actions)


def _check_size(table: Columns, k: int) -> None:
    if len(table) * k > CELLS:
        raise DiscoverError(
            f"{table.path} has {len(table):,} rows of {k:,} actions, and at most {CELLS:,} cells fit in memory: take a "
            "column with the target's probability of the logged action, or judge a part of the log"
        )


def _draw_by_draw(table: Columns, actions: NDArray[np.int64], target: Floats) -> Floats:
    """(n, k) probabilities of each draw, given the picks before it in its batch, from those of a first draw.

    Even among what is left where the target has nothing there.
    """
    if "batch" not in table:
        return target
    batch, rows = table.codes("batch"), np.arange(len(table))
    order = np.lexsort([table.order("position") if "position" in table else rows, batch])
    starts = np.r_[True, np.diff(batch[order]) != 0]
    place = rows - np.maximum.accumulate(np.where(starts, rows, 0))
    left = np.ones(target.shape, bool)
    for earlier in range(1, int(place.max()) + 1):
        after = np.flatnonzero(place >= earlier)
        left[order[after], actions[order[after - earlier]]] = False
    again = np.flatnonzero(~left[rows, actions])
    if len(again):
        raise DiscoverError(
            f"{table.path}, row {again[0] + 1}: an action must be only once in a batch, whose rows are drawn without "
            "replacement, and this one is there again: name the column as `unit` instead"
        )
    later = order[place > 0]
    shares = np.where(left, target, 0)[later]
    shares = np.where(shares.any(axis=1, keepdims=True), shares, left[later])
    given = target.copy()
    given[later] = shares / shares.sum(axis=1, keepdims=True)
    return given


def _contexts(table: Columns, notes: list[str]) -> Floats:
    """(n, p) numbers and lists of them as they are, words as one column a word.

    What is missing among numbers is nan, and a level of its own among words. Of words among numbers a note is made.
    """
    parts = []
    for name in table.expand(table.names["context"], ordered=False):
        values, lists = table.column(name), table.lists_of(name)
        if lists is not None:
            parts.append(lists)
            continue
        numbers = [np.nan if missing(value) else _float(value) for value in values]
        strange = [row for row, number in enumerate(numbers, start=1) if number is None]
        if not strange:
            parts.append(np.array(numbers, np.float64)[:, None])
        else:
            if len(strange) < len(values) / 2:
                told = f"{name} is taken for words, as row {strange[0]} has {values[strange[0] - 1]!r:.40}"
                notes.append(f"context: {told}, among numbers ({len(strange)} such rows)")
            words = np.array([str(value) for value in values])
            levels, counts = np.unique(words, return_counts=True)
            common = levels[np.argsort(-counts, kind="stable")[: min(LEVELS, len(levels) - 1)]]  # the last is the rest
            parts.append((words[:, None] == common).astype(np.float64))
    return np.hstack(parts)


def _float(value: Any) -> float | None:
    """A cell's number; None where it is none."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None
