"""What a bench compares, on what, and by which rules."""

from pathlib import Path

from pydantic import Field

from discover.query.config import CandidateConfig
from discover.simulate import SimulationConfig
from discover.strict import Strict

FULL = "full supervision"  # all labels of the pool at once


class BenchConfig(Strict):
    """The command line of `discover bench`."""

    train: list[Path] = Field(min_length=1)
    test: list[Path] = Field(min_length=1, description="one for each of train, in their order")
    strategies: list[str] = Field(["margin"], description="words as in query.strategy, with options: name,key=value")
    learners: list[str] = Field(["head"], description="a method of learn with settings, or path/file.py:name")
    seeds: int = Field(10, ge=1, description="campaigns an arm; their seeds are 0, 1, 2 …")
    rules: SimulationConfig = SimulationConfig()
    full: bool = Field(True, description="also train on the whole pool once")
    whole_pool: bool = Field(False, description="every document of the pool is a candidate in each round")
    target: float | None = Field(None, ge=0, le=1, description="accuracy to reach; none: what random ends with")
    jobs: int | None = Field(None, ge=1, description="processes; none: one a core")
    output: Path

    def rules_for(self, strategy: str, n: int) -> SimulationConfig:
        """The rules of an arm on a pool of n documents; `FULL` asks about all of them at once."""
        if strategy == FULL:
            kept = self.rules.model_dump(include={"noise", "test_limit"})
            return SimulationConfig(initial=n, budget=n, **kept)
        if self.whole_pool:
            everything = CandidateConfig(count=n, uniform=1, neighbours=0, uncertain=0, newest=0)
            return self.rules.model_copy(update={"candidates": everything})
        return self.rules
