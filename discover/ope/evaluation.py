"""A target policy judged from a log: by each estimator an estimate, its interval, its effective sample, a verdict."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from scipy.stats import t

from discover.errors import DiscoverError
from discover.ope import diagnostics, estimator, intervals, rewards
from discover.ope.diagnostics import Check, Verdict
from discover.ope.estimator import Estimator
from discover.ope.feedback import Feedback, first_of
from discover.ope.intervals import Interval

Method = Literal["bootstrap", "bernstein", "sequence"]


@dataclass(frozen=True)
class Settings:
    """How intervals are made.

    Attributes:
        method: bootstrap; or bernstein or sequence, which need `reward_range` and hold at any n.
        level: that they are to cover.
        reward_range: the least and the largest reward that there can be.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        DiscoverError: the method is none of these, the level no share, or the range does not rise.
    """

    method: Method = "bootstrap"
    level: float = 0.95
    reward_range: tuple[float, float] | None = None
    resamples: int = intervals.RESAMPLES
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise DiscoverError(f"an interval is one of {', '.join(get_args(Method))}, found {self.method!r}")
        if not 0 < self.level < 1:
            raise DiscoverError(f"level must lie between 0 and 1, found {self.level:g}: 0.95 is usual")
        low, high = self.reward_range or (0, 1)
        if not -np.inf < low < high < np.inf:
            raise DiscoverError(
                f"the range of rewards must be two numbers that rise, found {low:g} {high:g}: mend them"
            )


@dataclass(frozen=True)
class Estimate:
    """What one estimator says.

    Attributes:
        estimator: its word, with the options given.
        per: what the value is a mean of: the reward of a pick or batch, or a campaign's sum.
        logged: what the logging policy was worth, by the same measure.
        value: of the target policy.
        standard_error: of it.
        low: end of the interval; -inf where it has none.
        high: likewise.
        effective: effective sample size of its ratios.
        share: that, over how many there are.
        verdict: the gravest of its checks.
        checks: of its ratios and its interval; those of the log are the evaluation's.
    """

    estimator: str
    per: str
    logged: float
    value: float
    standard_error: float
    low: float
    high: float
    effective: float
    share: float
    verdict: Verdict
    checks: tuple[Check, ...]


@dataclass(frozen=True)
class Evaluation:
    """All that was found.

    Attributes:
        rows: picks in the log.
        units: that are independent, and were resampled.
        logged: mean reward of the picks as they were logged; of the batches, where rewards are theirs.
        level: of the intervals.
        checks: of the log.
        estimates: one for each estimator that applies.
        unavailable: why each of the others does not.
        notes: how the log was read.
    """

    rows: int
    units: int
    logged: float
    level: float
    checks: tuple[Check, ...]
    estimates: tuple[Estimate, ...]
    unavailable: dict[str, str]
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The mildest verdict of an estimator: refuse only where none can be believed."""
        return min((one.verdict for one in self.estimates), key=diagnostics.SEVERITY.__getitem__)

    def as_dict(self) -> dict[str, Any]:
        """What ``discover ope --json`` prints: plain values, None for what is infinite or undefined."""
        return {"verdict": self.verdict, **_plain(asdict(self))}


