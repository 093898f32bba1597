"""The config file: the stages' own settings, composed, checked and saved with the run."""

import difflib
import ipaddress
import re
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import Field, ValidationError, field_validator

from discover import plugins, values
from discover.embed.config import EncoderConfig
from discover.errors import DiscoverError
from discover.label.config import LabelConfig
from discover.learn.config import LearnConfig
from discover.learn.pretrain.config import PretrainConfig
from discover.pool.config import PoolConfig
from discover.query.config import QueryConfig
from discover.run import publish
from discover.strict import Strict

Model = TypeVar("Model", bound=Strict)


class CrawlConfig(Strict):
    """What `python -m crawlers` fetches, and how politely; `discover` starts it, so its settings are checked here."""

    spider: str = Field("site", description="a file in crawlers/spiders, or path/file.py:name")
    start: list[str] = Field([], description="addresses to begin with")
    allowed_domains: list[str] = Field([], description="empty: the hosts of `start`")
    serve: str = Field("", description="a module that serves pages on loopback meanwhile, like crawlers.pydoc_site")
    options: dict[str, Any] = Field({}, description="the spider's keyword-only parameters")
    max_pages: int = Field(1000, ge=1)
    max_depth: int = Field(5, ge=0)
    delay: float = Field(1.0, ge=0, description="seconds between two requests to one host")
    revisit: float | None = Field(None, gt=0, description="days after which a page is fetched again; none: never")
    concurrency: int = Field(8, ge=1, description="requests at a time; one a host unless delay is 0")
    allow_private: list[str] = Field([], description="host:port pairs on private networks that the guard lets through")
    contact: str = Field("", description="an address for site owners, sent with every request")
    background: bool = Field(False, description="crawl while the loop runs; otherwise before it")

    @field_validator("allow_private")
    @classmethod
    def _pairs(cls, value: list[str]) -> list[str]:
        for pair in value:
            if not re.fullmatch(r"[^\s/]+:\d{1,5}", pair):
                raise ValueError(f"host:port is expected, like 127.0.0.1:8000, found {pair!r}")
        return value

    @field_validator("allowed_domains")
    @classmethod
    def _hosts(cls, value: list[str]) -> list[str]:
        return [_host(word) for word in value]


class LoopConfig(Strict):
    """How long, and against what."""

    rounds: int | None = Field(None, ge=0, description="none: until the budget is spent")
    arms: list[str] = Field([], description="strategies compared on one pool; empty: query.strategy alone")
    stop: str = Field(
        "", description="a file in query/stopping, or path/file.py:name; empty: by rounds and budget alone"
    )
    stop_options: dict[str, Any] = Field({}, description="the rule's keyword-only parameters")
    keep_models: int | None = Field(None, ge=2, description="newest models of each arm that stay on disk; none: all")
    test: int = Field(0, ge=0, description="documents held out and answered by a simulated oracle, outside the budget")


class Config(Strict):
    """A whole config file."""

    name: str = Field("", description="of the run folder; empty: the config file's name")
    seed: int = Field(0, ge=0, lt=2**63)
    crawl: CrawlConfig | None = None
    pool: PoolConfig = PoolConfig()
    encoder: EncoderConfig = EncoderConfig()
    query: QueryConfig = QueryConfig()
    label: LabelConfig
    pretrain: PretrainConfig = PretrainConfig()
    learn: LearnConfig = LearnConfig()
    loop: LoopConfig = LoopConfig()

    @field_validator("name")
    @classmethod
    def _one_folder(cls, value: str) -> str:
        if value in (".", "..") or "/" in value or "\0" in value:
            raise ValueError(f"it names a folder under runs/, so it must be one name without a slash, found {value!r}")
        if re.search("[\ud800-\udfff]", value):  # by default it is the config file's
            raise ValueError("it stands in files that are UTF-8, and is not: set another, or rename the config file")
        return value


