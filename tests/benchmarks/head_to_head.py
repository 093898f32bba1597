"""Campaigns against small-text 1.4.1, scikit-activeml 1.0.1 and stock modAL: area under the curve, and seconds.

All have the same encoder, pool, seed labels, test documents, batches and budget, and one thread. On frozen vectors ours
is method `head` with `auto`; the peers have a logistic regression of scikit-learn and choose by margin, scikit-activeml
also BADGE, C being 1, 10 or 100: the best of a peer's settings on a set counts, judged on the test documents.
Fine-tuned, ours is the default, and the peer small-text with a learning rate of 1e-4, with which it does better than
with its own.

Seconds are the processor's: of the campaign with all its tests, and of encoding pool and test documents, ours by our
encoder, the peers' by sentence-transformers' `encode` with its defaults, measured on 1,000 documents and scaled up.

Peers need environments of their own and hours, so figures are kept as cells under `cells/`. `python -m
tests.benchmarks.head_to_head` plays those that are missing; `measure` reads them, and plays ours again where our code
has changed.
"""

import argparse
import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from discover.embed.config import EncoderConfig
from discover.embed.encoder import Encoder
from discover.evaluate.compare import aulc
from discover.learn.classifier import TextClassifier
from discover.learn.config import LearnConfig
from discover.learn.learner import Learner
from discover.pool.labelled import Dataset, read_dataset
from discover.query.strategy import load_strategy
from discover.simulate import Arena, SimulationConfig, play, seed_documents
from tests.benchmarks._data import file_of
from tests.benchmarks._peers import CELLS, ask, code, keep

SETS = ("trec6", "ag_news_desc", "sst2", "banking77", "20newsgroups_stripped")
SEEDS, ENCODED = 10, 1000
CACHE = Path("runs/bench/head_to_head")
FROZEN, TUNED = "frozen", "fine-tuned"
RULES = {
    FROZEN: SimulationConfig(initial=25, batch=25, budget=525, test_limit=2000),
    TUNED: SimulationConfig(initial=25, batch=50, budget=525, test_limit=1000),
}
PENALTIES = (1, 10, 100)  # C of the logistic regression
OURS, THEIRS = "discover", "sentence-transformers"
PEERS: dict[str, dict[str, dict[str, Any]]] = {  # the settings of each: a script, and what its job says besides
    FROZEN: {
        "small-text": {f"margin, C={C}": {"script": "small_text", "C": C} for C in PENALTIES},
        "scikit-activeml": {
            f"{strategy}, C={C}": {"script": "skactiveml", "C": C, "strategy": strategy}
            for strategy in ("margin", "badge")
            for C in PENALTIES
        },
        "modAL": {f"margin, C={C}": {"script": "modal", "C": C} for C in PENALTIES},
    },
    TUNED: {"small-text": {"margin, rate 1e-4": {"script": "small_text", "learning_rate": 1e-4}}},
}


class Cell(NamedTuple):
    """One campaign: `mode` is frozen or fine-tuned, `setting` a key of `PEERS`, of ours empty."""

    mode: str
    system: str
    setting: str
    name: str
    seed: int

    @property
    def file(self) -> Path:
        """Where its figures are kept."""
        words = "-".join(filter(None, (self.mode, self.system, self.setting, str(self.seed))))
        return CELLS / self.name / f"campaign-{words.replace(', ', '-').replace(' ', '-')}.json"

    def figures(self) -> dict[str, Any] | None:
        """What was measured; None where that was not, or of ours by other code than today's."""
        found = json.loads(self.file.read_text()) if self.file.exists() else None
        return found if self.system != OURS or (found and found["code"] == _code()) else None


def cells() -> list[Cell]:
    """All there are, the first seeds first."""
    return [
        Cell(mode, system, setting, name, seed)
        for seed in range(SEEDS)
        for mode, peers in PEERS.items()
        for name in SETS
        for system, settings in {OURS: {"": {}}, **peers}.items()
        for setting in settings
    ]


def measure() -> list[dict[str, Any]]:
    """For each mode, set and peer a row of the area and one of the seconds, over the seeds that the peer has played."""
    rows = []
    for mode, systems in PEERS.items():
        for name in SETS:
            for peer, settings in systems.items():
                theirs = [
                    _played(Cell(mode, peer, setting, name, seed) for seed in range(SEEDS)) for setting in settings
                ]
                best = max(theirs, key=lambda found: float(np.mean([one["aulc"] for one in found.values()] or [0])))
                if best:
                    ours = _played(Cell(mode, OURS, "", name, seed) for seed in best)
                    mine, spent = _means(ours, _encoding(name, OURS))
                    # Fine-tuning, small-text needs no vectors.
                    peers, their = _means(best, _encoding(name, THEIRS) if mode == FROZEN else 0.0)
                    row = {"name": f"{name}, {mode}", "peer": f"{peer}, {len(best)} seeds"}
                    rows += [
                        {**row, "value": round(mine, 4), "unit": "aulc", "peer_value": round(peers, 4)}
                        | {"ratio": round(mine - peers, 4), "goal": 0.0, "holds": mine >= peers},
                        {**row, "value": round(spent, 1), "unit": "s", "peer_value": round(their, 1)}
                        | {"ratio": round(their / spent, 2), "goal": 1.0, "holds": their >= spent},
                    ]
    return rows


