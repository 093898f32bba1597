"""What a bench found: every arm's mean curve, and each against random, paired by seed."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover.bench.cells import Cell
from discover.bench.config import FULL
from discover.evaluate import seeds
from discover.evaluate.compare import aulc, labels_to_reach
from discover.query.strategy import CONTROL

MEASURES = ("aulc", "final_accuracy")
FIELDS = ("labels", "effort", "accuracy", "macro_f1", "minority_f1", "ece", "seconds", "select_seconds")
Found = Sequence[tuple[Cell, dict[str, Any]]]
Key = tuple[str, str, str]  # dataset, learner, strategy


def summarise(found: Found, target: float | None) -> dict[str, Any]:
    """Arms, comparisons with random, and these pooled over datasets.

    Args:
        found: cells and what their files hold.
        target: accuracy to reach; by default what random ends with, on each dataset and with each learner.
    """
    curves: dict[Key, list[dict[str, NDArray[np.float64]]]] = defaultdict(list)
    for cell, content in found:
        curves[cell.dataset, cell.learner, cell.strategy].append(
            {name: np.array([row[name] for row in content["rounds"]]) for name in FIELDS}
        )
    arms = []
    for (dataset, learner, strategy), runs in curves.items():
        passive = curves[dataset, learner, CONTROL]
        aim = float(np.mean([run["accuracy"][-1] for run in passive])) if target is None else target
        arms.append({"dataset": dataset, "learner": learner, "strategy": strategy, **_arm(runs, aim)})
    rng = np.random.default_rng(0)
    differences = {
        arm: _measures(runs) - _measures(curves[arm[0], arm[1], CONTROL])
        for arm, runs in curves.items()
        if arm[2] not in (CONTROL, FULL)
    }
    return {
        "arms": arms,
        "comparisons": _comparisons(differences, rng),
        "pooled": _pooled(differences, rng),
        "notes": list(_notes(found)),
    }


def _notes(found: Found) -> Iterator[dict[str, Any]]:
    """Of each campaign whose strategy has said something: which, its first words, and after how many labels."""
    for cell, content in found:
        said = next((row for row in content["rounds"] if row.get("note")), None)
        if said is not None:
            yield cell.names | {"labels": said["labels"], "note": said["note"]}


def _arm(runs: list[dict[str, NDArray[np.float64]]], target: float) -> dict[str, Any]:
    labels, accuracy = runs[0]["labels"], np.stack([run["accuracy"] for run in runs])
    mean, measured = accuracy.mean(axis=0), _measures(runs)
    area, final = measured.mean(axis=0)
    area_error, final_error = _numbers(seeds.standard_error(measured))
    return {
        "seeds": len(runs),
        "labels": labels.tolist(),
        "accuracy": _numbers(mean),
        "standard_error": _numbers(seeds.standard_error(accuracy)),
        "half_width": _numbers(seeds.half_width(accuracy)),
        "macro_f1": _numbers(np.mean([run["macro_f1"] for run in runs], axis=0)),
        "minority_f1": _numbers(np.mean([run["minority_f1"] for run in runs], axis=0)),
        "ece": _numbers(np.mean([run["ece"] for run in runs], axis=0)),
        "aulc": float(area),
        "aulc_standard_error": area_error,
        "final_accuracy": float(final),
        "final_standard_error": final_error,
        "target": target,
        "labels_to_target": labels_to_reach(labels, mean, target, lasting=True),
        "seconds": float(np.mean([run["seconds"].sum() for run in runs])),
        "select_seconds": float(np.mean([run["select_seconds"].sum() for run in runs])),
    }


def _measures(runs: list[dict[str, NDArray[np.float64]]]) -> NDArray[np.float64]:
    """(s, 2) area and final accuracy of each seed's campaign."""
    return np.array([[aulc(run["labels"], run["accuracy"]), run["accuracy"][-1]] for run in runs])


def _comparisons(differences: dict[Key, NDArray[np.float64]], rng: np.random.Generator) -> list[dict[str, Any]]:
    """Each arm against random; Holm's correction is over all comparisons of one measure."""
    rows: list[dict[str, Any]] = [
        {"dataset": arm[0], "learner": arm[1], "strategy": arm[2], "seeds": len(found)}
        for arm, found in differences.items()
    ]
    for column, measure in enumerate(MEASURES):
        gains = [found[:, column] for found in differences.values()]
        for row, gain in zip(rows, gains, strict=True):
            row[measure] = {"mean": float(gain.mean()), **dict.fromkeys(("low", "high", "p", "p_holm"))}
        several = [(row[measure], gain) for row, gain in zip(rows, gains, strict=True) if len(gain) > 1]
        raw = [seeds.sign_flip(gain, rng) for _, gain in several]
        for (found, gain), p, corrected in zip(several, raw, seeds.holm(raw), strict=True):
            half = float(seeds.half_width(gain))
            found |= {"low": found["mean"] - half, "high": found["mean"] + half, "p": p, "p_holm": corrected}
    return rows


def _pooled(differences: dict[Key, NDArray[np.float64]], rng: np.random.Generator) -> list[dict[str, Any]]:
    """Each learner and strategy against random, over datasets that count alike."""
    rows = []
    for pair in dict.fromkeys(arm[1:] for arm in differences):
        means = np.array([found.mean(axis=0) for arm, found in differences.items() if arm[1:] == pair])
        row: dict[str, Any] = {"learner": pair[0], "strategy": pair[1], "datasets": len(means)}
        for column, measure in enumerate(MEASURES):
            low, high = seeds.between_datasets(means[:, column], rng) or (None, None)
            row[measure] = {"mean": float(means[:, column].mean()), "low": low, "high": high}
        rows.append(row)
    return rows


def _numbers(values: NDArray[np.float64]) -> list[float | None]:
    return [None if math.isnan(value) else float(value) for value in values]
