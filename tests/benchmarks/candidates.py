"""What choosing among 2,000 candidates keeps of a full scan's gain over random: `auto`, ten seeds.

By the rules of `BENCH=auto` with a frozen head, here without calibration and propagation, which take most of a
campaign's time and choose nothing. Random picks uniformly from all documents either way, so that its mean over both is
what gains are taken over. Where a full scan gains more than a point of area under the accuracy curve, at least nine
tenths of it are to be kept. Campaigns lie under runs/bench/candidates; `BENCH_SETS` (names) makes it shorter.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks._bench import played
from tests.benchmarks._row import row
from tests.benchmarks.auto import FROZEN, MODES, SETS

FOLDER = Path("runs/bench/candidates")
SETTINGS = MODES[FROZEN] | {"learners": ["head,folds=0,propagate=false"]}
KEPT, WORTH = 0.9, 0.01


def measure() -> list[dict[str, Any]]:
    """A row for each set on which a full scan gains enough: the share of it that is kept."""
    wanted = os.environ.get("BENCH_SETS", "").split() or list(SETS)
    few, every = (
        {(arm["dataset"], arm["strategy"]): arm["aulc"] for arm in found["arms"]}
        for found in (
            played(wanted, FOLDER / "drawn", SETTINGS),
            played(wanted, FOLDER / "whole_pool", SETTINGS | {"whole_pool": True}),
        )
    )
    rows = []
    for name in wanted:
        passive = np.mean([found[name, "random"] for found in (few, every)])
        gain, best = few[name, "auto"] - passive, every[name, "auto"] - passive
        print(f"{name}: {100 * gain:+.2f} points by candidates, {100 * best:+.2f} by a full scan")
        if best > WORTH:
            title, share, full = f"gain kept by candidates, {name}", float(gain / best), round(float(best), 4)
            rows.append(row(title, share, "share", KEPT, share >= KEPT, peer="gain by a full scan", peer_value=full))
    return rows
