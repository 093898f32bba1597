"""The text classifier: an estimator over row ids that learns in increments, as modAL and scikit-learn call it."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from discover.embed.encoder import Encoder
from discover.errors import DiscoverError
from discover.learn import head, network, training
from discover.learn.activations import ActivationCache
from discover.learn.config import LearnConfig
from discover.pool.document import Document

CHUNK = 4096


class TextClassifier:
    """Class probabilities of documents, from answers and, before there are any, from the classes' descriptions.

    Training is a function of the answers' texts and classes, the weights before, and the seed: neither row ids nor the
    order of arrival matter.

    Args:
        encoder: the frozen transformer, and what is fine-tuned of it.
        texts: gives the texts of row ids, aligned with them.
        classes: name: one-line description, which may be empty.
        config: how to learn.
        seed: of all draws.
        cache: of the frozen part's output; may be shared with other classifiers of the same pool.
        vectors: gives stored vectors (k, d) of row ids; without it documents are encoded when needed.

    Attributes:
        classes_: class indices, (c,).
        taught: row id to class index, as last trained on.
        temperature: divides the logits; 1 until it is calibrated.
    """

    def __init__(
        self,
        encoder: Encoder,
        texts: Callable[[Sequence[int]], list[str]],
        classes: dict[str, str],
        config: LearnConfig,
        seed: int,
        cache: ActivationCache | None = None,
        vectors: Callable[[Sequence[int]], NDArray[np.float32]] | None = None,
    ):
        self.encoder = encoder
        self.texts = texts
        self.classes = dict(classes)
        self.config = config
        self.seed = seed
        self.cache = cache or ActivationCache(config.cache_megabytes)
        self.vectors = vectors or self._encoded
        self.classes_ = np.arange(len(classes))
        self.taught: dict[int, int] = {}
        self.temperature = 1.0
        self.layer = 0 if config.method == "full" else max(0, encoder.layers - config.layers)
        self.prior = encoder.encode([describe(name, text) for name, text in classes.items()])
        self._linear: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
        self._network: network.Network | None = None
        self._frozen: network.FrozenNetwork | None = None
        self._keys: dict[int, str] = {}

    def fit(self, X: NDArray[np.int64], y: NDArray[np.int64]) -> "TextClassifier":
        """Learn the answers as they now stand, starting from what is known.

        New and corrected answers are trained on, with a replay of the others; answers that are as they were taught
        change nothing. Without any answer it is untaught again.

        Args:
            X: (m, 1) row ids, each once.
            y: (m,) class indices.
        """
        answers = dict(zip((int(row) for row in np.asarray(X).ravel()), (int(one) for one in y), strict=True))
        if len(answers) != len(y) or not set(answers.values()) <= set(range(len(self.classes))):
            raise ValueError(f"fit takes each document once, with a class index under {len(self.classes)}")
        if answers == self.taught:
            return self
        if not answers:
            self._linear = self._network = self._frozen = None
            self.taught, self.temperature = {}, 1.0
            return self
        fresh = {row for row, answer in answers.items() if self.taught.get(row) != answer}
        ids = self._ordered(list(answers))
        classes = np.array([answers[row] for row in ids], dtype=np.int64)
        if self.config.method == "head":
            weights = training.class_weights(classes, len(self.classes))
            self._linear = head.fit(self.vectors(ids), classes, self.prior, self.config.head_penalty, weights)
        else:
            self._fine_tune(ids, classes, np.array([row in fresh for row in ids]), len(answers))
        self.taught = {row: answers[row] for row in ids}
        return self

    def predict_proba(self, X: NDArray[np.int64]) -> NDArray[np.float64]:
        """Probabilities, (n, c), of row ids X (n, 1); from the descriptions while nothing is taught."""
        scaled = self.logits(X) / self.temperature
        scaled -= scaled.max(axis=1, keepdims=True, initial=-np.inf)
        exponentials = np.exp(scaled)
        return exponentials / exponentials.sum(axis=1, keepdims=True)

    def predict(self, X: NDArray[np.int64]) -> NDArray[np.int64]:
        """The most probable class index of each document, (n,)."""
        return self.logits(X).argmax(axis=1)

    def logits(self, X: NDArray[np.int64]) -> NDArray[np.float64]:
        """Logits before the temperature, (n, c)."""
        ids = [int(row) for row in np.asarray(X).ravel()]
        found = [self._logits(ids[start : start + CHUNK]) for start in range(0, len(ids), CHUNK)]
        return np.concatenate(found) if found else np.empty((0, len(self.classes)))

    def state(self) -> dict[str, torch.Tensor]:
        """What was trained, as tensors: all that `restore` needs besides encoder and settings."""
        state = {
            "taught.ids": torch.tensor(list(self.taught), dtype=torch.int64),
            "taught.classes": torch.tensor(list(self.taught.values()), dtype=torch.int64),
        }
        if self._linear is not None:
            state |= {f"linear.{i}": torch.from_numpy(array.copy()) for i, array in enumerate(self._linear)}
        if self._network is not None:
            state |= {name: tensor.cpu().contiguous() for name, tensor in self._network.state_dict().items()}
        return state

    def restore(self, state: dict[str, torch.Tensor], temperature: float) -> None:
        """Become the classifier that `state` was taken from: its predictions and its next training, bit for bit."""
        state = dict(state)
        ids, classes = state.pop("taught.ids").tolist(), state.pop("taught.classes").tolist()
        self._linear = self._network = self._frozen = None
        if "linear.0" in state:
            self._linear = (state["linear.0"].numpy(), state["linear.1"].numpy())
        elif state:
            self._network = self._untrained()
            self._network.load_state_dict(state)
            self._frozen = self._freeze(self._network)
        self.taught = dict(zip(ids, classes, strict=True))
        self.temperature = temperature

    def _logits(self, ids: list[int]) -> NDArray[np.float64]:
        if self._frozen is not None:
            return self._frozen.logits(self._inputs(ids))
        weights, bias = self._linear or (self.prior.astype(np.float64), np.zeros(len(self.classes)))
        return head.logits(self.vectors(ids), weights, bias)

    def _fine_tune(self, ids: list[int], classes: NDArray, fresh: NDArray, total: int) -> None:
        trained = self._network or self._untrained()
        rng = np.random.default_rng([self.seed, total])
        examples = training.Examples(self._inputs(ids), classes, fresh)
        self._fit_head(trained, examples)
        training.train(trained, examples, self.config, rng, self.encoder.dtype)
        if not all(parameter.isfinite().all() for parameter in trained.parameters()):
            raise DiscoverError(
                "training must end in finite weights, but they grew without bound: lower learn.learning_rate "
                "and learn.head_learning_rate, then give the same command again"
            )
        self._network, self._frozen = trained, self._freeze(trained)

    def _fit_head(self, trained: network.Network, examples: training.Examples) -> None:
        """Fit the head to all answers before the layers move, so that they are not moved by a head that is off.

        Kumar et al., "Fine-tuning can distort pretrained features and underperform out-of-distribution", 2022,
        https://arxiv.org/abs/2202.10054.
        """
        vectors = self._freeze(trained).vectors(examples.inputs)
        weights = training.class_weights(examples.classes, len(self.classes))
        trained.set_head(*head.fit(vectors, examples.classes, self.prior, self.config.head_penalty, weights))

    def _freeze(self, trained: network.Network) -> network.FrozenNetwork:
        return network.FrozenNetwork(trained, self.encoder.dtype, self.encoder.limit)

    def _untrained(self) -> network.Network:
        return network.Network(
            self.encoder.trainable(self.layer), torch.from_numpy(self.prior), self.encoder.pooling, self.layer == 0
        ).to(self.encoder.device)

    def _inputs(self, ids: list[int]) -> list[torch.Tensor]:
        """Token ids, or activations below the layers that are trained."""

        def compute(missing: list[int]) -> list[torch.Tensor]:
            tokens = self.encoder.tokenize(self.texts(missing))
            return self.encoder.lower(tokens, self.layer) if self.layer else tokens

        return self.cache.get((self.encoder.version, self.layer), ids, compute)

    def _encoded(self, ids: Sequence[int]) -> NDArray[np.float32]:
        def compute(missing: list[int]) -> list[torch.Tensor]:
            return list(torch.from_numpy(self.encoder.encode(self.texts(missing))))

        kept = self.cache.get((self.encoder.version, "vector"), list(ids), compute)
        return torch.stack(kept).numpy() if kept else np.empty((0, self.encoder.dimension), np.float32)

    def _ordered(self, ids: list[int]) -> list[int]:
        """By public id, which is a hash of the text: neither row ids nor arrival may change a result."""
        missing = [row for row in ids if row not in self._keys]
        self._keys.update(zip(missing, (Document(text).public_id for text in self.texts(missing)), strict=True))
        return sorted(ids, key=lambda row: self._keys[row])


def describe(name: str, description: str) -> str:
    """A class as a text to embed."""
    words = name.replace("_", " ").replace("-", " ")
    return f"{words}: {description}" if description else words


def column(ids: Any) -> NDArray[np.int64]:
    """Row ids as scikit-learn and modAL want samples: (n, 1) int64."""
    return np.asarray(ids, dtype=np.int64).reshape(-1, 1)
