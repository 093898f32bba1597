"""Settings of the learner."""

from typing import Literal

from pydantic import Field, field_validator

from discover.strict import Strict

Adapter = Literal["lora", "dora", "loha", "lokr", "oft", "hra", "ia3"]


class LearnConfig(Strict):
    """How answers become a model."""

    method: Literal["head", "top", "lora", "full"] = Field(
        "full", description="what is trained: the head alone, the top layers, adapters, or all but the word embeddings"
    )
    layers: int = Field(2, ge=1, description="of `top`: how many")
    adapter: Adapter = Field("lora", description="of `lora`: which adapters of peft")
    rank: int = Field(8, ge=1, le=1024, description="of the adapters")
    epochs: int = Field(10, ge=1, description="passes over all answers from scratch; an increment takes half of them")
    steps: int = Field(50, ge=0, description="fewest steps, likewise: passes are added until there are as many")
    replay: float = Field(4.0, ge=0, description="old answers rehearsed for each new one, in an increment")
    balance: Literal["loss", "sampling"] = Field(
        "loss", description="how rare classes get more say in fine-tuning: a larger loss, or more draws"
    )
    contrast: float = Field(
        1.0, ge=0, description="weight of the supervised contrastive loss, where documents of a class meet in a batch"
    )
    propagate: bool = Field(True, description="learn from unanswered neighbours of answers, while that does no harm")
    unlabelled: int | None = Field(
        None,
        ge=0,
        description="unanswered documents that are looked at for it, drawn uniformly; none: 2,000, of more than ten "
        "classes 4,000",
    )
    folds: int = Field(3, ge=0, description="of the cross-validation that calibrates the probabilities; 0: none")
    learning_rate: float | None = Field(
        None, gt=0, description="of the encoder; none: 1e-4, with label.task spans 6e-4, for adapters 1e-3"
    )
    head_learning_rate: float | None = Field(None, gt=0, description="none: 1e-3, with label.task spans 5e-3")
    layer_decay: float = Field(0.9, gt=0, le=1, description="of the learning rate, from each layer to the one below")
    weight_decay: float = Field(0.01, ge=0)
    dropout: float = Field(0.1, ge=0, lt=1)
    warm_up: float = Field(0.1, ge=0, le=1, description="share of the steps in which the learning rates rise")
    clip: float = Field(1.0, gt=0, description="largest norm of a gradient")
    batch: int = Field(32, ge=1, description="documents a step")
    batch_tokens: int = Field(8192, ge=1, description="computed at a time; a larger batch is computed in parts")
    head_penalty: float | None = Field(
        None, ge=1e-6, description="pull of the head's weights towards the descriptions'; none: cross-validated"
    )
    head_power: float | None = Field(
        None,
        ge=0,
        le=4,
        description="how far they keep to directions in which documents differ; 0: not at all, none: cross-validated",
    )
    cache_megabytes: int = Field(1024, ge=0, description="of lower-layer activations that are kept between rounds")

    @field_validator("folds")
    @classmethod
    def _several(cls, value: int) -> int:
        if value == 1:
            raise ValueError("a lone fold leaves nothing to learn from, so it must be 0, or 2 and more")
        return value

    @property
    def rate(self) -> float:
        """The encoder's learning rate."""
        return self.learning_rate or (1e-3 if self.method == "lora" else 1e-4)

    @property
    def head_rate(self) -> float:
        """The head's learning rate."""
        return self.head_learning_rate or 1e-3
