"""Does what the environment says hold when the encoder is fine-tuned? Strategies and policies in real campaigns.

Three sets, one of each fold of `BENCH=policy`, whose policies are used: simulated campaigns of `discover bench`, 20 to
200 labels, 20 a round, the top two layers fine-tuned. Of two strategies whose areas under the macro-F1 curve differ
(Student's interval over paired seeds, alone, without correction), which is ahead is held against 48 campaigns with
frozen vectors in the environment. `BENCH_SEEDS` (3) fine-tuned campaigns of each strategy; of the policy and of margin
`BENCH_DECIDING` (10), since with three half of an interval is as long as what a policy gains.
"""

import itertools
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover.bench.config import BenchConfig
from discover.commands.bench import bench
from discover.evaluate import seeds
from discover.evaluate.compare import aulc
from discover.policy.config import PolicyConfig
from discover.policy.corpus import Corpus
from discover.policy.learned import LEARNED
from discover.policy.trials import REFERENCE, judged
from discover.run import RunFolder
from discover.simulate import SimulationConfig
from tests.benchmarks import policy
from tests.benchmarks._data import answerable, file_of
from tests.benchmarks._row import row

SETS = {"mpqa": "opinions", "trec6": "requests", "tweeteval_emotion": "news"}  # and whose fold's policy
STRATEGIES = {  # of a campaign, and what the environment calls it
    "random": "random",
    "margin": "margin",
    "entropy": "entropy",
    "density_margin": "density_margin",
    "clustered_density_margin": "clustered_density_margin",
    "k_center": "coverage",
}
SEEDS, DECIDING = int(os.environ.get("BENCH_SEEDS", "3")), int(os.environ.get("BENCH_DECIDING", "10"))
FROZEN = 48
INITIAL, BATCH, BUDGET, TESTED = 20, 20, 200, 1500
LEARNER = "top,folds=0"
AGREE = 0.9
Areas = dict[str, NDArray[np.float64]]  # (s,) of each strategy, by seed


def measure() -> list[dict[str, Any]]:
    """A row a set for the trained policy over margin, and one for the pairs that agree."""
    folder = RunFolder(policy.FOLDER)
    folder.create(folder.vectors, folder.cells)
    corpora = policy.read_all(folder)
    rows, pairs = [], []
    for name, fold in SETS.items():
        learned = f"{LEARNED},policy={policy.trained(fold, corpora, folder)}"
        tuned, frozen = _fine_tuned(name, list(STRATEGIES), SEEDS), _frozen(corpora[name])
        deciding = _fine_tuned(name, [REFERENCE, learned], DECIDING)
        gain = deciding[learned] - deciding[REFERENCE]
        mean = float(gain.mean())
        half = float(seeds.half_width(gain)) if DECIDING > 1 else float("nan")
        print(f"{name}: learned over margin {100 * mean:+.1f} points, half of a 95% interval {100 * half:.1f}")
        rows.append(row(f"learned over margin, macro-F1, {name}", mean, "area", 0, mean > 0))
        for one, other in itertools.combinations(STRATEGIES, 2):
            difference = tuned[one] - tuned[other]
            if SEEDS > 1 and abs(difference.mean()) > seeds.half_width(difference):
                pairs.append((frozen[one].mean() > frozen[other].mean()) == (difference.mean() > 0))
                said = "the same sign" if pairs[-1] else "ANOTHER SIGN"
                print(f"{name}: {one} over {other} {100 * difference.mean():+.1f} points, {said} with frozen vectors")
    agree = float(np.mean(pairs)) if pairs else float("nan")
    return [*rows, row(f"same sign in the environment, {len(pairs)} pairs", agree, "share", AGREE, agree >= AGREE)]


def _fine_tuned(name: str, strategies: list[str], count: int) -> Areas:
    """Areas under the macro-F1 curves of real campaigns, by strategy; a campaign is played once."""
    output = Path("runs/bench/fine_tuned")
    output.mkdir(parents=True, exist_ok=True)
    bench(
        BenchConfig(
            train=[file_of(name, "train")],
            test=[answerable(name, output)],
            strategies=strategies,
            learners=[LEARNER],
            seeds=count,
            rules=SimulationConfig(initial=INITIAL, batch=BATCH, budget=BUDGET, test_limit=TESTED),
            full=False,
            output=output / name,
        )
    )
    curves: dict[str, dict[int, dict[int, float]]] = {}
    for line in (output / name / "results.jsonl").read_text(encoding="utf-8").splitlines():
        found = json.loads(line)
        curves.setdefault(found["strategy"], {}).setdefault(found["seed"], {})[found["labels"]] = found["macro_f1"]
    return {
        strategy: np.array([aulc(list(by_seed[seed]), list(by_seed[seed].values())) for seed in sorted(by_seed)])
        for strategy, by_seed in curves.items()
    }


def _frozen(corpus: Corpus) -> Areas:
    """Areas of the same strategies in the environment."""
    rules = PolicyConfig().episode.model_copy(update={"initial": INITIAL, "batch": BATCH, "budget": BUDGET})
    found = judged(corpus, {name: name for name in STRATEGIES.values()}, FROZEN, rules, 0)
    return {
        name: np.array([one["macro_f1"] for one in found if one["policy"] == called])
        for name, called in STRATEGIES.items()
    }
