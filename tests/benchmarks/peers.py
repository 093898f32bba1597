"""Accuracy from the same labels against SetFit 1.2 and small-text 1.4.1 with the same encoder.

Peers need environments of their own and hours, so their figures are kept as cells, one of a set, label count, seed and
learner, under `cells/`. `python -m tests.benchmarks.peers` plays those that are missing; `measure` reads
them, and plays ours.
Labels are a random draw, of banking77 the same number of each class; the test documents are 1,000 of the set's own.
The calibration error is of all of them, since a thousand show one by chance: 0.04 where six in ten are right; so is the
accuracy that is held against a goal instead of a peer.
small-text is given the better, judged on the test documents, of its own learning rate and of 1e-4, so far as both have
been played.
"""

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from discover.embed.config import EncoderConfig
from discover.embed.encoder import Encoder
from discover.evaluate.metrics import calibration_error, error_by_chance
from discover.learn.config import LearnConfig
from tests.benchmarks.__main__ import machine
from tests.benchmarks._passive import TESTED, Job, draw, learn
from tests.benchmarks._peers import CELLS, ask, code, keep
from tests.benchmarks._row import row

COUNTS = {
    "trec6": [128, 500],
    "banking77": [616],
    "sst2": [128, 500],
    "ag_news_desc": [128, 500],
    "20newsgroups_stripped": [128, 500],
}
SEEDS, ECE, CALIBRATED_FROM = 3, 0.05, 500
REACH = {("banking77", 616): 0.855}
OURS = "discover"
LEARNERS: dict[str, dict[str, Any]] = {  # a peer's script, and what its job says besides
    OURS: {},
    "setfit": {"script": "setfit"},
    "small-text": {"script": "small_text", "learning_rate": 2e-5},
    "small-text, 1e-4": {"script": "small_text", "learning_rate": 1e-4},
}


class Cell(NamedTuple):
    """One training."""

    learner: str
    name: str
    count: int
    seed: int

    @property
    def file(self) -> Path:
        """Where its figures are kept."""
        learner = self.learner.replace(", ", "-")
        return CELLS / self.name / f"{self.count}-{learner}-{self.seed}.json"

    def figures(self) -> dict[str, Any] | None:
        """What was measured; None where that was not, or by a learner of ours that is not today's."""
        found = json.loads(self.file.read_text()) if self.file.exists() else None
        return found if self.learner != OURS or (found and found["code"] == code("learn", "embed")) else None


def measure() -> list[dict[str, Any]]:
    """For each set and number of labels a row against each peer, of mean accuracy, and one of our calibration error.

    Ours are played where a peer's cell is, for the calibration error and for a goal; means are over the seeds that both
    have, against a goal over all.
    """
    rows = []
    for name, counts in COUNTS.items():
        for count in counts:
            title, mine = f"{name}, {count} labels", dict[int, dict[str, Any]]()
            for package in dict.fromkeys(learner.partition(",")[0] for learner in LEARNERS if learner != OURS):
                theirs, seeds = _best(package, name, count)
                for seed in seeds - mine.keys():
                    mine[seed] = _played(Cell(OURS, name, count, seed))
                if seeds:
                    ours = round(float(np.mean([mine[seed]["accuracy"] for seed in seeds])), 4)
                    theirs = round(theirs, 4)
                    beside = {"peer": package, "peer_value": theirs, "ratio": round(ours - theirs, 4)}
                    rows.append(row(title, ours, "accuracy", 0.0, ours >= theirs, **beside))
            if (name, count) in REACH:
                mine = {seed: _played(Cell(OURS, name, count, seed)) for seed in range(SEEDS)}
                reached, goal = float(np.mean([cell["accuracy_of_all"] for cell in mine.values()])), REACH[name, count]
                rows.append(row(title, round(reached, 4), "accuracy of all", goal, reached >= goal))
            if count >= CALIBRATED_FROM:
                mine = mine or {0: _played(Cell(OURS, name, count, 0))}
                error = float(np.mean([cell["ece"] for cell in mine.values()]))
                rows.append(row(title, round(error, 4), "ece", ECE, error <= ECE))
    return rows


def _best(package: str, name: str, count: int) -> tuple[float, set[int]]:
    """The best mean accuracy of a package's settings, and its seeds."""
    found = []
    for learner in LEARNERS:
        if learner.partition(",")[0] == package:
            cells = {seed: Cell(learner, name, count, seed).figures() for seed in range(SEEDS)}
            played = {seed: cell["accuracy"] for seed, cell in cells.items() if cell}
            found += [(float(np.mean(list(played.values()))), set(played))] if played else []
    return max(found, key=lambda one: one[0], default=(0.0, set()))


def _played(cell: Cell) -> dict[str, Any]:
    if cell.figures() is None:
        play(cell)
    found = cell.figures()
    assert found is not None
    return found


def play(cell: Cell) -> None:
    """Train, test, and keep the figures."""
    job = draw(cell.name, cell.count, cell.seed, TESTED if cell.learner != OURS else None)
    found = _theirs(job, LEARNERS[cell.learner], cell.seed) if cell.learner != OURS else _ours(job, cell.seed)
    right = (np.array(found.pop("classes")) == job.truth)[:TESTED]
    figures = {**cell._asdict(), "accuracy": round(float(right.mean()), 4), **found, "tested": len(right)}
    keep(cell.file, figures)
    print(f"{cell.name} {cell.count} {cell.learner} {cell.seed}: {figures['accuracy']:.4f}", flush=True)


def _ours(job: Job, seed: int) -> dict[str, Any]:
    found, seconds = learn(Encoder(EncoderConfig()), job, LearnConfig(), seed)
    figures = {"ece": round(calibration_error(found, job.truth), 4), "ece_tested": len(found)}
    figures |= {"accuracy_of_all": round(float((found.argmax(1) == job.truth).mean()), 4)}
    figures |= {"ece_by_chance": round(error_by_chance(found.max(1)), 4), "seconds": round(seconds, 1)}
    return {"classes": found.argmax(1), "code": code("learn", "embed"), **figures, "versions": machine()["versions"]}


def _theirs(job: Job, peer: dict[str, Any], seed: int) -> dict[str, Any]:
    told = {"texts": job.texts, "y": job.y.tolist(), "tested": job.tested, "classes": len(job.names), "seed": seed}
    told |= {"encoder": str(Encoder(EncoderConfig()).folder), "learning_rate": peer.get("learning_rate")}
    return ask(peer["script"], f"_peer_{peer['script']}.py", told)


def main() -> None:
    """Play the cells that are missing."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.peers", description=__doc__.splitlines()[0])
    parser.add_argument("--learner", action="append", choices=list(LEARNERS), help="all unless named")
    parser.add_argument("--set", action="append", choices=list(COUNTS), help="all unless named")
    parser.add_argument("--seed", action="append", type=int, choices=range(SEEDS), help="all unless named")
    given = parser.parse_args()
    for seed in given.seed or range(SEEDS):
        for name in given.set or COUNTS:
            for count in COUNTS[name]:
                for learner in given.learner or LEARNERS:
                    cell = Cell(learner, name, count, seed)
                    if cell.figures() is None:
                        play(cell)
    for one in measure():
        print(json.dumps(one))


if __name__ == "__main__":
    main()
