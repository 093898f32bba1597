"""The text classifier: an estimator over row ids that learns in increments, as modAL and scikit-learn call it."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from discover.embed.encoder import Encoder
from discover.embed.transformer import rejoin
from discover.errors import DiscoverError
from discover.learn import head, network, penalty, thresholds, training
from discover.learn.activations import ActivationCache
from discover.learn.calibration import fit_temperature, folds_of
from discover.learn.committee import Member, bagged
from discover.learn.config import LearnConfig
from discover.learn.documents import Documents
from discover.learn.gradient import Examples
from discover.learn.heads import Heads
from discover.learn.likelihood import Head, likelihood_of
from discover.pool.labels import Task, agree, hashable
from discover.query.uncertainty import confidence

CHUNK = 4096
VALIDATED_FROM = 100  # answers from which on they are cross-validated
INCREMENT_RATE = 0.5  # of the encoder's learning rate, in an increment: at the full rate it forgets (runs/LOG.md)
GROWTH = 2  # of the answers, after which they are cross-validated, and learned from scratch, again


class TextClassifier:
    """Class probabilities of documents, from answers and, before there are any, from the classes' descriptions.

    An answer is a class index, or, with several labels, a row of 0 and 1 for each class; y are m answers.

    Increments lose something against training from scratch (runs/LOG.md), which is done when the answers have doubled.
    Training is a function of the answers' texts and classes, the state before (`state`), and the seed: neither row ids
    nor the order of arrival within an increment matter.

    Args:
        encoder: the frozen transformer, and what is fine-tuned of it.
        texts: gives the texts of row ids, aligned with them.
        classes: name: one-line description, which may be empty.
        config: how to learn.
        seed: of all draws.
        cache: of the frozen part's output; may be shared with other classifiers of the same pool.
        vectors: gives stored vectors (k, d) of row ids; without it documents are encoded when needed.
        task: what an answer is.

    Attributes:
        classes_: class indices, (c,).
        taught: row id to class index, or to a tuple of 0 and 1, as last trained on.
        temperature: divides the logits; 1 until it is calibrated.
        thresholds: (c,) probabilities from which on a label is given, where there may be several.
        unlabelled: (u,) row ids of documents that nobody has answered, a uniform draw; set before `fit`.
        changed: share of them whose prediction the last `fit` changed; None where none had been predicted before.
        unsure: share of them that it expects to be wrong about, by its own probabilities; None where there are none.
        curve: loss and learning rate at each step of the last `fit`'s fine-tuning; empty where there was none.
    """

    taught: dict[int, Any]
    temperature: float
    thresholds: NDArray[np.float64]
    changed: float | None
    unsure: float | None
    curve: list[tuple[float, float]]
    _heads: Heads
    _held: tuple[NDArray[np.int64], NDArray[np.float64]]  # row ids of cross-validated answers, and their logits
    _seen: tuple[NDArray[np.int64], NDArray[np.int64]]  # row ids that `unlabelled` held, and the answers predicted
    _whole: int  # answers when they were last learned from scratch
    _penalty: float  # of the heads, since then
    _network: network.Network | None
    _frozen: network.FrozenNetwork | None

    def __init__(
        self,
        encoder: Encoder,
        texts: Callable[[Sequence[int]], list[str]],
        classes: dict[str, str],
        config: LearnConfig,
        seed: int,
        cache: ActivationCache | None = None,
        vectors: Callable[[Sequence[int]], NDArray[np.float32]] | None = None,
        task: Task = "multiclass",
    ):
        self.encoder = encoder
        self.texts = texts
        self.classes = dict(classes)
        self.task, self.likelihood = task, likelihood_of(task)
        self.config = config
        self.seed = seed
        self.cache = ActivationCache(config.cache_megabytes) if cache is None else cache  # an empty one is false
        self.classes_ = np.arange(len(classes))
        self.layer = max(0, encoder.layers - config.layers) if config.method == "top" else 0
        self._documents = Documents(encoder, texts, self.cache, self.layer, vectors)
        self.vectors = self._documents.vectors
        self.prior = encoder.encode([describe(name, text) for name, text in classes.items()])
        self.unlabelled = np.empty(0, np.int64)
        self._forget()

    @property
    def looks_at(self) -> int:
        """How many documents `unlabelled` should hold."""
        return self.config.unlabelled if self.config.propagate else 0

    @property
    def cross_validated(self) -> float | None:
        """Accuracy of the last cross-validation, on the answers as they now stand; None before any."""
        ids, logits = self._held
        return float(agree(self._decided(logits), self._answers(ids)).mean()) if len(ids) else None

    def fit(self, X: NDArray[np.int64], y: NDArray[np.int64]) -> "TextClassifier":
        """Learn the answers as they now stand, starting from what is known.

        New and corrected answers are trained on, with a replay of the others; answers that are as they were taught
        change nothing. All are learned from scratch when they have doubled, and when one is gone, which cannot be
        unlearned.

        Args:
            X: (m, 1) row ids, each once.
            y: their m answers.
        """
        answers = dict(zip(np.asarray(X).ravel().tolist(), hashable(np.asarray(y)), strict=True))
        c = len(self.classes)
        if len(answers) != len(y) or not np.isin(y, np.arange(2 if self.task == "multilabel" else c)).all():
            raise ValueError(f"fit takes each document once, with a class index under {c}, or {c} times 0 or 1")
        self.curve = []
        if answers == self.taught:
            return self
        if not answers or self.taught.keys() - answers.keys():
            self._forget()
        if not answers:
            return self
        ids = self._documents.ordered(list(answers))
        fresh = np.array([self.taught.get(row) != answers[row] for row in ids])
        classes = self.likelihood.array([answers[row] for row in ids], c)
        new = np.array([row not in self.taught for row in ids])
        if self.taught:
            self._heads.compare(self._heads.each(self._vectors_of(np.array(ids)[new].tolist())), classes[new])
        if len(ids) >= GROWTH * self._whole:
            self._whole, self._network, fresh = len(ids), None, np.ones(len(ids), bool)
            self._penalty = self._chosen_penalty(ids, classes)
        if self.config.method != "head":
            self._fine_tune(ids, classes, fresh)
        self._fit_heads(ids, classes)
        self.taught = {row: answers[row] for row in ids}
        if self.config.folds and len(ids) >= max(VALIDATED_FROM, GROWTH * len(self._held[0])):
            self._cross_validate(ids, classes)
        return self

    def calibrate(self, X: NDArray[np.int64], y: NDArray[np.int64]) -> None:
        """Set temperature and thresholds by the answers of the last cross-validation and by others, never taught.

        Args:
            X: (k, 1) row ids of the others.
            y: their k answers.
        """
        ids, logits = self._held
        classes = np.concatenate([self._answers(ids), y])
        logits = np.concatenate([logits, self.logits(X)])
        self.temperature = fit_temperature(logits, classes, self.likelihood)
        if self.task == "multilabel" and len(ids):
            self.thresholds = thresholds.fit(self._calibrated(logits), classes)

    def predict_proba(self, X: NDArray[np.int64]) -> NDArray[np.float64]:
        """Probabilities, (n, c), of row ids X (n, 1); from the descriptions while nothing is taught."""
        return self._calibrated(self.logits(X))

    def predict(self, X: NDArray[np.int64]) -> NDArray[np.int64]:
        """The answer about each document: (n,) most probable class indices, or (n, c) whether it has a label."""
        return self._decided(self.logits(X))

    def decide(self, probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
        """The answers to give, as for `predict`, of probabilities (n, c)."""
        return self.likelihood.decide(probabilities, self.thresholds)

    def logits(self, X: NDArray[np.int64]) -> NDArray[np.float64]:
        """Logits before the temperature, (n, c)."""
        return self.logits_of(self.represent(X))

    def logits_of(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        """Logits before the temperature, (n, c), of what `represent` gave."""
        if not self.taught:
            return self.likelihood.untaught(vectors, self.prior)
        return self._heads.combined(self._heads.each(vectors))

    def represent(self, X: NDArray[np.int64]) -> NDArray[np.float32]:
        """What the heads see of documents: unit vectors, (n, d), of row ids X (n, 1)."""
        return self._vectors_of([int(row) for row in np.asarray(X).ravel()])

    def predicting(self) -> tuple[Any, list[Head]]:
        """What predicts: a whole transformer of its own, in float32, and the heads whose mean is taken."""
        if not self._network:
            transformer = self.encoder.trainable(0)
        elif self.layer:
            transformer = rejoin(self._network.merged(), self.encoder.trainable(0), self.layer)
        else:
            transformer = self._network.merged()
        untaught = [(self.prior.astype(np.float64), np.zeros(len(self.classes)))]
        return transformer.eval(), self._heads.predicting if self.taught else untaught

    def members(self) -> list[Member]:
        """A committee: heads that were taught resamples of the answers, over the vectors as they now are."""
        c = len(self.classes)
        if not self.taught:
            return [Member(lambda ids: self.logits(column(ids)), c, self.likelihood)]
        seen = functools.cache(lambda ids: self._vectors_of(list(ids)))  # all members are asked about the same ones

        def logits_of(fitted: Head, ids: list[int]) -> NDArray[np.float64]:
            return head.logits(seen(tuple(ids)), *fitted)

        ids = self._documents.ordered(list(self.taught))
        rng = np.random.default_rng([self.seed, len(ids), 2])
        answers = self._answers(np.array(ids))
        fitted = bagged(self._vectors_of(ids), answers, self.prior, self._penalty, self.likelihood, rng)
        return [Member(functools.partial(logits_of, one), c, self.likelihood) for one in fitted]

    def state(self) -> dict[str, torch.Tensor]:
        """What was trained, as tensors: all that `restore` needs besides encoder and settings."""
        arrays = {
            "taught.ids": np.array(list(self.taught), np.int64),
            "taught.classes": self._packed(self._answers(np.array(list(self.taught), np.int64))),
            "held.ids": self._held[0],
            "held.logits": self._held[1],
            "seen.ids": self._seen[0],
            "seen.classes": self._packed(self._seen[1]),
            "whole": np.array(self._whole),
            "penalty": np.array(self._penalty),
            **{f"heads.{name}": array for name, array in self._heads.state().items()},
        }
        if self.task == "multilabel":
            arrays["thresholds"] = self.thresholds
        state = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
        if self._network is not None:
            state |= {f"network.{name}": tensor for name, tensor in self._network.trained().items()}
        return state

    def restore(self, state: dict[str, torch.Tensor], temperature: float) -> None:
        """Become the classifier that `state` was taken from: its predictions and its next training, bit for bit."""
        self._forget()
        ids, classes = state["taught.ids"].tolist(), hashable(state["taught.classes"].numpy())
        self._held = (state["held.ids"].numpy(), state["held.logits"].numpy())
        self._seen = (state["seen.ids"].numpy(), state["seen.classes"].numpy().astype(np.int64))
        if self.task == "multilabel":
            self.thresholds = state["thresholds"].numpy()
        self._whole, self._penalty = int(state["whole"]), float(state["penalty"])
        self._heads.restore({name: one.numpy() for name, one in _under("heads.", state).items()})
        if trained := _under("network.", state):
            self._network = self._untrained()
            self._network.restore(trained)
            self._frozen = self._freeze(self._network)
        self.taught = dict(zip(ids, classes, strict=True))
        self.temperature = temperature

    def _forget(self) -> None:
        self.taught, self.temperature, self.changed, self.unsure = {}, 1.0, None, None
        self.thresholds, self._heads = np.full(len(self.classes), thresholds.START), Heads(self.likelihood)
        self.curve = []
        self._held = (np.empty(0, np.int64), np.empty((0, len(self.classes))))
        self._seen = (np.empty(0, np.int64), self.likelihood.array([], len(self.classes)))
        self._whole, self._network, self._frozen = 0, None, None
        self._penalty = self.likelihood.penalties[0]

    def _cross_validate(self, ids: list[int], classes: NDArray[np.int64]) -> None:
        """Keep what models that learned some of the answers say of the others; calibrate, and judge the heads by it.

        They learn from scratch, so this costs more than an increment: it is done when the answers have doubled.
        """
        fold, rows = folds_of(classes, self.config.folds), np.array(ids)
        each = np.empty((2, len(ids), len(self.classes)))
        for number in range(self.config.folds):
            settings = self.config.model_copy(update={"folds": 0, "head_penalty": self._penalty})
            other = TextClassifier(
                self.encoder, self.texts, self.classes, settings, self.seed, self.cache, self.vectors, self.task
            )
            other.unlabelled = self.unlabelled
            other.fit(column(rows[fold != number]), classes[fold != number])
            each[:, fold == number] = other._heads.each(other._vectors_of(rows[fold == number].tolist()))
        self._heads.right = np.zeros(2, np.int64)  # what was known so far is of the same answers
        self._heads.compare(each, classes)
        self._held = (rows, self._heads.combined(each))
        self.calibrate(column([]), self.likelihood.array([], len(self.classes)))

    def _fine_tune(self, ids: list[int], classes: NDArray[np.int64], fresh: NDArray[np.bool_]) -> None:
        rng, rate = np.random.default_rng([self.seed, len(ids)]), self.config.rate
        examples = Examples(self._documents.inputs(ids), classes, fresh)
        if self._network:
            trained, rate = self._network, rate * INCREMENT_RATE
        else:
            trained = self._untrained()
            # The head first, so that the layers are not moved by one that is off: Kumar et al., "Fine-tuning can
            # distort pretrained features and underperform out-of-distribution", https://arxiv.org/abs/2202.10054.
            trained.set_head(*self._fitted(self.vectors(ids), classes))
        config = self.config.model_copy(update={"learning_rate": rate})
        self.curve = training.train(trained, examples, config, rng, self.encoder.dtype)
        if not all(parameter.isfinite().all() for parameter in trained.parameters()):
            raise DiscoverError(
                "training must end in finite weights, but they grew without bound: lower learn.learning_rate "
                "and learn.head_learning_rate, then give the same command again"
            )
        self._network, self._frozen = trained, self._freeze(trained)

    def _fit_heads(self, ids: list[int], classes: NDArray[np.int64]) -> None:
        self._heads.plain = self._network.trained_head() if self._network else self._fitted(self.vectors(ids), classes)
        # As many answers as unanswered documents at most, since the graph costs the square of what it holds.
        some = np.sort(np.random.default_rng([self.seed, len(ids), 1]).permutation(len(ids))[: self.looks_at])
        around = self.unlabelled[~np.isin(self.unlabelled, ids)][: self.looks_at]
        answered, unanswered = (self._vectors_of(rows.tolist()) for rows in (np.array(ids)[some], around))
        self._heads.spread(answered, classes[some], unanswered, self.prior, self._penalty)
        logits = self._heads.combined(self._heads.each(unanswered))
        likely = self._calibrated(logits)
        self.unsure = float(1 - confidence(likely, self.task).mean()) if len(logits) else None
        if self.task == "multilabel" and len(logits) and not len(self._held[0]):
            self.thresholds = thresholds.expected(likely)
        predicted = self._decided(logits)
        _, now, before = np.intersect1d(around, self._seen[0], return_indices=True)
        self.changed = float((~agree(predicted[now], self._seen[1][before])).mean()) if len(now) else None
        self._seen = (around, predicted)

    def _chosen_penalty(self, ids: list[int], classes: NDArray[np.int64]) -> float:
        if self.config.head_penalty is not None:
            return self.config.head_penalty
        if len(ids) < VALIDATED_FROM:
            return self.likelihood.penalties[0]
        return penalty.choose(self.vectors(ids), classes, self.prior, self.likelihood)

    def _fitted(self, vectors: NDArray[np.float32], classes: NDArray[np.int64]) -> Head:
        return self.likelihood.fit(vectors, classes, self.prior, self._penalty)

    def _calibrated(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.likelihood.probabilities(logits / self.temperature)

    def _decided(self, logits: NDArray[np.float64]) -> NDArray[np.int64]:
        return self.decide(self._calibrated(logits))

    def _vectors_of(self, ids: list[int]) -> NDArray[np.float32]:
        """(k, d) what the head sees of documents: under the fine-tuned encoder, or as they are stored."""
        if not self._frozen:
            return self.vectors(ids)
        chunks = [ids[start : start + CHUNK] for start in range(0, len(ids), CHUNK)]  # bounds what is held at a time
        found = [self._frozen.vectors(self._documents.inputs(chunk)) for chunk in chunks]
        return np.concatenate(found) if found else np.empty((0, self.prior.shape[1]), np.float32)

    def _freeze(self, trained: network.Network) -> network.FrozenNetwork:
        return network.FrozenNetwork(trained, self.encoder.dtype, self.encoder.limit)

    def _untrained(self) -> network.Network:
        adapter = (self.config.adapter, self.config.rank) if self.config.method == "lora" else None
        with torch.random.fork_rng([]):
            torch.manual_seed(self.seed)  # adapters begin with random numbers
            made = network.Network(
                self.encoder.trainable(self.layer),
                torch.from_numpy(self.prior),
                self.encoder.pooling,
                self.config.dropout,
                adapter,
            )
        return made.to(self.encoder.device)

    def _answers(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        return self.likelihood.array([self.taught[row] for row in ids.tolist()], len(self.classes))

    def _packed(self, answers: NDArray[np.int64]) -> NDArray[np.integer]:
        """Answers as a model folder holds them: 0 and 1 need a byte."""
        return answers.astype(np.uint8) if self.task == "multilabel" else answers


def _under(prefix: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): one for name, one in state.items() if name.startswith(prefix)}


def describe(name: str, description: str) -> str:
    """A class as a text to embed."""
    words = name.replace("_", " ").replace("-", " ")
    return f"{words}: {description}" if description else words


def column(ids: Any) -> NDArray[np.int64]:
    """Row ids as scikit-learn and modAL want samples: (n, 1) int64."""
    return np.asarray(ids, dtype=np.int64).reshape(-1, 1)
