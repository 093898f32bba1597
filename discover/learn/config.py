"""Settings of the learner."""

from typing import Literal

from pydantic import Field

from discover.strict import Strict


class LearnConfig(Strict):
    """How answers become a model."""

    method: Literal["head", "top", "full"] = Field("top", description="what is trained: the head, the top layers, all")
    layers: int = Field(2, ge=1, description="of `top`: how many layers")
    epochs: int = Field(5, ge=1, description="passes over the new answers, an increment")
    replay: float = Field(2.0, ge=0, description="old answers rehearsed for each new one")
    learning_rate: float = Field(1e-4, gt=0, description="of the encoder's layers")
    head_learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    batch: int = Field(32, ge=1, description="documents a step")
    head_penalty: float = Field(0.2, gt=0, description="pull of the head's weights towards the descriptions'")
    cache_megabytes: int = Field(1024, ge=0, description="limit of cached lower-layer activations")
