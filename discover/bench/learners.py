"""A learner of the command line: ``method,key=value,…`` of the learner's settings, or ``path/file.py:name``."""

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover import plugins
from discover.config import validate
from discover.errors import DiscoverError
from discover.learn.config import LearnConfig
from discover.learn.learner import Learner
from discover.pool.labelled import Dataset

SUM_TOLERANCE = 1e-3  # of a row's probabilities to 1; float32 is well within it


def settings_of(word: str) -> LearnConfig | None:
    """The learner's settings; None where the word names the user's own file.

    Raises:
        DiscoverError: a method or setting is unknown.
    """
    name, options = plugins.split(word)
    if ":" in name:
        return None
    return validate(LearnConfig, {"method": name, **options}, f"the learner {word!r}")


def make(word: str, seed: int) -> Any:
    """The user's learner, made with its options; one with an option ``seed`` is given the campaign's.

    Raises:
        DiscoverError: there is none, it cannot be made, or it lacks ``fit`` or ``predict_proba``.
    """
    name, options = plugins.split(word)
    maker = plugins.load("", name)
    if not callable(maker):
        raise DiscoverError(f"{word!r} must be a class or function that makes a learner, found {type(maker).__name__}")
    parameter = inspect.signature(maker).parameters.get("seed")
    if parameter is not None and parameter.kind is parameter.KEYWORD_ONLY:
        options.setdefault("seed", seed)
    plugins.check_options(maker, options, f"the learner {word!r}")
    try:
        made = maker(**options)
    except (Exception, SystemExit) as error:
        raise DiscoverError(f"the learner {word!r} cannot be made: {type(error).__name__}: {error}") from error
    lacking = [name for name in ("fit", "predict_proba") if not callable(getattr(made, name, None))]
    if lacking:
        raise DiscoverError(f"the learner {word!r} must have {' and '.join(lacking)}, as scikit-learn's have")
    return made


def own_learner(word: str, dataset: Dataset, seed: int) -> "Learner[TextEstimator]":
    """The user's learner inside modAL's frame, over a dataset's row ids."""
    return Learner(TextEstimator(word, make(word, seed), dataset))


class TextEstimator:
    """A learner over texts and class names, as an estimator over row ids and class indices.

    Args:
        word: what the command line calls it.
        made: has ``fit(texts, labels)``, from scratch, and ``predict_proba(texts)``, whose columns are its
            ``classes_``, or without these the labels it was given, in alphabetical order.
        dataset: what row ids stand for.
    """

    def __init__(self, word: str, made: Any, dataset: Dataset):
        self.word, self.made, self.dataset = word, made, dataset
        self.classes_ = np.arange(len(dataset.classes))
        self.taught: dict[int, int] = {}
        self.unlabelled = np.empty(0, np.int64)
        self.looks_at = 0
        self.cross_validated: float | None = None
        self.changed: float | None = None
        self.unsure: float | None = None

    def fit(self, X: NDArray[np.int64], y: NDArray[np.int64]) -> "TextEstimator":
        """Learn (m,) class indices of (m, 1) row ids, in the order of public ids; a lone class needs no learning."""
        self.taught = dict(sorted(zip(X.ravel().tolist(), y.tolist(), strict=True)))
        if len(set(self.taught.values())) > 1:
            labels = [self.dataset.classes[one] for one in self.taught.values()]
            self._call("fit", self._texts(list(self.taught)), labels)
        return self

    def predict_proba(self, X: NDArray[np.int64]) -> NDArray[np.float64]:
        """Probabilities, (n, c), of row ids X (n, 1); of a class that was never taught 0."""
        known = sorted(set(self.taught.values()))
        found = np.zeros((len(X), len(self.classes_)))
        if len(known) < 2 or not len(X):
            found[:, known] = 1
            return found
        names = [str(name) for name in getattr(self.made, "classes_", [self.dataset.classes[one] for one in known])]
        if not set(names) <= set(self.dataset.classes):
            raise DiscoverError(f"the learner {self.word!r} must keep the labels it is given, its classes_ are {names}")
        given = np.asarray(self._call("predict_proba", self._texts(X.ravel().tolist())), np.float64)
        if given.shape != (len(X), len(names)) or not (np.isfinite(given) & (given >= 0)).all():
            raise DiscoverError(
                f"the learner {self.word!r} must give finite probabilities of shape {(len(X), len(names))}, "
                f"a column each for {', '.join(names)}; got {given.shape}"
            )
        off = np.abs(given.sum(axis=1) - 1)
        if off.max() > SUM_TOLERANCE:
            row = int(off.argmax())
            raise DiscoverError(
                f"the learner {self.word!r} must give probabilities that sum to 1 for each text, found "
                f"{given[row].sum():.6g} for text {row + 1} of {len(X)}: divide each row by its sum"
            )
        found[:, [self.dataset.classes.index(name) for name in names]] = given
        return found

    def predict(self, X: NDArray[np.int64]) -> NDArray[np.int64]:
        """The most probable class index of each document, (n,)."""
        return self.predict_proba(X).argmax(axis=1)

    def _texts(self, rows: Sequence[int]) -> list[str]:
        return [self.dataset.texts[row] for row in rows]

    def _call(self, method: str, *given: list[str]) -> Any:
        try:
            return getattr(self.made, method)(*given)
        except (Exception, SystemExit) as error:
            problem = " ".join(f"{type(error).__name__}: {error}".split())
            raise DiscoverError(f"the learner {self.word!r} failed in {method}: {problem:.300}") from error
