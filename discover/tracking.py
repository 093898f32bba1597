"""Event files for TensorBoard: scores of a campaign by labels, loss of a training by step.

A file is a function of the points that it shows, in their order, and only grows: what stands there is the beginning of
what shall, and what is missing is appended. So a TensorBoard that looks on sees every new point, a killed run that goes
on repeats none, and a record that was half written is completed. Where a file is not such a beginning, a training that
starts over, it is written anew. TensorBoard's own writer (`torch.utils.tensorboard`) cannot look back, and loads torch.
"""

import io
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from discover.errors import DiscoverError
from discover.run import publish

FILE = "events.out.tfevents.0000000000.discover"  # TensorBoard knows it by the middle part
VERSION = "brain.Event:2"


class Point(NamedTuple):
    """One value of a curve: the curve's name, where it is on the x axis, and the second (Unix time) it is of."""

    curve: str
    step: int
    value: float
    second: float = 0.0


def write(folder: Path, points: Iterable[Point]) -> None:
    """Let a folder's event file show these points: what it lacks is appended.

    Args:
        folder: one run in TensorBoard, which calls it by its path.
        points: all that are known, each time in the same order.

    Raises:
        DiscoverError: it cannot be written.
    """
    wanted, path = _records(points), folder / FILE
    try:
        there = path.read_bytes() if path.is_file() else b""
        if there and wanted.startswith(there):
            with path.open("ab") as handle:
                handle.write(wanted[len(there) :])
            return
        folder.mkdir(parents=True, exist_ok=True)
        with publish(path) as scratch:
            scratch.write_bytes(wanted)
    except OSError as error:
        raise DiscoverError(
            f"{path} cannot be written ({error.strerror or error}): make room there, then give the same command again"
        ) from error


def forget_from(folder: Path, step: int) -> None:
    """Have TensorBoard drop what older event files of a folder, another program's, show of this step and later ones."""
    last = max((path for path in folder.glob("*tfevents*")), default=None)
    if last is not None:  # files are read in order of name, which begins with the second that they were begun in
        log = Event(wall_time=time.time(), step=step, session_log=SessionLog(status=SessionLog.START))
        last.with_name(f"{last.name}.forget").write_bytes(_framed([log]))


def of_rounds(rows: Iterable[Mapping[str, Any]], seconds: Mapping[str, float]) -> Iterator[Point]:
    """The curves of an arm.

    Args:
        rows: its rows of metrics.jsonl, by round.
        seconds: when each model was made, by version.
    """
    for row in rows:
        values = {score: row.get(score) for score in ("accuracy", "entity_f1", "micro_f1", "macro_f1")}
        values["calibration_error"] = row.get("ece")
        values |= {"accuracy_low": row.get("low"), "accuracy_high": row.get("high"), "pool": row.get("pool")}
        values["audit_accuracy"] = (row.get("audit") or {}).get("accuracy")
        values |= {f"seconds/{stage}": spent for stage, spent in (row.get("seconds") or {}).items()}
        second = seconds.get(row.get("model") or "", 0.0)
        yield from (Point(curve, row["labels"], float(v), second) for curve, v in values.items() if v is not None)


def of_training(steps: Iterable[tuple[float, float]]) -> Iterator[Point]:
    """The curves of a fine-tuning: its loss and learning rate at each step."""
    second = time.time()
    for step, (loss, rate) in enumerate(steps):
        yield Point("loss", step, loss, second)
        yield Point("learning_rate", step, rate, second)


def _records(points: Iterable[Point]) -> bytes:
    def event(point: Point) -> Any:
        shown = Summary(value=[Summary.Value(tag=point.curve, simple_value=point.value)])
        return Event(wall_time=point.second, step=point.step, summary=shown)

    return _framed(map(event, points))


def _framed(events: Iterable[Any]) -> bytes:
    """Events as TensorBoard's records, after the one that names the format."""
    buffer = io.BytesIO()
    writer = RecordWriter(buffer)
    writer.write(Event(file_version=VERSION).SerializeToString())
    for event in events:
        writer.write(event.SerializeToString())
    return buffer.getvalue()
