"""The tagger: an estimator over row ids that learns spans of characters, such as named entities, in increments.

A linear head over the encoder's last hidden states gives each word, by its first piece, logits of the tags of
`discover.learn.tags` (Devlin et al. 2019, "BERT", section 5.3); `discover.learn.decoding` makes sequences of them.
Training is the text classifier's, by the cross-entropy of words.

What strategies see is (n, 2), made of the probabilities P1 and P2 of the best and the second best sequence of w words:
P1^(1/w), and so much less that their difference is (P1 - P2)^(1/w). So `least_confidence` is that of Shen et al. 2018,
"Deep active learning for named entity recognition", https://arxiv.org/abs/1707.05928 (maximum normalised
log-probability), and `margin` the margin between sequences (Scheffer, Decomain & Wrobel 2001; Settles & Craven 2008,
"An analysis of active learning strategies for sequence labeling tasks"), normalised by length in the same way. The root
of each, P1^(1/w) - P2^(1/w), would favour long texts even more than none (runs/LOG.md). `entropy` takes both as shares
of their sum: N-best sequence entropy (Settles & Craven), N = 2. Left out: cross-validation, so that audit answers alone
calibrate.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from discover.embed.encoder import Encoder
from discover.errors import DiscoverError
from discover.learn.activations import ActivationCache
from discover.learn.calibration import temperature_of
from discover.learn.config import LearnConfig
from discover.learn.decoding import decode, log_likelihoods
from discover.learn.forward import TOKENS
from discover.learn.gradient import UNTOLD
from discover.learn.head import SCALE
from discover.learn.increment import increment
from discover.learn.likelihood import Head
from discover.learn.prediction import Prediction
from discover.learn.representation import Representation
from discover.learn.samples import ids_of
from discover.learn.tags import Place, spans_of, tag_names, tags_of
from discover.pool.answers import Span, spans_array

RATE, HEAD_RATE = 6e-4, 5e-3  # with few answers those of one class a document learn next to nothing (runs/LOG.md)

Floats = NDArray[np.float64]


class Tagger:
    """Spans of documents, from answers; an answer is a tuple of (first character, the one after the last, class index).

    As of the text classifier, training is a function of the answers' texts and spans, the state before, and the seed.
    A text is read as far as the encoder goes; of spans beyond that nothing is learned.

    Args:
        encoder: the transformer that is fine-tuned.
        texts: gives the texts of row ids, aligned with them.
        classes: names of c kinds of spans; their descriptions say nothing here.
        config: how to learn.
        seed: of all draws.
        cache: of the frozen part's output; may be shared.

    Attributes:
        classes_: of the columns of `predict_proba`, (2,).
        tags: names of the k tags.
        representation: what the head sees of tokens.
        taught: row id to answer, as last trained on.
        temperature: divides the logits; 1 until it is calibrated.
        untold: spans of the answers taught that its words cannot tell as they are: where the encoder does not read, or
            with a bound inside of a word.
        unlabelled, looks_at: nothing that is unanswered is looked at in training,
        changed, unsure, cross_validated: so that this is not known of it.
        curve: loss and learning rate at each step of the last `fit`; empty where there was none.

    Raises:
        DiscoverError: the method trains nothing of the encoder, or the tokenizer does not know where its pieces are.
    """

    task = "spans"
    looks_at: int = 0
    changed: float | None = None
    unsure: float | None = None
    cross_validated: float | None = None

    taught: dict[int, Any]
    temperature: float
    untold: int
    curve: list[tuple[float, float]]
    _whole: int  # answers when they were last learned from scratch

    def __init__(
        self,
        encoder: Encoder,
        texts: Callable[[Sequence[int]], list[str]],
        classes: dict[str, str],
        config: LearnConfig,
        seed: int,
        cache: ActivationCache | None = None,
    ):
        check(config)
        if not encoder.tokenizer.is_fast:
            raise DiscoverError(
                "label.task spans needs a tokenizer that knows the places of its pieces, a tokenizer.json, and "
                f"{encoder.folder} has none: choose another encoder.model"
            )
        self.encoder, self.texts, self.classes, self.config, self.seed = encoder, texts, dict(classes), config, seed
        self.cache = ActivationCache(config.cache_megabytes) if cache is None else cache  # an empty one is false
        self.tags, self.classes_ = tag_names(classes), np.arange(2)
        start = np.zeros((len(self.tags), encoder.dimension), np.float32)
        rates = with_rates(config)
        self.representation = Representation(encoder, texts, self.cache, None, start, rates, seed, TOKENS)
        self.unlabelled = np.empty(0, np.int64)
        self._forget()

    def fit(self, X: NDArray[np.int64], y: NDArray[np.object_]) -> "Tagger":
        """Learn the answers as they now stand, starting from what is known.

        New and corrected answers are trained on, with a replay of the others. All are learned from scratch when they
        have doubled, and when one is gone, which cannot be unlearned; a class's first answer is an increment.

        Args:
            X: (m, 1) row ids, each once.
            y: their m answers.
        """
        answers = dict(zip(np.asarray(X).ravel().tolist(), y.tolist(), strict=True))
        self.curve = []
        if answers == self.taught:
            return self
        if not answers or self.taught.keys() - answers.keys():
            self._forget()
        if not answers:
            return self
        ids, fresh, anew = increment(answers, self.taught, self._whole, self.representation.documents.ordered)
        if anew:
            self.representation.forget()
            self._whole = len(ids)
        k, d = len(self.tags), self.encoder.dimension
        start = (np.zeros((k, d)), np.zeros(k)) if anew else None
        self.curve = self.representation.fine_tune(ids, self._tagged(ids, answers), fresh, start, anew)
        self.taught = {row: answers[row] for row in ids}
        return self

    def calibrate(self, X: NDArray[np.int64], y: NDArray[np.object_]) -> None:
        """Set the temperature by answers that were never taught.

        Args:
            X: (k, 1) row ids.
            y: their k answers.
        """
        logits = self._logits(ids_of(X))
        told = [tags_of(spans, words)[0] for spans, (_, words) in zip(y, logits, strict=True)]

        def loss(temperature: float) -> float:
            return -float(log_likelihoods([one / temperature for one, _ in logits], told).sum())

        self.temperature = temperature_of(loss) if len(y) else 1.0

    def predict_proba(self, X: NDArray[np.int64]) -> Floats:
        """(n, 2) of row ids X (n, 1): see `by_length`."""
        return self.predicted(X).probabilities

    def predict(self, X: NDArray[np.int64]) -> NDArray[np.object_]:
        """The n answers of row ids X (n, 1)."""
        return self.predicted(X).answers

    def predicted(self, X: NDArray[np.int64]) -> Prediction:
        """Of row ids X (n, 1): spans, how likely it is that they are all there is, and what `predict_proba` gives."""
        logits = self.calibrated(X)
        found = decode([one for one, _ in logits])
        answers = [spans_of(tags, words) for tags, (_, words) in zip(found.tags, logits, strict=True)]
        lengths = np.array([max(1, len(words)) for _, words in logits], np.float64)
        return Prediction(spans_array(answers), np.exp(found.likely[:, 0]), by_length(found.likely, lengths))

    def calibrated(self, X: NDArray[np.int64]) -> list[tuple[Floats, list[Place]]]:
        """(w, k) logits of the words of each of n documents, after the temperature, and where the words are."""
        return [(one / self.temperature, words) for one, words in self._logits(ids_of(X))]

    def states(self, ids: list[int]) -> Iterator[tuple[NDArray[np.float32], list[Place]]]:
        """(w, d) what the head sees of each document's words, and where they are; there must be answers taught."""
        words = [self.words(text) for text in self.texts(ids)] if ids else []
        for states, (_, first, places) in zip(self.representation.states(ids), words, strict=True):
            yield states[first], places

    def predicting(self) -> tuple[Any, Head]:
        """What predicts: a whole transformer of its own, in float32, and the head; there must be answers taught."""
        head = self.representation.head
        assert head is not None
        return self.representation.transformer(), head

    def words(self, text: str) -> tuple[int, NDArray[np.int64], list[Place]]:
        """How many tokens a text has, which of them is the first of each word, (w,), and where the words are."""
        found = self.encoder.words(text)
        of, first = np.unique(found.of, return_index=True)
        return len(found.of), first[of >= 0], found.spans

    def state(self) -> dict[str, torch.Tensor]:
        """What was trained, as tensors: all that `restore` needs besides encoder and settings."""
        spans = [span for answer in self.taught.values() for span in answer]
        arrays = {
            "taught.ids": np.array(list(self.taught), np.int64),
            "taught.counts": np.array([len(answer) for answer in self.taught.values()], np.int64),
            "taught.spans": np.array(spans, np.int64).reshape(-1, 3),
            "untold": np.array(self.untold),
            "whole": np.array(self._whole),
            "temperature": np.array(self.temperature),
        }
        state = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return state | self.representation.state()

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Become the tagger that `state` was taken from: its predictions and its next training, bit for bit."""
        self._forget()
        ids, counts, spans = (state[f"taught.{name}"].tolist() for name in ("ids", "counts", "spans"))
        rest = iter(spans)
        self.taught = {
            row: tuple(tuple(next(rest)) for _ in range(count)) for row, count in zip(ids, counts, strict=True)
        }
        self.untold, self._whole = int(state["untold"]), int(state["whole"])
        self.temperature = float(state["temperature"])
        self.representation.restore(state)

    def _forget(self) -> None:
        self.taught, self.temperature, self.untold, self.curve, self._whole = {}, 1.0, 0, [], 0
        self.representation.forget()

    def _tagged(self, ids: list[int], answers: dict[int, tuple[Span, ...]]) -> NDArray[np.object_]:
        """(m,) tags of each document's tokens, (t,); those that are not the first of a word have none."""
        found = np.empty(len(ids), object)
        self.untold = 0
        for at, (row, text) in enumerate(zip(ids, self.texts(ids), strict=True)):
            tokens, first, words = self.words(text)
            told, untold = tags_of(answers[row], words)
            self.untold += untold
            found[at] = np.full(tokens, UNTOLD)
            found[at][first] = told
        return found

    def _logits(self, ids: list[int]) -> list[tuple[Floats, list[Place]]]:
        """(w, k) of each document's words, before the temperature, and where these are; all 0 before any answer."""
        if not self.taught:
            places = [self.words(text)[2] for text in self.texts(ids)] if ids else []
            return [(np.zeros((len(one), len(self.tags))), one) for one in places]
        head = self.representation.head
        assert head is not None
        weights, bias = head
        return [(SCALE * (states.astype(np.float64) @ weights.T + bias), places) for states, places in self.states(ids)]