def evaluate(feedback: Feedback, estimators: Sequence[str] = (), settings: Settings | None = None) -> Evaluation:
    """Judge the target policy of a log.

    Args:
        feedback: the log.
        estimators: their words, ``name,option=value,…``, or one word; by default all that apply,
            but for what takes too long.
        settings: of the intervals; by default a studentised bootstrap of level 0.95.

    Raises:
        DiscoverError: there is no such estimator or option, one that was asked for does not apply, or none does.
    """
    settings = settings or Settings()
    estimators = [estimators] if isinstance(estimators, str) and estimators else estimators
    loaded = [estimator.load_estimator(word) for word in dict.fromkeys(estimators or estimator.names())]
    # One for an adaptive log must not see predictions that were fitted on what came later.
    shared = rewards.with_predictions(feedback) if feedback.target is not None else feedback
    log = diagnostics.of_log(feedback)
    found, unavailable = [], {}
    for one in loaded:
        if not estimators and one.trivial(feedback):
            unavailable[one.name] = f"each {one.per} is a single pick, of which ips says the same"
            continue
        if not estimators and one.slow(feedback):
            unavailable[one.name] = f"its time grows with the square of {len(feedback):,} rows: name it to wait for it"
            continue
        try:
            found.append(_estimate(one, feedback if one.own_interval else shared, log, settings))
        except DiscoverError as error:
            if estimators:
                raise
            unavailable[one.name] = str(error).removeprefix(f"the estimator {one.name!r}: ")
    if not found:
        reasons = "; ".join(dict.fromkeys(unavailable.values()))
        raise DiscoverError(f"no estimator applies to this log: {reasons}")
    units = len(np.unique(feedback.units))
    counted = first_of(feedback.of("batch")) == np.arange(len(feedback)) if feedback.shared else slice(None)
    logged = float(feedback.rewards[counted].mean())
    return Evaluation(len(feedback), units, logged, settings.level, log, tuple(found), unavailable)


def _estimate(one: Estimator, feedback: Feedback, log: tuple[Check, ...], settings: Settings) -> Estimate:
    values, errors = one(feedback, np.ones((1, len(feedback))))
    interval = _interval(one, feedback, (float(values[0]), float(errors[0])), settings)
    ratio = one.ratios(feedback)
    checks = (*diagnostics.of_ratios(ratio), *diagnostics.of_interval(interval.low, interval.high))
    if one.caveat:
        checks = (*checks, Check("caveat", None, "warn", one.caveat))
    effective = diagnostics.effective_sample(ratio)
    verdict = diagnostics.worst([*log, *checks])
    if not np.isfinite(values[0]):
        verdict = "refuse"
    return Estimate(
        estimator=one.name,
        per=one.valued(feedback),
        logged=one.logged(feedback),
        value=float(values[0]),
        standard_error=float(errors[0]),
        low=interval.low,
        high=interval.high,
        effective=effective,
        share=effective / len(ratio),
        verdict=verdict,
        checks=checks,
    )


def _interval(one: Estimator, feedback: Feedback, found: tuple[float, float], settings: Settings) -> Interval:
    if settings.method != "bootstrap":
        return _in_range(one, feedback, settings)
    if one.own_interval:
        freedom = one.counted(feedback) - 1
        half = float(t.ppf(0.5 + settings.level / 2, freedom)) * found[1] if freedom else np.inf
        return Interval(found[0] - half, found[0] + half)
    rng = np.random.default_rng(settings.seed)
    return intervals.studentised(one, feedback, rng, settings.level, settings.resamples)


def _in_range(one: Estimator, feedback: Feedback, settings: Settings) -> Interval:
    """An interval that holds at any n, of the products of ratio and reward."""
    if settings.reward_range is None:
        raise DiscoverError("this interval needs the range that rewards can have: declare it (--range LOW HIGH)")
    if len(np.unique(feedback.units)) < len(feedback):
        raise DiscoverError("this interval needs independent rows, and units of this log have several: take bootstrap")
    low, high = settings.reward_range
    intervals.check_range(feedback.rewards, low, high)
    ceiling = one.ceiling(feedback)
    each = np.minimum(one.ratios(feedback), ceiling) * feedback.rewards
    ends = min(0.0, ceiling * low), max(0.0, ceiling * high)
    if settings.method == "bernstein":
        return intervals.empirical_bernstein(each, *ends, settings.level)
    sequence = intervals.confidence_sequence(
        each[np.argsort(feedback.of("time"), kind="stable")], *ends, settings.level
    )
    return Interval(float(sequence[-1, 0]), float(sequence[-1, 1]))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
