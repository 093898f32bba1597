"""A simulated annotator who knows what the imported file says, and errs at a given rate."""

from collections.abc import Sequence

import numpy as np

from discover.errors import DiscoverError
from discover.pool.document import Document


class file_labels:  # the name is the word in a config
    """Answers with the label that came with the document.

    Args:
        noise: share of answers that are wrong, each drawn uniformly from the other classes.
        seed: of the errors. An error depends on seed and text alone, never on the order of the questions.
        classes: the labels to err with; needed when noise is above 0.

    Raises:
        DiscoverError: the noise is no share, or the classes are no list, or too few to choose from.
    """

    def __init__(self, *, noise: float = 0.0, seed: int = 0, classes: Sequence[str] = ()):
        if not 0 <= noise <= 1:
            raise DiscoverError(f"noise must be a share from 0 to 1, got {noise}")
        if seed < 0:
            raise DiscoverError(f"seed must be 0 or more, got {seed}")
        if isinstance(classes, str) or not isinstance(classes, Sequence):
            raise DiscoverError(f"classes must be a list of labels, as in label.classes, got {classes!r:.80}")
        self.classes = list(dict.fromkeys(map(str, classes)))  # one that is listed twice is no likelier
        if noise and len(self.classes) < 2:
            raise DiscoverError(
                f"noise needs classes to err with: list two or more in label.options, found {self.classes}"
            )
        self.noise = noise
        self.seed = seed

    def answer(self, documents: Sequence[Document]) -> list[str | None]:
        """One label a document; None where the file gave none."""
        return [self._said(document) for document in documents]

    def _said(self, document: Document) -> str | None:
        if document.label is None or not self.noise:
            return document.label
        rng = np.random.default_rng([self.seed, int(document.public_id, 16)])
        if rng.random() >= self.noise:
            return document.label
        return str(rng.choice([label for label in self.classes if label != document.label]))
