"""Settings of pretraining."""

from pydantic import Field, field_validator

from discover.strict import Strict

SCRATCH = "scratch"
HEAD_SIZE = 64  # numbers of an attention head


class PretrainConfig(Strict):
    """What `discover pretrain` makes of the pool, and how long it takes."""

    start: str = Field(
        "all-MiniLM-L6-v2",
        description="the encoder that is trained further: the packaged one, a hub id or a folder; scratch: none, a "
        "tokenizer and a small encoder are made for the pool",
    )
    vocabulary: int = Field(8000, ge=100, le=1_000_000, description="of scratch: entries of the tokenizer, at most")
    layers: int = Field(2, ge=1, description="of scratch")
    width: int = Field(256, ge=HEAD_SIZE, description="of scratch: numbers of a token's state, a multiple of 64")
    passes: int = Field(5, ge=1, description="over the pool")
    masked: float = Field(0.3, gt=0, lt=1, description="share of the words that are to be guessed")
    learning_rate: float | None = Field(None, gt=0, description="at its highest; none: 1e-3 from scratch, else 1e-4")
    warm_up: float = Field(0.1, ge=0, le=1, description="share of the steps in which the learning rate rises")
    weight_decay: float = Field(0.01, ge=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    clip: float = Field(1.0, gt=0, description="largest norm of a gradient")
    batch_tokens: int = Field(1024, ge=16, description="tokens of a step, about")
    checkpoint: float = Field(60.0, ge=0, description="seconds between two checkpoints; 0: after each step")

    @field_validator("width")
    @classmethod
    def _heads(cls, value: int) -> int:
        if value % HEAD_SIZE:
            raise ValueError(f"it must be a multiple of {HEAD_SIZE}, the numbers of an attention head")
        return value

    @property
    def scratch(self) -> bool:
        """Whether there is no encoder to begin with."""
        return self.start == SCRATCH

    @property
    def rate(self) -> float:
        """The highest learning rate."""
        return self.learning_rate or (1e-3 if self.scratch else 1e-4)
