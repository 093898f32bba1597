"""A simulated annotator that reads a document's class off the addresses of its pages, by a table."""

from collections.abc import Sequence
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from discover.pool.document import Document


class page_table:  # the name is the word in a config
    """Answers from a table of page names, such as the chapters of a reference work.

    A page's name is the last part of its address without ``.html``; a dotted name that the table lacks is looked up
    by its parents, ``json.decoder`` then ``json``.

    Args:
        table: page name to label.
    """

    def __init__(self, *, table: dict[str, str]):
        self.table = {str(name): label for name, label in table.items()}  # YAML reads the page 12 as a number

    def answer(self, documents: Sequence[Document]) -> list[str | None]:
        """One label a document; None where a page is not in the table, or where pages disagree."""
        return [self._agreed(document.sources or [document.address]) for document in documents]

    def _agreed(self, addresses: Sequence[str]) -> str | None:
        labels = {self._look_up(address) for address in addresses}
        return labels.pop() if len(labels) == 1 else None

    def _look_up(self, address: str) -> str | None:
        try:
            path = urlsplit(address).path
        except ValueError:  # a file may say anything
            return None
        name = PurePosixPath(unquote(path)).name.removesuffix(".html")
        while name not in self.table and "." in name:
            name = name.rpartition(".")[0]
        return self.table.get(name)
