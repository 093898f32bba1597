"""Settings of the question that is asked next."""

from typing import Any, Literal

from pydantic import Field, model_validator

from discover.strict import Strict


class CandidateConfig(Strict):
    """How many candidates a round looks at, and where they come from; shares are of `count`."""

    count: int = Field(2000, ge=1)
    uniform: float = Field(0.6, ge=0.1, le=1, description="keeps every document reachable")
    neighbours: float = Field(0.1, ge=0, le=1, description="nearest to what is labelled")
    uncertain: float = Field(0.2, ge=0, le=1, description="most uncertain in the last round")
    newest: float = Field(0.1, ge=0, le=1)

    @model_validator(mode="after")
    def _sum(self) -> "CandidateConfig":
        total = self.uniform + self.neighbours + self.uncertain + self.newest
        if abs(total - 1) > 1e-6:
            raise ValueError(f"uniform + neighbours + uncertain + newest must be 1, they are {total:g}")
        return self

    def enough_for(self, batch: int) -> None:
        """Raise ValueError where a round would ask about more documents than it looks at."""
        if self.count < batch:
            raise ValueError(
                f"a round asks about its candidates, so candidates.count must be at least batch, {batch}, found "
                f"{self.count}: raise it, or lower batch"
            )


class QueryConfig(Strict):
    """Which strategy chooses, how many, and how much chance it leaves."""

    strategy: str = Field("auto", description="a file in query/strategies, modAL.module:function, or path/file.py:name")
    batch: int = Field(50, ge=1, description="questions a round, audit included")
    temperature: float = Field(0.05, ge=0, description="of the softmax over rank-scaled utility; 0 is deterministic")
    floor: float = Field(0.1, ge=0, le=1, description="share of the probability that is uniform; none at temperature 0")
    cost: Literal["answers", "seconds", "tokens"] = Field(
        "answers",
        description="seconds: utility is weighed by the seconds that an answer is expected to take; tokens: by the "
        "words of its text, which label.budget then counts",
    )
    options: dict[str, Any] = Field({}, description="the strategy's keyword-only parameters")
    reward: str = Field(
        "surprise", description="of a pick: a file in policy/rewards, or path/file.py:name; empty: none"
    )
    reward_options: dict[str, Any] = Field({}, description="the reward's keyword-only parameters")
    candidates: CandidateConfig = CandidateConfig()

    @model_validator(mode="after")
    def _enough(self) -> "QueryConfig":
        self.candidates.enough_for(self.batch)
        return self
