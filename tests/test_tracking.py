"""Event files, read back as TensorBoard reads them: no point is lost, doubled or out of order, whatever is killed."""

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from discover import tracking
from discover.errors import DiscoverError
from discover.tracking import FILE, Point
from tests.conftest import room_for

ROUNDS = [Point(curve, 50 * n, n / 10, 1e9 + n) for n in range(4) for curve in ("accuracy", "macro_f1")]


def shown(folder, curve: str) -> list[tuple[int, float, float]]:
    points = EventAccumulator(str(folder)).Reload().Scalars(curve)
    return [(point.step, pytest.approx(point.value), point.wall_time) for point in points]


def test_what_is_written_is_shown(tmp_path):
    tracking.write(tmp_path / "runs" / "auto", ROUNDS)
    assert EventAccumulator(str(tmp_path / "runs" / "auto")).Reload().Tags()["scalars"] == ["accuracy", "macro_f1"]
    assert shown(tmp_path / "runs" / "auto", "macro_f1") == [(50 * n, n / 10, 1e9 + n) for n in range(4)]


def test_a_file_only_grows_and_a_record_cut_short_is_completed(tmp_path):
    path = tmp_path / FILE
    tracking.write(tmp_path, ROUNDS[:4])
    some, place = path.read_bytes(), path.stat().st_ino
    tracking.write(tmp_path, ROUNDS)
    whole = path.read_bytes()
    assert whole.startswith(some) and path.stat().st_ino == place, "one who reads it goes on reading it"
    for length in (0, 5, len(some) - 3, len(whole) - 1, len(whole)):
        path.write_bytes(whole[:length])
        tracking.write(tmp_path, ROUNDS)
        assert path.read_bytes() == whole


def test_a_training_that_starts_over_is_shown_alone(tmp_path):
    tracking.write(tmp_path, [Point("loss", step, 9.0, 1.0) for step in range(5)])
    tracking.write(tmp_path, [Point("loss", step, 3.0, 2.0) for step in range(2)])
    assert shown(tmp_path, "loss") == [(0, 3.0, 2.0), (1, 3.0, 2.0)]


def test_what_another_program_wrote_can_be_forgotten(tmp_path):
    with SummaryWriter(str(tmp_path)) as killed:
        for step in range(8):
            killed.add_scalar("reward", 1.0, step)
    begun = next(tmp_path.iterdir())
    begun.rename(begun.with_name(f"events.out.tfevents.1000000000.{begun.name}"))  # some time ago
    tracking.forget_from(tmp_path, 5)
    with SummaryWriter(str(tmp_path)) as resumed:
        for step in range(5, 10):
            resumed.add_scalar("reward", 2.0, step)
    assert [point[:2] for point in shown(tmp_path, "reward")] == [(step, 1.0 + (step >= 5)) for step in range(10)]


def test_rounds_become_curves_by_labels(tmp_path):
    row = {"labels": 40, "accuracy": 0.5, "macro_f1": None, "ece": 0.1, "low": 0.4, "high": 0.6, "pool": 900}
    row |= {"audit": {"n": 9, "accuracy": 0.6}, "seconds": {"teach": 5.5}, "model": "auto-0001"}
    found = list(tracking.of_rounds([row, row | {"labels": 60, "audit": None, "micro_f1": 0.7}], {"auto-0001": 7.0}))
    assert {point.curve for point in found} == {
        "accuracy",
        "accuracy_low",
        "accuracy_high",
        "audit_accuracy",
        "calibration_error",
        "micro_f1",
        "pool",
        "seconds/teach",
    }
    assert [point for point in found if point.curve == "accuracy"] == [
        Point("accuracy", 40, 0.5, 7.0),
        Point("accuracy", 60, 0.5, 7.0),
    ]


def test_a_full_disk_is_told(tmp_path):
    with room_for(100), pytest.raises(DiscoverError, match="make room there"):
        tracking.write(tmp_path, ROUNDS)
    assert not list(tmp_path.iterdir())
