"""The strict model that every stage's settings are made of: an unknown key is an error."""

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """Settings that refuse what they do not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