def _means(found: dict[int, dict[str, Any]], encoding: float) -> tuple[float, float]:
    """Area and seconds over the seeds."""
    area, seconds = (float(np.mean([one[key] for one in found.values()])) for key in ("aulc", "seconds"))
    return area, seconds + encoding


def _played(wanted: Any) -> dict[int, dict[str, Any]]:
    """Figures by seed: ours played where they are missing, the peers' as far as they are there."""
    found = {}
    for cell in wanted:
        if cell.system == OURS and cell.figures() is None:
            _alone(cell)
        if figures := cell.figures():
            found[cell.seed] = figures
    return found


def _alone(cell: Cell) -> None:
    """Play a cell in a process of its own with one thread."""
    asked = ["--mode", cell.mode, "--system", cell.system, "--set", cell.name, "--seed", str(cell.seed)]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.head_to_head", *asked], check=True, env={**os.environ, **threads}
    )


def play_cell(cell: Cell) -> None:
    """Play a campaign and keep the figures."""
    arena = _arena(cell.name)
    found = _ours(arena, cell) if cell.system == OURS else _theirs(arena, cell)
    found["aulc"] = round(float(aulc(np.array(found["labels"]), np.array(found["accuracy"]))), 4)
    keep(cell.file, {**cell._asdict(), **found})
    print(f"{cell.file.parent.name} {cell.file.stem}: {found['aulc']:.4f}, {found['seconds']:.0f} s", flush=True)


def _ours(arena: Arena, cell: Cell) -> dict[str, Any]:
    config = LearnConfig(method="head") if cell.mode == FROZEN else LearnConfig()
    names = dict.fromkeys(arena.dataset.classes, "")
    classifier = TextClassifier(_encoder(), arena.texts, names, config, cell.seed, vectors=arena.vectors)
    started = time.process_time()
    rounds = list(play(arena, Learner(classifier), load_strategy("auto"), RULES[cell.mode], cell.seed))
    seconds = round(time.process_time() - started, 1)
    curve = {"labels": [one.labels for one in rounds], "accuracy": [round(one.accuracy, 4) for one in rounds]}
    return {**curve, "seconds": seconds, "code": _code()}


def _theirs(arena: Arena, cell: Cell) -> dict[str, Any]:
    rules, data, setting = RULES[cell.mode], arena.dataset, PEERS[cell.mode][cell.system][cell.setting]
    tested = data.test[: rules.test_limit]
    file = CACHE.absolute() / f"{cell.name}-{cell.mode}.npz"
    if not file.exists():
        pool = {"vectors": arena.vectors(data.pool), "y": data.y[: data.n]}
        np.savez(file, **pool, tested=arena.vectors(tested), truth=data.y[tested])
    job = {"file": str(file), "seeds": seed_documents(arena, rules, cell.seed).tolist(), "seed": cell.seed}
    job |= {"batch": rules.batch, "budget": rules.budget, "classes": len(data.classes), **setting}
    if cell.mode == TUNED:
        job |= {"texts": data.texts[: data.n], "tested_texts": arena.texts(tested), "encoder": str(_encoder().folder)}
    return ask(setting["script"], f"_campaign_{setting['script']}.py", job)


def _arena(name: str) -> Arena:
    encoder = _encoder()
    arena = Arena(
        read_dataset(file_of(name, "train"), file_of(name, "test")), CACHE, encoder.version, encoder.dimension
    )
    arena.embed(encoder, max(rules.test_limit for rules in RULES.values()))
    return arena


def _encoding(name: str, system: str) -> float:
    """Seconds of one thread for the pool and the test documents, kept as a cell."""
    file = CELLS / name / f"encoding-{system}.json"
    if not file.exists():
        data = _dataset(name)
        texts = [data.texts[at] for at in np.random.default_rng(0).permutation(data.n)[:ENCODED]]
        encode = _encode_of(system)
        encode(texts[:100])
        started = time.process_time()
        encode(texts)
        seconds = time.process_time() - started
        keep(file, {"set": name, "system": system, "documents": len(texts), "seconds": round(seconds, 2)})
    found, data = json.loads(file.read_text()), _dataset(name)
    count = data.n + min(len(data.test), RULES[FROZEN].test_limit)
    return round(found["seconds"] / found["documents"] * count, 1)


def _encode_of(system: str) -> Callable[[list[str]], Any]:
    if system == OURS:
        return _encoder().encode
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(_encoder().folder), device="cpu").encode


@functools.cache
def _dataset(name: str) -> Dataset:
    return read_dataset(file_of(name, "train"), file_of(name, "test"))


@functools.cache
def _encoder() -> Encoder:
    return Encoder(EncoderConfig())


@functools.cache
def _code() -> str:
    return code("learn", "embed", "query")


def main() -> None:
    """Play the cells that are missing."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.head_to_head", description=__doc__.splitlines()[0]
    )
    systems = list(dict.fromkeys(cell.system for cell in cells()))
    parser.add_argument("--mode", action="append", choices=list(PEERS), help="all unless named")
    parser.add_argument("--system", action="append", choices=systems, help="all unless named")
    parser.add_argument("--set", action="append", choices=SETS, help="all unless named")
    parser.add_argument("--seed", action="append", type=int, choices=range(SEEDS), help="all unless named")
    given = parser.parse_args()
    for cell in cells():
        asked = ((given.mode, cell.mode), (given.system, cell.system), (given.set, cell.name), (given.seed, cell.seed))
        if all(wanted is None or value in wanted for wanted, value in asked) and cell.figures() is None:
            play_cell(cell)


if __name__ == "__main__":
    main()
