"""An estimator: the word that names it, what it is an estimate of, and the check of what it returns.

An estimator is a function ``(feedback, weights (B, n)) -> (values (B,), standard errors (B,))``: a resample is a row of
weights, equal within a unit, so self-normalisation is computed anew in each. Its keyword-only parameters are its
options. The word is a file in `estimators`, or ``path/file.py:name``.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, cast

import numpy as np

from discover import plugins
from discover.errors import DiscoverError
from discover.ope import ratios
from discover.ope.feedback import Feedback, Floats, Ints

PACKAGE = "discover.ope.estimators"
Per = Literal["pick", "batch", "campaign"]
Function = TypeVar("Function", bound=Callable[..., Any])


def per(what: Per) -> Callable[[Function], Function]:
    """Say what an estimator values, for its unit and its diagnostics: a pick (as by default), a batch, a campaign."""
    return _noting("per", what)


def bounded_by(ceiling: Callable[..., float]) -> Callable[[Function], Function]:
    """Say that an estimate is the mean of ratio times reward, and from (feedback, options) how large a ratio can be."""
    return _noting("ceiling", ceiling)


def with_caveat(reason: str) -> Callable[[Function], Function]:
    """Say why an estimate is to be read with care on any log: it is never better than warn."""
    return _noting("caveat", reason)


def brings_own_interval(counted: Callable[..., int]) -> Callable[[Function], Function]:
    """Say that value ± t standard errors is the interval: to resample rows would break the order it rests on.

    Args:
        counted: from (feedback, options) how many units the value is made of, for the quantile t.
    """
    return _noting("counted", counted)


def slow_beyond(rows: int) -> Callable[[Function], Function]:
    """Say that its time grows with the square of the rows: of a longer log it has to be asked for by name."""
    return _noting("most_rows", rows)


@dataclass(frozen=True)
class Estimator:
    """An estimator found and its options checked; call it as ``estimator(feedback, weights)``.

    Attributes:
        word: what the command line says.
        function: from (feedback, weights) and the options to values and standard errors.
        options: its keyword-only parameters.
    """

    word: str
    function: Callable[..., tuple[Floats, Floats]]
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The word for people, with the options that were given."""
        given = "".join(f",{key}={value}" for key, value in self.options.items())
        return plugins.name_of(self.word) + given

    @property
    def per(self) -> Per:
        """What its value is the mean of: the reward of a pick, of a batch, or the sum of a campaign's rounds."""
        return cast(Per, getattr(self.function, "per", "pick"))

    def valued(self, feedback: Feedback) -> Per:
        """The same on this log: a campaign that is one batch, as where queries are the units, is valued as that."""
        batches, campaigns = (len(np.unique(feedback.of(name))) for name in ("batch", "unit"))
        return "batch" if self.per == "campaign" and batches == campaigns else self.per

    @property
    def own_interval(self) -> bool:
        """Whether value ± t standard errors is its interval, and nothing is resampled."""
        return hasattr(self.function, "counted")

    @property
    def caveat(self) -> str:
        """Why it is to be read with care on any log; empty for most."""
        return str(getattr(self.function, "caveat", ""))

    def counted(self, feedback: Feedback) -> int:
        """How many units the value of one that brings its own interval is made of."""
        return int(cast(Any, self.function).counted(feedback, **self.options))

    def trivial(self, feedback: Feedback) -> bool:
        """Whether its batches or campaigns are single picks, so that it only repeats what `ips` says."""
        groups = {"pick": None, "batch": "batch", "campaign": "unit"}[self.per]
        return groups is not None and len(np.unique(feedback.of(groups))) == len(feedback)

    def slow(self, feedback: Feedback) -> bool:
        """Whether the log is so long that it should be asked for by name."""
        return len(feedback) > getattr(self.function, "most_rows", np.inf)

    def ceiling(self, feedback: Feedback) -> float:
        """How large a ratio can be.

        Raises:
            DiscoverError: nothing bounds it.
        """
        bound = getattr(self.function, "ceiling", None)
        found = bound(feedback, **self.options) if bound else np.inf
        if not np.isfinite(found):
            raise DiscoverError(
                f"{self.name} has no bound on its ratios, which this interval needs: take ips on a log with the "
                "behaviour's probabilities and full support, or clipped_ips"
            )
        return float(found)

    def ratios(self, feedback: Feedback) -> Floats:
        """The importance ratios that it rests on, (units,): the mean over a unit's picks or batches, or its campaign's.

        Rows of a unit are dependent, so a unit counts as one however many there are.
        """
        if self.per == "campaign":
            return ratios.of_campaigns(feedback)
        if self.per == "batch":
            batches = ratios.by_batch(feedback)
            return _by_unit(batches.ratio, batches.unit)
        return _by_unit(ratios.of_picks(feedback), feedback.units)

    def logged(self, feedback: Feedback) -> float:
        """What the log's own policy was worth by the same measure: the mean of its picks, batches or campaigns."""
        if self.per == "pick":
            return float(feedback.rewards.mean())
        batches = ratios.by_batch(feedback)
        count = len(np.unique(batches.unit)) if self.per == "campaign" else len(batches.reward)
        return float(batches.reward.sum() / count)

    def __call__(self, feedback: Feedback, weights: Floats) -> tuple[Floats, Floats]:
        """Values (B,) and standard errors (B,) of (B, n) resamples.

        Raises:
            DiscoverError: the log lacks what it needs, it fails, or what it returns breaks the contract.
        """
        if feedback.shared and self.per == "pick":
            raise DiscoverError(
                f"the estimator {self.name!r}: rewards of picks are needed, those of this log are of whole batches: "
                "take set_ips, or pdis"
            )
        with plugins.calling(f"the estimator {self.name!r}", ours=":" not in self.word):
            found = self.function(feedback, weights, **self.options)
        shape = (len(weights),)
        if not (isinstance(found, tuple) and len(found) == 2 and all(np.shape(one) == shape for one in found)):
            raise DiscoverError(f"the estimator {self.word!r} must return values {shape} and standard errors {shape}")
        return np.asarray(found[0], np.float64), np.asarray(found[1], np.float64)


def names() -> list[str]:
    """The words of the built-in estimators."""
    return plugins.names(PACKAGE)


def load_estimator(word: str) -> Estimator:
    """Find the estimator that a command line names, as ``name,option=value,…``.

    Raises:
        DiscoverError: there is no such estimator, or an option is not its own.
    """
    name, options = plugins.split(word)
    function = plugins.load(PACKAGE, name)
    if not callable(function):
        raise DiscoverError(f"{name!r} must be a function (feedback, weights), found {type(function).__name__}")
    plugins.check_options(function, options, f"the estimator {name!r}")
    return Estimator(name, function, options)


def _by_unit(ratio: Floats, unit: Ints) -> Floats:
    if len(np.unique(unit)) == len(unit):
        return ratio  # in the order of its rows
    codes = np.unique(unit, return_inverse=True)[1]
    return np.asarray(np.bincount(codes, ratio) / np.bincount(codes), np.float64)


def _noting(name: str, value: Any) -> Callable[[Function], Function]:
    def note(function: Function) -> Function:
        setattr(function, name, value)
        return function

    return note
