"""Settings of the labels and of who gives them."""

from collections import Counter
from typing import Any

from pydantic import Field, ValidationInfo, field_validator, model_validator

from discover.pool.document import clean
from discover.pool.labels import NONE, Task
from discover.pool.spans import is_tag
from discover.strict import Strict


class LabelConfig(Strict):
    """The classes, what an answer is, the oracle, and what may be spent."""

    task: Task = Field(
        "multiclass",
        description="multiclass: one label a document; multilabel: any number, or none; spans: named entities",
    )
    classes: dict[str, str] = Field(description="name: one-line description; a plain list of names will do")
    question: str = Field("Which label fits?", description="shown to annotators")
    oracle: str = Field("people", description="people, a file in label/oracles, or path/file.py:name")
    options: dict[str, Any] = Field({}, description="the oracle's keyword-only parameters")
    budget: int = Field(
        500, ge=1, description="labels (or words: query.cost) to pay for, seed labels and audit included"
    )
    seed: int = Field(0, ge=0, description="labels drawn uniformly before the strategy chooses")
    audit: float = Field(
        0.1, ge=0, le=0.5, description="share of each batch that is drawn uniformly, blind, and never trained on"
    )
    explain: bool = Field(True, description="after an answer, show people why the model guesses what it does")
    lease_minutes: float = Field(30, gt=0, description="how long a question is held for one annotator")

    @field_validator("classes", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        if not isinstance(value, list | dict):
            raise ValueError("a list of names is expected, or `name: what belongs there` for each")
        names = list(value)
        for name in names:
            if not isinstance(name, str | int | float) or isinstance(name, bool):
                raise ValueError(f"a class needs a name, and YAML reads this one as {name!r}: write it in quotes")
        written = Counter(map(str, names))
        twice = next((name for name, times in written.items() if times > 1), None)
        if twice is not None:
            raise ValueError(f"the class {twice!r} is listed twice: remove one")
        if isinstance(value, dict):  # nothing behind the colon is no description
            return {str(name): "" if what is None else what for name, what in value.items()}
        return {str(name): "" for name in value}

    @field_validator("classes")
    @classmethod
    def _several(cls, value: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        if any(not clean(name) for name in value):
            raise ValueError("every class needs a name, found an empty one")
        odd = next((name for name in value if clean(name) != name), None)
        if odd is not None:
            # Escaped, since what differs may be nothing that a reader sees.
            raise ValueError(f"the class {odd!a} must be written {clean(odd)!a}, as labels are when they are read")
        needed = 1 if info.data.get("task") == "spans" else 2  # what is no entity is there without a name
        if len(value) < needed:
            words = "one class is" if needed == 1 else "two classes are"
            raise ValueError(f"at least {words} needed to learn anything, found {len(value)}")
        return value

    @model_validator(mode="after")
    def _tellable(self) -> "LabelConfig":
        """No name that an answer could be taken for, and no tags in the place of types."""
        odd = next((name for name in self.classes if name == NONE or name.startswith("[")), None)
        if self.task == "multilabel" and odd is not None:
            why = "is what annotators say when no label fits" if odd == NONE else "begins as a list does"
            raise ValueError(f"with task multilabel no class can be called {odd!r}, which {why}: rename it")
        tag = next(filter(is_tag, self.classes), None)
        if self.task == "spans" and tag is not None:
            raise ValueError(
                f"with task spans the classes are types of entities (person), found the tag {tag!r}: list each type "
                "once, without B-, I- and O, which are added where they are needed"
            )
        return self
