"""Off-policy evaluation of a file: read it for a target policy, judge that policy. What `discover ope` does, in Python.

from discover.ope.offline import ope

found = ope("runs/mine", "uniform")
for estimate in found.estimates:
    print(estimate.estimator, estimate.value, estimate.low, estimate.high, estimate.verdict)
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from discover.errors import DiscoverError
from discover.ope.evaluation import Evaluation, Settings, evaluate
from discover.ope.feedback import Feedback
from discover.ope.logs import files_of, read_log
from discover.ope.table import read_table


def ope(
    log: Path | str,
    target: str,
    *,
    columns: Mapping[str, str] | None = None,
    estimators: Sequence[str] = (),
    reward: str = "",
    settings: Settings | None = None,
) -> Evaluation:
    """Judge a target policy from a log.

    Args:
        log: a decision log, a run folder, or a folder of them; or a table, CSV, JSONL or Parquet.
        target: as `--target`.
        columns: of a table, what it calls each role.
        estimators: their words, or one; by default all that apply.
        reward: of a decision log, pick or query; by default pick where any pick has one.
        settings: of the intervals.

    Raises:
        DiscoverError: the log, the target or an estimator does not fit; it says which row and field.
    """
    feedback, notes = read(Path(log), target, columns or {}, reward)
    found = evaluate(feedback, estimators, settings)
    return replace(found, notes=tuple(notes))


def read(log: Path, target: str, columns: Mapping[str, str], reward: str = "") -> tuple[Feedback, list[str]]:
    """The feedback of a log for a target, and notes of how it was read.

    Raises:
        DiscoverError: as of `ope`.
    """
    files = files_of(log)
    if files and columns:
        raise DiscoverError(
            f"--columns are those of a table, and {log} is a decision log, whose are known: leave it out"
        )
    if files:
        return read_log(files, target, reward)
    if log.is_dir() or not log.exists():
        raise DiscoverError(f"{log} must be a decision log, a run folder or a table, found none: check the name")
    if reward:
        raise DiscoverError(f"--reward chooses between rewards of a decision log, and {log} is a table: leave it out")
    return read_table(log, target, columns)
