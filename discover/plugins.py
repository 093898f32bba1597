"""A word in a config becomes a function or class: the word is a file name, or ``path/file.py:name``."""

import difflib
import importlib
import importlib.util
import inspect
import math
import pkgutil
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, get_args

import yaml

from discover import values
from discover.errors import DiscoverError

OWN = "discover_user_"  # begins the names of modules in a user's own files
Count = Annotated[int, "1 or more"]  # the type of an option of which there must be some
Weight = Annotated[float, "0 or more"]  # of one that says how much something counts, such as a power
PLAIN = {
    int: "a whole number",
    Count: "a whole number, 1 or more",
    float: "a finite number",
    Weight: "a finite number, 0 or more",
    bool: "true or false",
    str: "a text",
    NoneType: "null",
}


def names(package: str) -> list[str]:
    """The plug-ins in a package: one for each file, in alphabetical order."""
    paths = importlib.import_module(package).__path__
    return sorted(module.name for module in pkgutil.iter_modules(paths) if not module.name.startswith("_"))


def split(word: str) -> tuple[str, dict[str, Any]]:
    """``name,key=value,…`` as a command line gives it: the name, and its options, whose values are YAML.

    Raises:
        DiscoverError: an option has no value, or one that is not YAML.
    """
    name, *settings = re.split(r",(?![^\[]*\])", word)  # not at the commas of a list
    options = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        try:
            options[key.strip()] = values.parse(value)
        except yaml.YAMLError:
            equals = ""
        if not equals:
            raise DiscoverError(f"{word!r}: name,key=value,… is expected, with YAML values, got {setting!r}")
    return name.strip(), options


def name_of(word: str) -> str:
    """What a word names, for people: of ``path/file.py:name`` the name."""
    return word.rpartition(":")[2]


def load(package: str, word: str) -> Any:
    """Find the plug-in that a config names.

    Args:
        package: where the built-in ones live, such as ``discover.query.strategies``; each file there defines an object
            of the file's own name.
        word: a file name in that package, or ``path/file.py:name`` in the user's own folder.

    Raises:
        DiscoverError: there is no such file or object.
    """
    if ":" in word:
        return _from_file(word)
    known = names(package)
    if word not in known:
        close = difflib.get_close_matches(word, known, n=1)
        advice = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}, or path/file.py:name"
        raise DiscoverError(f"{package} has no {word!r}: {advice}")
    return getattr(importlib.import_module(f"{package}.{word}"), word)


@contextmanager
def calling(what: str, ours: bool) -> Iterator[None]:
    """Run what a config names: what a user's own raises becomes one line, what ours raises is a bug, and stays.

    Args:
        what: names it, as in "the rule 'path/file.py:name'".
        ours: whether it is one of the package's.
    """
    try:
        yield
    except DiscoverError as error:
        raise DiscoverError(f"{what}: {error}") from error
    except (Exception, SystemExit) as error:
        if ours:
            raise
        raise DiscoverError(f"{what} failed: {type(error).__name__}: {error}{_where(error)}") from error


def _where(error: BaseException) -> str:
    """The last line of a user's own file that an error came through."""
    found = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        if frame.f_globals.get("__name__", "").startswith(OWN):
            found = f" (line {line} of {frame.f_code.co_filename})"
    return found


def check_options(plugin: Any, options: dict[str, Any], where: str) -> None:
    """Check a config's options against the plug-in's keyword-only parameters, and against their types where plain.

    A number must be finite, unless the default is infinite.

    Raises:
        DiscoverError: an option is unknown, or of another type, or one without a default is missing.
    """
    parameters = [p for p in inspect.signature(plugin).parameters.values() if p.kind is p.KEYWORD_ONLY]
    known = {parameter.name: parameter for parameter in parameters}
    for option, value in options.items():
        if option not in known:
            close = difflib.get_close_matches(option, known, n=1)
            advice = f"did you mean {close[0]!r}?" if close else f"known options: {', '.join(known) or 'none'}"
            raise DiscoverError(f"{where} has no option {option!r}: {advice}")
        annotation, default = known[option].annotation, known[option].default
        kinds = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
        most = math.inf if isinstance(default, float) and math.isinf(default) else sys.float_info.max
        if set(kinds) <= set(PLAIN) and not any(_is(value, kind, most) for kind in kinds):
            wanted = " or ".join(PLAIN[kind] for kind in kinds)
            raise DiscoverError(f"{where}: {option} must be {wanted}, found {value!r:.80}")
    for parameter in parameters:
        if parameter.default is parameter.empty and parameter.name not in options:
            raise DiscoverError(f"{where} needs the option {parameter.name!r}")


def _is(value: Any, kind: Any, most: float) -> bool:
    """Whether a value of YAML is of a plain type; true is no number there, and a whole number will do for any."""
    if isinstance(value, bool):
        return kind is bool
    if kind == Count:
        return isinstance(value, int) and value >= 1
    if kind in (float, Weight):
        return isinstance(value, int | float) and (0 if kind == Weight else -most) <= value <= most  # which nan is not
    return isinstance(value, kind)


def _from_file(word: str) -> Any:
    file, _, name = word.rpartition(":")
    path = Path(file)
    if not path.is_file():
        raise DiscoverError(f"{word!r} names the file {path}, which does not exist: give path/file.py:name")
    spec = importlib.util.spec_from_file_location(f"{OWN}{path.stem}", path)
    if spec is None or spec.loader is None:
        raise DiscoverError(f"{word!r}: {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a script may end with sys.exit, which would be taken for our own end
        raise DiscoverError(f"{path} fails on import: {type(error).__name__}: {error}{_where(error)}") from error
    if not hasattr(module, name):
        raise DiscoverError(f"{path} defines no {name!r}")
    return getattr(module, name)
