"""Plain values in YAML, as JSON and YAML 1.2 have them.

PyYAML follows 1.1, where 1e-3 is a text, and 010, 12:30 and 1_000 are the numbers 8, 750 and 1000; here they are texts,
as whoever names a class so will mean it.
"""

import json
import re
from typing import Any

import yaml

_NUMBERS = {
    "tag:yaml.org,2002:int": re.compile(r"^[-+]?(0|[1-9]\d*)$"),
    "tag:yaml.org,2002:float": re.compile(
        r"^[-+]?((\.\d+|\d+\.\d*)([eE][-+]?\d+)?|\d+[eE][-+]?\d+|\.(inf|Inf|INF))$|^\.(nan|NaN|NAN)$"
    ),
}


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


_Loader.yaml_implicit_resolvers = {
    first: [one for one in known if one[0] not in _NUMBERS] for first, known in _Loader.yaml_implicit_resolvers.items()
}
for _tag, _number in _NUMBERS.items():
    for _kind in (_Loader, _Dumper):  # which goes on quoting what 1.1 would take for a number
        _kind.add_implicit_resolver(_tag, _number, list("-+.0123456789"))


def parse(text: str) -> Any:
    """What a YAML text says.

    Raises:
        yaml.YAMLError: it is none.
    """
    try:
        found = yaml.load(text, _Loader)
        json.dumps(found, default=str, skipkeys=True)  # refuses what, by an alias, holds itself
        return found
    except (ValueError, RecursionError) as error:  # of what looks like a date, say, and is none
        raise yaml.YAMLError(f"{error}: write in quotes what is text") from error


def render(value: Any, width: int = 80) -> str:
    """YAML that `parse` reads as the same value."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=width))
