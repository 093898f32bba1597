"""What finds documents by meaning: an encoder, the vectors that it gave the pool, and the index over them."""

import functools
from pathlib import Path

from discover.embed.encoder import Encoder
from discover.embed.index import Index
from discover.embed.vectors import VectorStore


class Retriever:
    """An encoder with its vectors and its index. Another encoder makes another retriever; the three never mix.

    Args:
        encoder: whose vectors they are.
        folder: of all encoders' vectors; this one's, and the index, get a folder of its version's name.

    Attributes:
        encoder: text to vectors.
        store: the memory-mapped vectors.
    """

    def __init__(self, encoder: Encoder, folder: Path):
        self.encoder = encoder
        self.store = VectorStore(folder, encoder.version, encoder.dimension)

    @functools.cached_property
    def index(self) -> Index:
        """FAISS over the store. It saves what it has built, so that only who holds the run asks for it."""
        return Index(self.store, self.store.folder)
