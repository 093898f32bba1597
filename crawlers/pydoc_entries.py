"""From a pydoc page to its entries: what it says about a module, and about each class, function and method in it.

The page is read by what pydoc has kept from Python 3.11 to 3.13: an ``<a name=…>`` at each definition, ``dt`` and
``dd`` around each routine, ``span class="code"`` around each docstring, and the words "inherited from" before what a
class only inherits. Properties and data are left out: their documentation is mostly a few words or a value.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from lxml import etree  # type: ignore[import-untyped]
from lxml import html as lxml_html

MASK = "…"
MIN_WORDS = 5
# What every class says of these methods, whatever it is about.
_BOILERPLATE = re.compile(
    r"(Initialize self|Create and return a new object)\. See help\(\S+\) for accurate signature\."
)
_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")  # a default value's place in memory differs from run to run
_PATH = re.compile(r"(?<![\w/.])/(?:[\w.+-]+/){2,}[\w.+-]*")


@dataclass(frozen=True)
class Entry:
    """One documented thing.

    Attributes:
        kind: module, class, function or method.
        name: qualified inside the module, like ``JSONDecoder.decode``; empty for the module itself.
        signature: with its parentheses; empty where there is none.
        documentation: the docstring.
    """

    kind: str
    name: str
    signature: str
    documentation: str

    def text(self, module: str) -> str:
        """Kind, name, signature and documentation, with nothing in them that names the module."""
        text = f"{self.kind} {self.name}{self.signature}\n{self.documentation}"
        return mask(_PATH.sub(MASK, _ADDRESS.sub("", text)), module)


def mask(text: str, module: str) -> str:
    """Replace the module's dotted name, and each part of it, wherever it stands as a word.

    A word ends at what is neither a letter nor a digit, so ``_json`` and ``json_x`` count too; case does not matter.
    """
    return _names(module).sub(MASK, text)


def entries(content: bytes, module: str) -> Iterator[Entry]:
    """The entries of a module's pydoc page, UTF-8, in the order of the page; none for a page of another kind.

    What a class inherits belongs to the page of the class that defines it, so it is left out here, unless that class is
    in the module's private half, as ``_socket`` is of ``socket``: that has no page in the reference.
    """
    if not content.strip():
        return
    tree = lxml_html.document_fromstring(content, parser=lxml_html.HTMLParser(encoding="utf-8"))
    head = tree.find(".//table[@class='heading']")
    if head is None:
        return
    yield from _module(head)
    for anchor in tree.iter("a"):
        if anchor.get("name") is None:
            continue
        entry = _routine(anchor, module) if anchor.getparent().tag == "dt" else _class(anchor)
        if entry is not None and _says_something(entry.documentation):
            yield entry


def _module(head: etree._Element) -> Iterator[Entry]:
    following = head.getnext()
    if following is None or following.tag != "p":
        return
    code = following.find("span[@class='code']")
    if code is not None and _says_something(_text(code)):
        yield Entry("module", "", "", _text(code))


def _class(anchor: etree._Element) -> Entry | None:
    name = anchor.get("name")
    table = next(anchor.iterancestors("table"), None)
    if table is None or not _text(anchor).startswith("class "):
        return None
    code = table.find("tr/td[@colspan='2']/span[@class='code']")
    documentation = _text(code) if code is not None else ""
    # pydoc writes the constructor's signature before the docstring, from 3.13 on over several lines if it is long
    first, *rest = re.split(r"\n\s*\n", documentation, maxsplit=1)
    if rest and first.startswith(f"{name}("):
        return Entry("class", name, _flat(first.removeprefix(name)), rest[0].strip())
    return Entry("class", name, "", documentation)


def _routine(anchor: etree._Element, module: str) -> Entry | None:
    row = anchor.getparent()
    description = row.getnext()
    owner, _, name = anchor.get("name").rpartition("-")
    if description is None or description.tag != "dd":
        return None
    if owner:
        origin = _inherited_from(row.getparent())
        home = origin.rpartition(".")[0]
        if origin and not (home.startswith("_") and home.strip("_") in module.split(".")):
            return None
        owner = origin.rpartition(".")[2] or owner
    title = "".join(part for part in row.itertext() if part)
    for note in row.iterfind("span"):  # "from builtins.type" and the like
        title = title.replace("".join(note.itertext()), "")
    opening = title.find("(")
    signature = _flat(title[opening:]) if opening >= 0 else ""
    qualified = f"{owner}.{name}" if owner else name
    return Entry("method" if owner else "function", qualified, signature, _text(description))


def _inherited_from(listing: etree._Element) -> str:
    """The class that the section around a ``dl`` is inherited from, or an empty string."""
    origin = ""
    for element in listing.itersiblings(preceding=True):
        tail = (element.tail or "").strip()
        if tail.endswith("inherited from"):
            return origin
        if tail.endswith("defined here:"):
            return ""
        origin = _text(element) if element.tag == "a" else ""
    start = (listing.getparent().text or "").strip()  # the first section stands before any element
    return origin if start.endswith("inherited from") else ""


def _says_something(documentation: str) -> bool:
    flat = " ".join(documentation.split())
    return len(flat.split()) >= MIN_WORDS and not _BOILERPLATE.fullmatch(flat)


def _flat(signature: str) -> str:
    return " ".join(signature.split()).replace("( ", "(").replace(", )", ")").replace(" )", ")")


def _text(element: etree._Element) -> str:
    return "".join(element.itertext()).replace("\xa0", " ").strip()


@lru_cache(maxsize=4096)
def _names(module: str) -> re.Pattern[str]:
    parts = {part.strip("_") for part in module.split(".")} | {part for part in module.split(".")} | {module}
    longest_first = sorted((re.escape(part) for part in parts if part.strip("_")), key=lambda part: (-len(part), part))
    return re.compile(rf"(?<![^\W_])(?:{'|'.join(longest_first)})(?![^\W_])", re.IGNORECASE)
