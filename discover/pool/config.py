"""Settings of the pool."""

from pydantic import Field

from discover.strict import Strict


class PoolConfig(Strict):
    """Where documents live, and which are taken in."""

    url: str = Field("", description="SQLAlchemy URL; empty means discover.db in the run folder")
    near_duplicate: float = Field(
        0.8, gt=0, le=1, description="Jaccard similarity of word shingles from which a document repeats"
    )
    min_characters: int = Field(20, ge=1, description="shorter documents are skipped")
    max_characters: int = Field(1_000_000, ge=1, description="longer documents are skipped and counted")
