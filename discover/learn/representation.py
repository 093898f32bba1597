"""What the heads see of documents: unit vectors under the frozen encoder, or under one that was fine-tuned."""

from collections.abc import Callable, Iterator, Sequence
from math import ceil
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from discover.embed.encoder import Encoder
from discover.embed.transformer import rejoin
from discover.errors import DiscoverError
from discover.learn import training
from discover.learn.activations import ActivationCache
from discover.learn.config import LearnConfig
from discover.learn.documents import Documents
from discover.learn.gradient import Examples
from discover.learn.likelihood import Head
from discover.learn.network import FrozenNetwork, Network

CHUNK = 4096  # documents whose vectors are computed at a time
TOKENS_OF = 256  # documents whose tokens' vectors are held at a time: of 512 tokens and 768 numbers each, 400 megabytes
NETWORK = "network."  # begins the names of its tensors among those of a model
# An increment takes less of the encoder's learning rate, and of the passes and fewest steps: with all it forgets more.
# Likewise the weights go only this share of the way to where it ends (WiSE-FT for new data: Ilharco et al., "Patching
# open-vocabulary models by interpolating weights", https://arxiv.org/abs/2208.05592).
RATE, PASSES, WAY = 0.5, 0.5, 0.8


class Representation:
    """The encoder under the heads.

    Args:
        encoder: the frozen transformer, and what is fine-tuned of it.
        texts: gives the texts of row ids, aligned with them.
        cache: of the frozen part's output.
        vectors: gives stored vectors (k, d) of row ids; without it documents are encoded when needed.
        prior: (c, d) weights that a network's head begins with: unit vectors of the classes' descriptions.
        config: what is trained of the encoder, and how.
        seed: of all draws.
        pooling: of a network's tokens; none: the encoder's.

    Attributes:
        layer: the lowest one that is trained.
        documents: as the frozen encoder has them.
    """

    def __init__(
        self,
        encoder: Encoder,
        texts: Callable[[Sequence[int]], list[str]],
        cache: ActivationCache,
        vectors: Callable[[Sequence[int]], NDArray[np.float32]] | None,
        prior: NDArray[np.float32],
        config: LearnConfig,
        seed: int,
        pooling: str | None = None,
    ):
        self._encoder, self._prior, self._config, self._seed = encoder, prior, config, seed
        self._pooling = pooling or encoder.pooling
        if config.method == "top" and config.layers > encoder.layers:
            raise DiscoverError(
                f"learn.layers must be at most {encoder.layers}, as many as {encoder.config.model} has, found "
                f"{config.layers}: take fewer, or `learn.method: full`"
            )
        self.layer = encoder.layers - config.layers if config.method == "top" else 0
        self.documents = Documents(encoder, texts, cache, self.layer, vectors)
        self._network: Network | None = None
        self._frozen: FrozenNetwork | None = None

    def vectors(self, ids: list[int]) -> NDArray[np.float32]:
        """(k, d) unit vectors: under the fine-tuned encoder, or as they are stored."""
        if not self._frozen:
            return self.documents.vectors(ids)
        chunks = [ids[start : start + CHUNK] for start in range(0, len(ids), CHUNK)]
        found = [self._frozen.vectors(self.documents.inputs(chunk)) for chunk in chunks]
        return np.concatenate(found) if found else np.empty((0, self._prior.shape[1]), np.float32)

    def states(self, ids: list[int]) -> Iterator[NDArray[np.float32]]:
        """(t, d) unit vectors of each document's tokens, under the fine-tuned encoder, which there must be."""
        assert self._frozen is not None
        for start in range(0, len(ids), TOKENS_OF):
            yield from self._frozen.states(self.documents.inputs(ids[start : start + TOKENS_OF]))

    @property
    def head(self) -> Head | None:
        """The head that was trained together with the encoder; None where that is as it was."""
        return self._network.trained_head() if self._network else None

    def fine_tune(
        self, ids: list[int], y: NDArray[Any], fresh: NDArray[np.bool_], head: Head | None, anew: bool
    ) -> list[tuple[float, float]]:
        """Train on answers: all of them anew, or an increment.

        Args:
            ids: m row ids, in an order that is the documents' own.
            y: their m answers, as `Examples.classes` has them.
            fresh: (m,) whether the answer is new or was corrected; the rest is replayed.
            head: that the network begins with, a new network always; None: with the one that it has.
            anew: whether the network is a new one.

        Returns:
            Loss and learning rate at each step.

        Raises:
            DiscoverError: the weights grew without bound.
        """
        rng, config = np.random.default_rng([self._seed, len(ids)]), self._config
        trained = self._untrained() if anew else self._network
        assert trained is not None
        if not anew:
            fewer = {name: ceil(PASSES * getattr(config, name)) for name in ("epochs", "steps")}
            config = config.model_copy(update={"learning_rate": RATE * config.rate, **fewer})
        if head is not None:
            # The head first, so that the layers are not moved by one that is off: Kumar et al., "Fine-tuning can
            # distort pretrained features and underperform out-of-distribution", https://arxiv.org/abs/2202.10054.
            trained.set_head(*head)
        before = {} if anew else {name: weights.clone() for name, weights in trained.trained().items()}
        examples = Examples(self.documents.inputs(ids), y, fresh)
        curve = training.train(trained, examples, config, rng, self._encoder.dtype)
        if not all(parameter.isfinite().all() for parameter in trained.parameters()):
            raise DiscoverError(
                "training must end in finite weights, but they grew without bound: lower learn.learning_rate "
                "and learn.head_learning_rate, then give the same command again"
            )
        if not anew:
            after = trained.trained()
            trained.restore({name: weights.lerp(after[name], WAY) for name, weights in before.items()})
        self._take(trained)
        return curve

    def forget(self) -> None:
        """Be the frozen encoder again."""
        self._network, self._frozen = None, None

    def transformer(self) -> Any:
        """A whole transformer of its own, as it predicts, in float32."""
        if not self._network:
            found = self._encoder.trainable(0)
        elif self.layer:
            found = rejoin(self._network.merged(), self._encoder.trainable(0), self.layer)
        else:
            found = self._network.merged()
        return found.eval()

    def state(self) -> dict[str, torch.Tensor]:
        """What was trained, by name; nothing where nothing was."""
        trained = self._network.trained() if self._network else {}
        return {f"{NETWORK}{name}": tensor for name, tensor in trained.items()}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Become what `state` was taken from; what else there is in it is left aside.

        Raises:
            RuntimeError: a tensor is missing, unknown, or of another shape.
        """
        self.forget()
        trained = {name.removeprefix(NETWORK): one for name, one in state.items() if name.startswith(NETWORK)}
        if trained:
            network = self._untrained()
            network.restore(trained)
            self._take(network)

    def _take(self, trained: Network) -> None:
        self._network = trained
        self._frozen = FrozenNetwork(trained, self._encoder.dtype, self._encoder.limit)

    def _untrained(self) -> Network:
        adapter = (self._config.adapter, self._config.rank) if self._config.method == "lora" else None
        with torch.random.fork_rng([]):
            torch.manual_seed(self._seed)  # adapters begin with random numbers
            made = Network(
                self._encoder.trainable(self.layer),
                torch.from_numpy(self._prior),
                self._pooling,
                self._config.dropout,
                adapter,
            )
        return made.to(self._encoder.device)
