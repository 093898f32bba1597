"""The text classifier: an estimator over row ids that learns in increments, as modAL and scikit-learn call it."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from discover.embed.encoder import Encoder
from discover.learn import head, penalty, thresholds
from discover.learn.activations import ActivationCache
from discover.learn.calibration import fit_temperature, folds_of
from discover.learn.committee import Member, bagged
from discover.learn.config import LearnConfig
from discover.learn.heads import Heads
from discover.learn.increment import GROWTH, increment
from discover.learn.likelihood import Head, likelihood_of
from discover.learn.prediction import Prediction
from discover.learn.representation import Representation
from discover.learn.samples import column, ids_of
from discover.pool.answers import agree, answered, hashable
from discover.pool.labels import Task
from discover.query.uncertainty import probability_of

LOOKED_AT, OF_MANY = 2000, 4000  # unanswered documents: where classes are many, each has few neighbours (runs/LOG.md)
FEW, ENOUGH = 25, 100  # answers that a cross-validation takes, for confidence; and for decisions (runs/LOG.md)


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
        representation: what the heads see of documents.
        taught: row id to class index, or to a tuple of 0 and 1, as last trained on.
        temperature: divides the logits; 1 until it is calibrated.
        thresholds: (c,) probabilities from which on a label is given, where there may be several.
        unlabelled: (u,) row ids of documents that nobody has answered, a uniform draw; set before `fit`.
        changed: share of them whose prediction the last `fit` changed; None where none had been predicted before.
        curve: loss and learning rate at each step of the last `fit`'s fine-tuning; empty where there was none.
    """

    taught: dict[int, Any]
    temperature: float
    thresholds: NDArray[np.float64]
    changed: float | None
    curve: list[tuple[float, float]]
    _heads: Heads
    _held: tuple[NDArray[np.int64], NDArray[np.float64]]  # row ids of cross-validated answers, and their logits
    _seen: tuple[NDArray[np.int64], NDArray[np.int64]]  # row ids that `unlabelled` held, and the answers predicted
    _unanswered: NDArray[np.float64]  # logits (2, u, c) of `unlabelled`, of each head: how sure it is
    _whole: int  # answers when they were last learned from scratch; 0 while all are the same
    _strength: float  # of the heads' penalty, since then
    _power: float  # of its root, likewise
    _paid: head.Penalty  # by the heads of the last `fit`

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
        self.prior = encoder.encode([describe(name, text) for name, text in classes.items()])
        self.representation = Representation(encoder, texts, self.cache, vectors, self.prior, config, seed)
        self.unlabelled = np.empty(0, np.int64)
        self._forget()

    @property
    def looks_at(self) -> int:
        """How many documents `unlabelled` should hold."""
        spread = self.likelihood.propagates
        if spread and not self.config.propagate and self.config.method != "head":
            return 0  # a fine-tuned encoder would have to represent them for the heads' penalty alone
        if self.config.unlabelled is not None:
            return self.config.unlabelled
        return OF_MANY if spread and len(self.classes) >= head.MANY else LOOKED_AT

    @property
    def cross_validated(self) -> float | None:
        """Accuracy of the last cross-validation, on the answers as they now stand; None before one of `ENOUGH`."""
        ids, logits = self._held
        return float(agree(self._decided(logits), self._answers(ids)).mean()) if len(ids) >= ENOUGH else None

    def fit(self, X: NDArray[np.int64], y: NDArray[np.int64]) -> "TextClassifier":
        """Learn the answers as they now stand, starting from what is known.

        New and corrected answers are trained on, with a replay of the others; answers that are as they were taught
        change nothing. All are learned from scratch when they have doubled, when one is gone, which cannot be
        unlearned, and when a class has its first answer, having been trained to be unlikely. Where classes are many,
        that would be too often, and the network begins such an increment with a new head. While all answers are the
        same, the head alone learns them, and nothing is cross-validated.

        Args:
            X: (m, 1) row ids, each once.
            y: their m answers.
        """
        answers = dict(zip(np.asarray(X).ravel().tolist(), hashable(np.asarray(y)), strict=True))
        c = len(self.classes)
        if len(answers) != len(y) or not self.likelihood.holds(y, c):
            raise ValueError(f"fit takes each document once, with a class index under {c}, or {c} times 0 or 1")
        self.curve = []
        if answers == self.taught:
            return self
        if not answers or self.taught.keys() - answers.keys():
            self._forget()
        if not answers:
            return self
        first = self.config.method != "head" and bool(self.taught) and self._has_first(answers)
        whole = 0 if first and c < head.MANY else self._whole
        ids, fresh, anew = increment(answers, self.taught, whole, self.representation.documents.ordered)
        y = self.likelihood.array([answers[row] for row in ids], c)
        new = np.array([row not in self.taught for row in ids])
        if self.taught:
            self._heads.compare(self._heads.each(self.represent(np.array(ids)[new])), y[new])
        around = self.unlabelled[~np.isin(self.unlabelled, ids)][: self.looks_at]
        alike = bool((y == y[0]).all())  # such answers would teach the layers to tell nothing apart
        if anew or alike:  # else a network goes on as if the answer stood that was corrected to be like the others
            self.representation.forget()
            self._whole = 0 if alike else len(ids)
            self._strength, self._power = self._chosen_penalty(ids, y, around)
        if self.config.method != "head" and not alike:
            start = None
            if anew or first:  # an increment's network would take as long as a round for the unanswered ones
                known, unanswered = self.represent(column(ids)), self.represent(around if anew else around[:0])
                paid = penalty.paid(self._strength, self._power, known, unanswered)
                start = self.likelihood.fit(known, y, self.prior, paid)
            self.curve = self.representation.fine_tune(ids, y, fresh, start, anew)
        self._fit_heads(ids, y, around)
        if alike:  # a model that knows of one class only is sure, whatever there is
            self.changed, self._unanswered = None, self._unanswered[:, :0]
        self.taught = {row: answers[row] for row in ids}
        if self.config.folds and not alike and self._due(len(ids)):
            self._cross_validate(ids, y)
        return self

    def calibrate(self, X: NDArray[np.int64], y: NDArray[np.int64]) -> None:
        """Set temperature and thresholds by the answers of the last cross-validation and by others, never taught.

        These have the last word on the temperature, few as they are: they are a uniform draw and judge the model as it
        is, while what was picked for being doubtful is harder than the rest, and models that learned a part know less.

        Args:
            X: (k, 1) row ids of the others.
            y: their k answers.
        """
        (ids, held), logits = self._held, self.logits(X)
        answers = self._answers(ids)
        around = fit_temperature(held, answers, self.likelihood)
        self.temperature = fit_temperature(logits, y, self.likelihood, around)
        if len(ids) >= ENOUGH:
            likely = self._calibrated(np.concatenate([held, logits]))
            self.thresholds = self.likelihood.thresholds(likely, np.concatenate([answers, y]))
        else:
            self._expect_thresholds()

    @property
    def unsure(self) -> float | None:
        """Share of `unlabelled` that it expects to be wrong about, by its probabilities; None where there are none."""
        if not self._unanswered.size:
            return None
        likely = self._expected()
        return float(1 - probability_of(self.decide(likely), likely).mean())

    def predict_proba(self, X: NDArray[np.int64]) -> NDArray[np.float64]:
        """Probabilities, (n, c), of row ids X (n, 1); from the descriptions while nothing is taught."""
        return self._calibrated(self.logits(X))

    def predict(self, X: NDArray[np.int64]) -> NDArray[np.int64]:
        """The answer about each document: (n,) most probable class indices, or (n, c) whether it has a label."""
        return self._decided(self.logits(X))

    def predicted(self, X: NDArray[np.int64]) -> Prediction:
        """Of row ids X (n, 1): the answers, how likely each is, all of it, and the class probabilities."""
        likely = self.predict_proba(X)
        decided = self.decide(likely)
        return Prediction(decided, probability_of(decided, likely), likely)

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
        return self.representation.vectors(ids_of(X))

    def predicting(self) -> tuple[Any, list[Head], list[float]]:
        """What predicts: a whole transformer of its own, in float32, the heads, and their shares in the mixture."""
        untaught = [(self.prior.astype(np.float64), np.zeros(len(self.classes)))], [1.0]
        return self.representation.transformer(), *(self._heads.predicting if self.taught else untaught)

    def members(self) -> list[Member]:
        """A committee: heads that were taught resamples of the answers, over the vectors as they now are."""
        c = len(self.classes)
        if not self.taught:
            return [Member(lambda ids: self.logits(column(ids)), c, self.likelihood)]
        seen = functools.cache(
            lambda ids: self.representation.vectors(list(ids))
        )  # all members are asked about the same ones

        def logits_of(fitted: Head, ids: list[int]) -> NDArray[np.float64]:
            return head.logits(seen(tuple(ids)), *fitted)

        ids = self.representation.documents.ordered(list(self.taught))
        rng = np.random.default_rng([self.seed, len(ids), 2])
        answers = self._answers(np.array(ids))
        vectors = self.representation.vectors(ids)
        fitted = bagged(vectors, answers, self.prior, self._paid, self.likelihood, rng)
        return [Member(functools.partial(logits_of, one), c, self.likelihood) for one in fitted]

    def state(self) -> dict[str, torch.Tensor]:
        """What was trained, as tensors: all that `restore` needs besides encoder and settings."""
        taught = np.array(list(self.taught), np.int64)
        arrays = {
            "taught.ids": taught,
            "taught.classes": self._answers(taught).astype(self.likelihood.stored),
            "held.ids": self._held[0],
            "held.logits": self._held[1],
            "seen.ids": self._seen[0],
            "seen.classes": self._seen[1].astype(self.likelihood.stored),
            "whole": np.array(self._whole),
            "temperature": np.array(self.temperature),
            "penalty": np.array([self._strength, self._power]),
            **{f"heads.{name}": array for name, array in self._heads.state().items()},
        }
        if self.likelihood.thresholded:
            arrays["thresholds"] = self.thresholds
        if self._paid.root is not None:
            arrays["root"] = self._paid.root
        state = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
        return state | self.representation.state()

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Become the classifier that `state` was taken from: its predictions and its next training, bit for bit."""
        self._forget()
        ids, answers = state["taught.ids"].tolist(), hashable(state["taught.classes"].numpy())
        self._held = (state["held.ids"].numpy(), state["held.logits"].numpy())
        self._seen = (state["seen.ids"].numpy(), state["seen.classes"].numpy().astype(np.int64))
        if self.likelihood.thresholded:
            self.thresholds = state["thresholds"].numpy()
        self._whole, kept = int(state["whole"]), state["penalty"].tolist()
        self._paid = head.Penalty(kept[0], state["root"].numpy() if "root" in state else None)
        fixed = (self.config.head_penalty, self.config.head_power)  # perhaps since then
        self._strength, self._power = (old if new is None else new for old, new in zip(kept, fixed, strict=True))
        heads = {name.removeprefix("heads."): one.numpy() for name, one in state.items() if name.startswith("heads.")}
        self._heads.restore(heads)
        self.representation.restore(state)
        self.taught = dict(zip(ids, answers, strict=True))
        self.temperature = float(state["temperature"])

    def _forget(self) -> None:
        self.taught, self.temperature, self.changed = {}, 1.0, None
        self._unanswered = np.empty((2, 0, len(self.classes)))
        self.thresholds, self._heads = np.full(len(self.classes), thresholds.START), Heads(self.likelihood)
        self.curve = []
        self._held = (np.empty(0, np.int64), np.empty((0, len(self.classes))))
        self._seen = (np.empty(0, np.int64), self.likelihood.array([], len(self.classes)))
        self._whole, self._strength, self._power = 0, self.likelihood.penalties[0], 0.0
        self._paid = head.Penalty(self._strength)
        self.representation.forget()

    def _due(self, m: int) -> bool:
        """Whether m answers are to be cross-validated: once they are a few, enough, and when they have doubled."""
        held = len(self._held[0])
        return m >= ENOUGH > held or m >= max(FEW, len(self.classes), GROWTH * held)

    def _cross_validate(self, ids: list[int], y: NDArray[np.int64]) -> None:
        """Keep what models that learned some of the answers say of the others; calibrate, and judge the heads by it.

        They learn from scratch, so this costs more than an increment.
        """
        fold, rows = folds_of(y, self.config.folds), np.array(ids)
        each = np.empty((2, len(ids), len(self.classes)))
        for number in range(self.config.folds):
            held = {"head_penalty": self._strength, "head_power": self._power}
            settings = self.config.model_copy(update={"folds": 0, **held})
            vectors = self.representation.documents.vectors
            other = TextClassifier(
                self.encoder, self.texts, self.classes, settings, self.seed, self.cache, vectors, self.task
            )
            other.unlabelled = self.unlabelled
            other.fit(column(rows[fold != number]), y[fold != number])
            each[:, fold == number] = other._heads.each(other.represent(rows[fold == number]))
        self._heads.forget_evidence()  # what was known so far is of the same answers
        self._heads.compare(each, y)
        self._held = (rows, self._heads.combined(each))
        self.calibrate(column([]), self.likelihood.array([], len(self.classes)))

    def _fit_heads(self, ids: list[int], y: NDArray[np.int64], around: NDArray[np.int64]) -> None:
        # As many answers as unanswered documents at most, since the graph costs the square of what it holds.
        some = np.sort(np.random.default_rng([self.seed, len(ids), 1]).permutation(len(ids))[: self.looks_at])
        answered, unanswered = self.represent(np.array(ids)[some]), self.represent(around)
        self._paid = penalty.paid(self._strength, self._power, answered, unanswered)
        trained = self.representation.head
        self._heads.plain = trained or self.likelihood.fit(self.represent(column(ids)), y, self.prior, self._paid)
        believed = unanswered if self.config.propagate else unanswered[:0]
        self._heads.spread(answered, y[some], believed, self.prior, self._paid)
        self._unanswered = self._heads.each(unanswered)
        self._expect_thresholds()
        predicted = self._decided(self._heads.combined(self._unanswered))
        _, now, before = np.intersect1d(around, self._seen[0], return_indices=True)
        self.changed = float((~agree(predicted[now], self._seen[1][before])).mean()) if len(now) else None
        self._seen = (around, predicted)

    def _expect_thresholds(self) -> None:
        """Set thresholds by what the model expects of `unlabelled`, while the answers are too few to tell."""
        if self._unanswered.size and len(self._held[0]) < ENOUGH:
            self.thresholds = self.likelihood.thresholds(self._expected())

    def _expected(self) -> NDArray[np.float64]:
        """Probabilities, (u, c), of `unlabelled` by the heads' shares and the temperature as they now are."""
        return self._calibrated(self._heads.combined(self._unanswered))

    def _chosen_penalty(self, ids: list[int], y: NDArray[np.int64], around: NDArray[np.int64]) -> tuple[float, float]:
        """Strength of the heads' penalty, and power of its root."""
        strengths = self.likelihood.penalties if self.config.head_penalty is None else (self.config.head_penalty,)
        powers = self.likelihood.powers(len(self.classes))
        if self.config.head_power is not None:
            powers = (self.config.head_power,)
        if len(ids) < ENOUGH or len(strengths) == len(powers) == 1:
            return strengths[0], powers[0]
        answered, unanswered = (self.representation.documents.vectors(rows) for rows in (ids, around.tolist()))
        return penalty.choose(answered, y, self.prior, self.likelihood, unanswered, strengths, powers)

    def _has_first(self, answers: Mapping[int, Any]) -> bool:
        """Whether a class, or a label, has an answer that had none when this was last taught."""
        c = len(self.classes)
        before, now = (answered(self.likelihood.array(list(of.values()), c), c) for of in (self.taught, answers))
        return bool((now & ~before).any())

    def _calibrated(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.likelihood.probabilities(logits / self.temperature)

    def _decided(self, logits: NDArray[np.float64]) -> NDArray[np.int64]:
        return self.decide(self._calibrated(logits))

    def _answers(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        return self.likelihood.array([self.taught[row] for row in ids.tolist()], len(self.classes))


def describe(name: str, description: str) -> str:
    """A class as a text to embed."""
    words = name.replace("_", " ").replace("-", " ")
    return f"{words}: {description}" if description else words
