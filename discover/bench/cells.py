"""A cell: one campaign of a bench, and its file. The file's name holds a digest of all that the campaign depends on.

A finished cell is never computed again; whatever is set otherwise makes another cell.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import discover
from discover import plugins
from discover.bench import learners
from discover.bench.config import FULL, BenchConfig
from discover.errors import DiscoverError
from discover.policy import safety
from discover.policy.learned import LEARNED, load_strategy
from discover.policy.saved import CARD
from discover.pool.labelled import Dataset
from discover.query.strategy import CONTROL, Strategy
from discover.run import RunFolder, publish, read_cell
from discover.simulate import Round, SimulationConfig

FORMAT = 12  # raised when the same settings no longer give the same figures, or a cell has more of them


@dataclass(frozen=True)
class Cell:
    """One campaign.

    Attributes:
        dataset, learner, strategy, seed: which; words as on the command line.
        rules: of its campaign.
        path: its file.
    """

    dataset: str
    learner: str
    strategy: str
    seed: int
    rules: SimulationConfig
    path: Path

    @property
    def names(self) -> dict[str, Any]:
        """What tells its rows from others'."""
        return {"dataset": self.dataset, "learner": self.learner, "strategy": self.strategy, "seed": self.seed}


def plan(config: BenchConfig, datasets: Sequence[Dataset], encoder: str) -> list[Cell]:
    """The cells that a command asks for, in the order of the results.

    Args:
        config: the command.
        datasets: as read.
        encoder: version of the encoder.

    Raises:
        DiscoverError: a strategy or learner is unknown, or one of their options.
    """
    strategies = list(dict.fromkeys([CONTROL, *config.strategies, *([FULL] if config.full else [])]))
    for word in strategies:
        strategy_of(word)
    return [
        _cell(config, dataset, (learner, strategy, seed), encoder)
        for dataset in datasets
        for learner in dict.fromkeys(config.learners)
        for strategy in strategies
        for seed in range(1 if strategy == FULL else config.seeds)
    ]


def strategy_of(word: str) -> Strategy:
    """The strategy of a word with options; training on everything asks about everything at once, in any order.

    Raises:
        DiscoverError: there is none, or an option is not its own.
    """
    return load_strategy(CONTROL) if word == FULL else load_strategy(*plugins.split(word))


def write(cell: Cell, rounds: Sequence[Round], dataset: Dataset, threads: int) -> None:
    """Publish a finished cell."""
    rows = [{key: value for key, value in asdict(one).items() if key != "asked"} for one in rounds]
    seeds = [] if cell.strategy == FULL else [dataset.public_ids[row] for row in rounds[0].asked]
    content = {**cell.names, "threads": threads, "seed_documents": seeds, "rounds": rows}
    with publish(cell.path) as scratch:
        scratch.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def read(cell: Cell) -> dict[str, Any] | None:
    """A finished cell; None where it is not there, or damaged."""
    return read_cell(cell.path, "rounds")


def check_start(cell: Cell, content: dict[str, Any], started: dict[tuple[Any, ...], Any]) -> None:
    """See that all arms begin alike: the same seed labels, and of one learner the same accuracy with them.

    Args:
        cell: which.
        content: of its file.
        started: what the cells seen so far began with; added to.

    Raises:
        DiscoverError: this one began otherwise.
    """
    if cell.strategy == FULL:
        return
    documents, accuracy = content["seed_documents"], content["rounds"][0]["accuracy"]
    # Another number of threads may give other last bits, and with them another answer to a document.
    group = (cell.dataset, cell.seed, cell.learner, content["threads"])
    for key, found in ((group[:2], documents), (group, accuracy)):
        if started.setdefault(key, found) != found:
            what = "seed labels" if found is documents else f"accuracy {accuracy} with them"
            raise DiscoverError(
                f"on {cell.dataset} with seed {cell.seed}, all arms must start alike, but {cell.strategy} with "
                f"{cell.learner} has other {what} than the arms before it: a learner of your own needs a fixed seed; "
                f"else remove {cell.path.parent} and start anew"
            )


def _cell(config: BenchConfig, dataset: Dataset, arm: tuple[str, str, int], encoder: str) -> Cell:
    learner, strategy, seed = arm
    rules, settings = config.rules_for(strategy, dataset.n), learners.settings_of(learner)
    depends = {
        "format": FORMAT,
        "discover": discover.__version__,
        "dataset": [dataset.name, dataset.digest],
        "encoder": encoder,
        "arm": arm,
        "code": [_code(learner), _code(strategy)],
        "learn": settings.model_dump() if settings else {},
        "rules": rules.model_dump(),
    }
    path = RunFolder(config.output).cell(f"{dataset.name}-{learner}-{strategy}-{seed}", depends)
    return Cell(dataset.name, learner, strategy, seed, rules, path)


def _code(word: str) -> str:
    """A digest of the user's own file, or trained policy, that a word names; the package's version tells the rest."""
    name, options = plugins.split(word)
    file = Path(str(options["policy"])) / CARD if name == LEARNED else Path(name.rpartition(":")[0])
    tested = f", harm by {safety.TOLERATED} at {safety.LEVEL}" if name == LEARNED else ""
    return hashlib.sha256(file.read_bytes()).hexdigest() + tested if file.is_file() else ""