def by_length(likely: Floats, lengths: Floats) -> Floats:
    """(n, 2): P1^(1/w), and that less (P1 - P2)^(1/w).

    Args:
        likely: (n, 2) logarithms of P1 and P2.
        lengths: (n,) words, w.
    """
    best, second = likely.T
    with np.errstate(divide="ignore"):  # two sequences that are equally likely
        apart = best + np.log(-np.expm1(np.minimum(second - best, 0.0)))
    first, margin = np.exp(best / lengths), np.exp(apart / lengths)
    return np.stack([first, first - margin], axis=1)


def with_rates(config: LearnConfig) -> LearnConfig:
    """The settings with the learning rates of spans, where they name none."""
    rate = config.learning_rate or (config.rate if config.method == "lora" else RATE)
    return config.model_copy(
        update={"learning_rate": rate, "head_learning_rate": config.head_learning_rate or HEAD_RATE}
    )


def check(config: LearnConfig) -> None:
    """Refuse settings under which spans cannot be learned.

    Raises:
        DiscoverError: the method trains nothing of the encoder, or documents would be drawn by their one class.
    """
    if config.method == "head":
        raise DiscoverError(
            "learn.method head fits documents' vectors, but label.task spans asks about words: set it to full, top or "
            "lora"
        )
    if config.balance == "sampling":
        raise DiscoverError(
            "learn.balance sampling draws documents by their one class, but with label.task spans they have any "
            "number of spans: set it to loss"
        )
