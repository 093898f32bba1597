"""A simulated annotator that reads a document's class off the addresses of its pages, by a table."""

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from discover.errors import DiscoverError
from discover.pool.document import Document


class page_table:  # the name is the word in a config
    """Answers from a table of page names, such as the chapters of a reference work.

    A page's name is the last part of its address without ``.html``; a dotted name that the table lacks is looked up
    by its parents, ``json.decoder`` then ``json``.

    Args:
        table: page name to label, or to a list of labels where a document may have several.

    Raises:
        DiscoverError: it is no such table.
    """

    def __init__(self, *, table: dict[str, Any]):
        if not isinstance(table, dict):
            raise DiscoverError(f"table must be `page name: label`, a line each, in label.options, got {table!r:.80}")
        for name, said in table.items():
            for label in said if isinstance(said, list) else [] if said is None else [said]:
                if isinstance(label, bool) or not isinstance(label, str | int | float):
                    raise DiscoverError(
                        f"table must give each page a label, or a list of labels, got {label!r:.80} for {name!r:.80}: "
                        "write a name in quotes that YAML reads as something else"
                    )
        # YAML reads the page 12 as a number; in what order labels are listed says nothing.
        self.table = {str(n): sorted(said, key=str) if isinstance(said, list) else said for n, said in table.items()}

    def answer(self, documents: Sequence[Document]) -> list[Any]:
        """A label a document, or a list of them; None where a page is not in the table, or where pages disagree."""
        return [self._agreed(document.sources or [document.address]) for document in documents]

    def _agreed(self, addresses: Sequence[str]) -> Any:
        said = [self._look_up(address) for address in addresses]
        return said[0] if said and all(one == said[0] for one in said) else None

    def _look_up(self, address: str) -> Any:
        try:
            path = urlsplit(address).path
        except ValueError:  # a file may say anything
            return None
        name = PurePosixPath(unquote(path)).name.removesuffix(".html")
        while name not in self.table and "." in name:
            name = name.rpartition(".")[0]
        return self.table.get(name)
