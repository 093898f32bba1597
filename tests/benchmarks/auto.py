"""Is `auto` safe to leave on? Against random on the seven sets, frozen (ten seeds) and fine-tuned (three).

Simulated campaigns of `discover bench`, paired by seed; area under the accuracy curve on at most 2,000 of each set's
own test documents. Frozen, from 25 to 525 labels, 25 a round, the lower end of the 95 % interval of the mean difference
is to stay above -0.5 points on every set, and above zero on five; with the top two layers fine-tuned, from 25 to 225
labels, 50 a round, no set's mean may be below -0.5, and the lower end of a bootstrap over sets is to be above zero.
Cells are kept under runs/bench/auto, so that it goes on where it was stopped; `BENCH_SETS` (names) makes it shorter.
"""

import os
from pathlib import Path
from typing import Any

from discover.simulate import SimulationConfig
from tests.benchmarks._bench import played
from tests.benchmarks._row import row

SETS = ("trec6", "sst2", "banking77", "ag_news_desc", "20newsgroups_stripped", "clinc150_imbalanced", "imdb_5k")
FOLDER = Path("runs/bench/auto")
FROZEN, TUNED = "frozen", "fine_tuned"
MODES: dict[str, dict[str, Any]] = {
    FROZEN: {
        "learners": ["head"],
        "seeds": 10,
        "rules": SimulationConfig(initial=25, batch=25, budget=525, test_limit=2000),
    },
    TUNED: {
        "learners": ["top,folds=0"],
        "seeds": 3,
        "rules": SimulationConfig(initial=25, batch=50, budget=225, test_limit=2000),
    },
}
HARM, SURE = -0.005, 5  # what may be lost on a set, and on how many sets chance must be excluded


def measure() -> list[dict[str, Any]]:
    """A row for each mode and set, and one a mode for all of them."""
    wanted = os.environ.get("BENCH_SETS", "").split() or list(SETS)
    rows = []
    for mode, settings in MODES.items():
        found = played(wanted, FOLDER / mode, settings)
        gains = {one["dataset"]: one["aulc"] for one in found["comparisons"]}
        measured, said = ("low", "lower end") if mode == FROZEN else ("mean", "mean")
        for name, gain in gains.items():
            print(f"{name}, {mode}: {100 * gain['mean']:+.1f} [{100 * gain['low']:+.1f}, {100 * gain['high']:+.1f}]")
            rows.append(
                row(f"auto over random, {said}, {name}, {mode}", gain[measured], "aulc", HARM, gain[measured] > HARM)
            )
        if mode == FROZEN:
            sure = sum(gain["low"] > 0 for gain in gains.values())
            rows.append(row(f"sets where auto is surely ahead, {mode}", sure, "", SURE, sure >= SURE))
        else:
            low = found["pooled"][0]["aulc"]["low"]
            low = float("nan") if low is None else low
            rows.append(row(f"auto over random, lower end over sets, {mode}", low, "aulc", 0.0, low > 0))
    return rows
