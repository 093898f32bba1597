"""Settings of the pool."""

from pydantic import Field, model_validator

from discover.strict import Strict


class PoolConfig(Strict):
    """Where documents live, and which are taken in."""

    url: str = Field("", description="SQLAlchemy URL; empty means discover.db in the run folder")
    near_duplicate: float = Field(
        0.8, gt=0, le=1, description="Jaccard similarity of word shingles from which a document repeats"
    )
    min_characters: int = Field(20, ge=1, description="shorter documents are skipped")
    max_characters: int = Field(1_000_000, ge=1, description="longer documents are skipped and counted")

    @model_validator(mode="after")
    def _some_length_will_do(self) -> "PoolConfig":
        if self.min_characters > self.max_characters:
            raise ValueError(
                f"min_characters must not be above max_characters, found {self.min_characters} and "
                f"{self.max_characters}, which no document fits: lower the one or raise the other"
            )
        return self
