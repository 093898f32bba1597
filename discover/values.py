"""Plain values in YAML, as YAML 1.2 has them: 1e-3 is a number. PyYAML follows 1.1, where it is a text."""

import re
from typing import Any

import yaml

_FLOAT = re.compile(r"^[-+]?(\.\d+|\d+(\.\d*)?)[eE][-+]?\d+$")


class _Loader(yaml.SafeLoader):
    def construct_scalar(self, node: Any) -> Any:
        found = super().construct_scalar(node)
        try:  # JSON, which is YAML 1.2, may write a character as a pair of escapes
            return found.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
        except UnicodeDecodeError as error:
            problem = f"{found!r:.80} holds half a character{node.start_mark}"
            raise yaml.constructor.ConstructorError(problem=problem) from error

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = next((key for at, key in enumerate(keys) if key in keys[:at]), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(problem=f"the key {twice!r} stands there twice{node.start_mark}")
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    pass


for _kind in (_Loader, _Dumper):
    _kind.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))


def parse(text: str) -> Any:
    """What a YAML text says.

    Raises:
        yaml.YAMLError: it is none.
    """
    try:
        return yaml.load(text, _Loader)
    except (ValueError, RecursionError) as error:  # of what looks like a date, say, and is none
        raise yaml.YAMLError(f"{error}: write in quotes what is text") from error


def render(value: Any, width: int = 80) -> str:
    """YAML that `parse` reads as the same value."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=width))