def _host(word: str) -> str:
    """A host as addresses have it once they are canonical: a name by IDNA, in lower case."""
    try:
        return str(ipaddress.IPv6Address(word.strip("[]")))
    except ValueError:
        pass
    try:
        name = word.lower().encode("idna").decode()
    except UnicodeError:  # an empty label, or one too long
        name = ""
    if not re.fullmatch(r"[^\s/:@*]+", name):
        raise ValueError(f"host names are expected, like example.org (its subdomains are included), found {word!r}")
    return name


def strategies_of(config: Config) -> dict[str, str]:
    """Arm to the strategy's word in the config; the arm of ``path/file.py:name`` is ``name``.

    Raises:
        DiscoverError: two arms have one name.
    """
    arms: dict[str, str] = {}
    for word in config.loop.arms or [config.query.strategy]:
        name = plugins.name_of(word)
        if name in arms:
            raise DiscoverError(
                f"loop.arms lists {arms[name]!r} and {word!r}, which are both called {name!r}: rename one"
            )
        arms[name] = word
    return arms


def load_config(path: Path, overrides: list[str] | None = None) -> Config:
    """Read and check a config file of a run.

    Args:
        path: a YAML file.
        overrides: settings that replace those of the file, each ``a.b=value`` with a YAML value.

    Raises:
        DiscoverError: the file is missing or not YAML, a key is unknown, or a value does not fit.
    """
    content = read_settings(path, overrides)
    if not content.get("name"):
        content["name"] = path.resolve().parent.name if path.stem == "config" else path.stem
    return validate(Config, content, " ".join([str(path), *(f"--set {override}" for override in overrides or [])]))


def read_settings(path: Path, overrides: list[str] | None = None) -> dict[str, Any]:
    """Keys and values of a YAML file, some of them replaced, not yet checked.

    Raises:
        DiscoverError: the file is missing or not YAML, or an override is not ``a.b=value``.
    """
    try:
        content = values.parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise DiscoverError(f"a config file is needed, but {path} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise DiscoverError(f"{path} must be YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise DiscoverError(f"{path} must hold keys and values, found {type(content).__name__}: see configs/demo.yaml")
    for override in overrides or []:
        _override(content, override)
    return content


def validate(model: type[Model], content: dict[str, Any], where: str) -> Model:
    """Settings out of plain values.

    Raises:
        DiscoverError: a key is unknown, and the nearest known one is named; or a value does not fit.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problems = "; ".join(_explain(problem, model) for problem in error.errors())
        raise DiscoverError(f"{where}: {problems}") from error


def save_config(config: Config, path: Path) -> None:
    """Publish the resolved config, every default spelled out; one that has not changed is left alone."""
    content = values.render(config.model_dump())
    if not path.is_file() or path.read_text(encoding="utf-8") != content:
        with publish(path) as scratch:
            scratch.write_text(content, encoding="utf-8")


def _override(content: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals:
        raise DiscoverError(f"--set takes a.b=value, got {override!r}")
    *parents, last = key.strip().split(".")
    for parent in parents:
        if content.get(parent) is None:  # or every line of the section is commented out
            content[parent] = {}
        content = content[parent]
        if not isinstance(content, dict):
            raise DiscoverError(f"--set {override!r}: {parent!r} is not a section")
    try:
        content[last] = values.parse(value)
    except yaml.YAMLError as error:
        raise DiscoverError(f"--set {override!r}: the value must be YAML") from error


def _explain(problem: Any, root: type[Strict]) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = _known_keys(problem["loc"][:-1], root)
        close = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
        advice = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(known)}"
        return f"unknown key {where!r}: {advice}"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "missing":
        return f"key {where!r} is needed"
    return f"{where!r}: {message}, got {problem['input']!r:.80}" if where else message


def _known_keys(location: tuple[Any, ...], root: type[Strict]) -> list[str]:
    model: Any = root
    for part in location:
        if isinstance(part, int):  # a place in a list, whose items are of the model that is found already
            continue
        annotation = model.model_fields[part].annotation
        model = next(
            (kind for kind in getattr(annotation, "__args__", [annotation]) if hasattr(kind, "model_fields")),
            annotation,
        )
    return list(model.model_fields)
