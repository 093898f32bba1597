"""The strict model that every stage's settings are made of: an unknown key is an error."""

from typing import Any, get_origin

from pydantic import BaseModel, ConfigDict, model_validator


class Strict(BaseModel):
    """Settings that refuse what they do not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, given: Any) -> Any:
        """A section or a list of which every line is commented out is null in YAML, and not there to who did that."""
        if not isinstance(given, dict):
            return given
        kinds = {name: field.annotation for name, field in cls.model_fields.items()}
        return {name: value for name, value in given.items() if value is not None or not _holds_more(kinds.get(name))}


def _holds_more(kind: Any) -> bool:
    """Whether a field's type is a section, a mapping or a list, and nothing else: null would be refused there."""
    kind = get_origin(kind) or kind
    return isinstance(kind, type) and issubclass(kind, Strict | dict | list)
