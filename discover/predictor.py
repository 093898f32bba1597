"""A published model, for texts outside the pool: what it says of them, and why."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from discover.config import Config
from discover.errors import DiscoverError
from discover.evaluate import explained
from discover.pool.labels import Labels
from discover.pool.pool import Pool

if TYPE_CHECKING:
    from discover.embed.encoder import Encoder
    from discover.learn.explain import Explanation
    from discover.learn.prediction import Prediction


class Predictor:
    """One version of a model, for one thread at a time. Of the texts that it is given nothing is kept.

    Args:
        folder: the published model.
        encoder: that it was made with.
        pool: holds the answers that it learned.
        labels: what they are.
        config: of the run.

    Raises:
        DiscoverError: the model is missing, damaged, or was made for something else.
    """

    def __init__(self, folder: Path, encoder: "Encoder", pool: Pool, labels: Labels, config: Config):
        from discover.learn import estimators, registry
        from discover.learn.activations import ActivationCache

        self._pool, self._labels = pool, labels
        self._texts: list[str] = []
        self._explainers: dict[int | None, Any] = {}  # by how many spans: made when a reason is first asked for
        settings, cache = config.label, ActivationCache(0)
        untaught = estimators.untaught(
            encoder, self._read, settings.classes, config.learn, config.seed, cache, None, settings.task
        )
        self._classifier: Any = registry.load(folder, untaught, exact=False)

    def predict(self, texts: Sequence[str]) -> np.ndarray:
        """Calibrated probabilities, (n, c), of n texts."""
        return self._classifier.predict_proba(self._given(texts, "predict"))

    def predicted(self, texts: Sequence[str]) -> "Prediction":
        """Its answers about n texts, and how sure it is of them."""
        return self._classifier.predicted(self._given(texts, "predicted"))

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        """The answers that it gives, of its (n, c) probabilities: (n,) class indices, or (n, c) 0 and 1."""
        if self._labels.task == "spans":
            raise DiscoverError("probabilities do not say where spans are: take predicted, which has the answers")
        return self._classifier.decide(probabilities)

    def explain(self, texts: Sequence[str], spans: int | None = None) -> list[dict[str, Any]]:
        """Why it predicts what it does of n texts, of entities the first ``spans``: see `explained.plain`."""
        from discover.learn.explain import explainer_of

        ids = self._given(texts, "explain")
        if spans not in self._explainers:
            self._explainers[spans] = explainer_of(self._classifier, spans)
        return told(self._explainers[spans].explain(ids), self._pool, self._labels)

    def _given(self, texts: Sequence[str], what: str) -> np.ndarray:
        """(n, 1) row ids of texts outside the pool: negative, as no row's are."""
        if isinstance(texts, str):
            raise TypeError(f"{what} takes several texts, got one: put it in a list")
        other = next(
            (f"{type(text).__name__} at {at}" for at, text in enumerate(texts) if not isinstance(text, str)), ""
        )
        if other:
            raise TypeError(f"{what} takes texts, got {other}")
        # Half a character is none that a tokenizer takes; it becomes another, so that spans stay where they are.
        self._texts = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        return -1 - np.arange(len(texts), dtype=np.int64)[:, None]

    def _read(self, ids: Sequence[int]) -> list[str]:
        return [self._texts[-1 - row] for row in ids] if ids and ids[0] < 0 else self._pool.texts(ids)


def told(
    explanations: Sequence["Explanation"] | Sequence[list["Explanation"]], pool: Pool, labels: Labels
) -> list[dict[str, Any]]:
    """Explanations as plain values; the neighbours' documents are those of the pool."""
    flat = [one for each in explanations for one in (each if isinstance(each, list) else [each])]
    rows = sorted({near.row for one in flat for near in one.neighbours})
    return explained.plain(explanations, labels, dict(zip(rows, pool.documents(rows), strict=True)))
