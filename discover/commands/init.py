"""`discover init`: a few questions, then a commented config of one's own."""

import shlex
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from discover import values
from discover.config import Config, validate
from discover.errors import DiscoverError
from discover.pool.document import clean
from discover.pool.formats import kind_of

QUESTIONS = {"multiclass": "Which label fits?", "multilabel": "Which labels fit?", "spans": "What is named here?"}
KNOWN = "Each class and one line that says what belongs there; the model starts from these words alone."
TOLD = "Each type of entity and one line that tells annotators what belongs there; the model learns from answers alone."

TEMPLATE = """\
# {question}
# `discover run {path}` starts the loop, `discover serve {path}` shows the questions it asks.
{source}
label:
  question: {question_yaml}
  task: {task:<13} # multiclass: one label a document; multilabel: any number of them, or none; spans: named entities
  # {about}
  classes:
{classes}
  oracle: people      # you; a simulated annotator is for experiments
  budget: {budget}         # answers you are willing to give
  audit: 0.1          # share of them drawn blind and uniformly: they say how good the model is

query:
  strategy: auto      # what is worth asking: a file in discover/query/strategies, or path/file.py:name
  batch: 20           # questions a round
"""

CRAWL = """
crawl:
  start:
{start}
  allowed_domains: {domains}
  max_pages: 1000
  delay: 1.0          # seconds between two requests to one host
  contact: ""         # your address, for the site's owner; sent with every request
  background: true    # the loop begins with the first pages, and the crawl goes on beside it
  # revisit: 7        # days after which a page is fetched again, for what it says and links to by then
"""

FILES = """\
# Bring your documents in first:
#   discover import {path} {files}

pool:
  min_characters: 1   # short questions are documents too
"""


def init(folder: Path, ask: Callable[[str], str] = input) -> Path:
    """Ask for addresses or files, what an answer is, the question and the labels, and write ``folder/config.yaml``.

    Args:
        folder: made where it does not exist.
        ask: shows a prompt and returns a line.

    Raises:
        DiscoverError: a config is there already, the folder cannot be written to, or an answer does not do.
    """
    path = folder / "config.yaml"
    if path.exists():
        raise DiscoverError(f"{path} exists already: choose another folder, or edit it")
    try:
        content = _compose(path, ask)
        _check(content)
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    except EOFError as error:
        raise DiscoverError("the questions ended before they were answered: nothing was written") from error
    except UnicodeError as error:
        raise DiscoverError(
            f"answers must be UTF-8, but {error}: set the terminal to it; nothing was written"
        ) from error
    except OSError as error:
        raise DiscoverError(f"{path} cannot be written: {error.strerror or error}: choose another folder") from error
    print(f"{path} is written; look it over: its first lines say how to go on")
    return path


def _compose(path: Path, ask: Callable[[str], str]) -> str:
    source = _source(path, ask("Addresses to crawl, or files to import (separated by spaces): "))
    print(
        "An answer is one label a document (multiclass), any number of them (multilabel), or marked entities (spans)."
    )
    task = ask("Which of the three? [multiclass]: ").strip() or "multiclass"
    if task not in QUESTIONS:
        raise DiscoverError(f"one of {', '.join(QUESTIONS)} is expected, got {task!r}: nothing was written")
    usual = QUESTIONS[task]
    question = _tidy(ask(f"The question, as an annotator should read it [{usual}]: ")) or usual
    print("The labels, one a line, as `name: what belongs there`; an empty line ends them.")
    classes: dict[str, str] = {}
    while line := _tidy(ask(f"label {len(classes) + 1}: ")):
        name, _, description = (part.strip() for part in line.partition(":"))
        if not name or name in classes:
            print(f"a label needs a name of its own, got {name!r}: not taken")
        else:
            classes[name] = description
    budget = ask("How many answers are you willing to give? [300]: ").strip() or "300"
    if not budget.isdecimal() or int(budget) < 1:
        raise DiscoverError(
            f"the number of answers must be a whole number above 0, got {budget!r}: nothing was written"
        )
    return TEMPLATE.format(
        path=shlex.quote(str(path)),
        question=" ".join(question.split()),
        question_yaml=_line(question),
        source=source,
        task=task,
        about=TOLD if task == "spans" else KNOWN,
        classes="\n".join(f"    {_line(name)}: {_line(text)}" for name, text in classes.items()),
        budget=int(budget),
    )


def _tidy(answer: str) -> str:
    """An answer as labels are when they are read; one that is not UTF-8 is refused, which not every `input` does."""
    answer.encode()
    return clean(answer)


def _check(content: str) -> None:
    try:
        validate(Config, values.parse(content), "your answers make no config")
    except DiscoverError as error:
        raise DiscoverError(f"{error}: nothing was written") from error
    except yaml.YAMLError as error:  # they stand in comments, where nothing can be escaped
        raise DiscoverError(
            "the name of FOLDER or of a file holds a character that a config cannot: rename it, nothing was written"
        ) from error


def _source(path: Path, answer: str) -> str:
    try:
        places = shlex.split(answer)
    except ValueError as error:
        raise DiscoverError(f"a quotation mark is missing in {answer!r}: nothing was written") from error
    if not places:
        raise DiscoverError("an address (https://…) or a file (JSONL, CSV, Parquet) is needed: nothing was written")
    addresses = [place for place in places if place.startswith(("http://", "https://"))]
    if not addresses:
        missing = next((place for place in places if not Path(place).is_file()), None)
        if missing is not None:
            raise DiscoverError(
                f"there is no file {missing!r}, and an address begins with https://: nothing was written"
            )
        for place in places:  # else the import that the config's first lines name would be refused
            kind_of(Path(place))
        return FILES.format(path=shlex.quote(str(path)), files=shlex.join(places))
    if len(addresses) < len(places):
        other = next(place for place in places if place not in addresses)
        raise DiscoverError(f"give addresses or files, not both: {other!r} does not begin with http:// or https://")
    hosts = sorted({_host(address) for address in addresses})
    start = "\n".join(f"    - {_line(address)}" for address in addresses)
    return CRAWL.format(start=start, domains="[" + ", ".join(_line(host) for host in hosts) + "]")


def _host(address: str) -> str:
    try:
        host = urlsplit(address).hostname
    except ValueError:
        host = None
    if not host:
        raise DiscoverError(f"{address!r} is no address like https://example.org/news: nothing was written")
    return host


def _line(text: str) -> str:
    """A text as one YAML scalar."""
    return yaml.safe_dump(text, default_style='"', width=10**6, allow_unicode=True).strip()
