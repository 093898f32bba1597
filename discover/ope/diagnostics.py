"""When not to believe an estimate: checks of a log and of the ratios that an estimator rests on, each with a verdict.

``ok``: nothing speaks against it. ``warn``: read the reason, and take the interval for optimistic. ``refuse``: the
figure says nothing about the target. How often verdicts err is measured by `tests/benchmarks/verdicts.py`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from discover.ope.feedback import Feedback, Floats

Verdict = Literal["ok", "warn", "refuse"]
SEVERITY: dict[Verdict, int] = {"ok": 0, "warn": 1, "refuse": 2}

ENOUGH, TOO_FEW = 50, 10  # effective rows
SHARE = 0.15  # of rows that are effective: below, coverage is not promised
HEAVY, TOO_HEAVY = 0.1, 0.3  # the largest ratio's share of all
OFF, FAR_OFF = 3.0, 5.0  # standard errors of the mean ratio from 1
LITTLE, MUCH = 1e-3, 0.01  # of the target's probability, where the logging policy's is known; of the mean ratio to 1
UNSEEN_LITTLE, UNSEEN_MUCH = 0.01, 0.05  # of it, on actions that the log never has
UNLIKELY, IMPOSSIBLE = 0.01, 1e-5  # p of the propensities being right
LEAST_COUNT = 10  # expected picks of a group, for its frequency to be near normal
TOLERATED = 0.1  # relative error of a propensity: a large log proves smaller ones, which matter little
STEADY = 4.0  # between an action's propensities: where they vary more, what carries the sum may not have been drawn
BINS = 10
ROUNDING = 1e-12  # relative: differences below are those of the last digits


@dataclass(frozen=True)
class Check:
    """One look at a log.

    Attributes:
        name: what was looked at.
        value: what was found; None where it could not be.
        verdict: ok, warn or refuse.
        reason: a few words, with the figures.
    """

    name: str
    value: float | None
    verdict: Verdict
    reason: str


def worst(checks: Iterable[Check]) -> Verdict:
    """The gravest verdict of all; ok of none."""
    return max((check.verdict for check in checks), key=SEVERITY.__getitem__, default="ok")


def of_log(feedback: Feedback) -> tuple[Check, ...]:
    """Checks of the log and the target, whatever the estimator: support, and whether propensities are right."""
    return _support(feedback), _calibration(feedback)


def of_ratios(ratio: Floats) -> tuple[Check, ...]:
    """Checks of the importance ratios (m,), one for each unit."""
    return _effective(ratio), _largest(ratio), _mean(ratio)


def of_interval(low: float, high: float) -> tuple[Check, ...]:
    """A check of an interval that is empty, or without width or end; none of any other."""
    width = high - low
    alike = bool(np.isfinite(width)) and abs(width) <= ROUNDING * max(abs(low), abs(high))
    if 0 < width < np.inf and not alike:
        return ()
    if width < 0 and not alike:
        drift = "it is empty: rewards changed while they were logged, so no one mean fits all: judge a part of them"
        return (Check("interval", None, "refuse", drift),)
    said = "it has no width: all units are alike, and do not tell how others would be"
    return (Check("interval", None, "warn", said if alike else "it has no end: too few units differ"),)


def effective_sample(ratio: Floats) -> float:
    """Kish's effective sample size, (sum w)^2 / sum w^2: so many evenly weighed rows would be as good."""
    largest = float(ratio.max())
    if not largest > 0:
        return 0.0
    shares = ratio / largest  # whose squares are finite
    return float(shares.sum()) ** 2 / float(shares @ shares)


def _effective(ratio: Floats) -> Check:
    size, n = effective_sample(ratio), len(ratio)
    share = size / n
    verdict: Verdict = "refuse" if size < TOO_FEW else "warn" if size < ENOUGH or share < SHARE else "ok"
    return Check("effective sample", size, verdict, f"{size:.1f} of {n} ({share:.1%})")


def _largest(ratio: Floats) -> Check:
    total = float(ratio.sum())
    share = float(ratio.max()) / total if total > 0 else 1.0
    verdict: Verdict = "refuse" if share > TOO_HEAVY else "warn" if share > HEAVY else "ok"
    return Check("largest ratio", share, verdict, f"one unit carries {share:.1%} of all weight")


def _mean(ratio: Floats) -> Check:
    """Ratios have the mean 1 where the support is full and the propensities are right.

    Propensities of few digits move it too: by little, but by many errors where all ratios are alike. So a mean near 1
    is judged by what it lacks, as mass without support is.
    """
    mean, n = float(ratio.mean()), len(ratio)
    error = float(ratio.std(ddof=1)) / np.sqrt(n) if n > 1 else np.inf
    lacks, alike = abs(mean - 1), error <= ROUNDING * mean  # what is left of their differences is rounding
    off = np.inf if alike else lacks / error
    verdict: Verdict = "ok"
    if off > OFF and lacks > LITTLE:
        verdict = "refuse" if off > FAR_OFF and lacks > MUCH else "warn"
    said = f"{mean:.4g} in every unit" if alike else f"{mean:.3f}, {off:.1f} standard errors from 1"
    return Check("mean ratio", mean, verdict, said)


def _support(feedback: Feedback) -> Check:
    """How much of the target's probability lies where the log cannot know anything."""
    name = "mass without support"
    if feedback.target is None:
        return Check(name, None, "warn", "unknown: the target's probabilities of all actions are not given")
    if feedback.behaviour is not None:
        mass = float(np.where(feedback.behaviour <= 0, feedback.target, 0).sum(axis=1).mean())
        verdict: Verdict = "refuse" if mass > MUCH else "warn" if mass > LITTLE else "ok"
        return Check(name, mass, verdict, f"{mass:.2%} of the target's picks could not have been logged")
    if feedback.features is not None:
        return Check(name, None, "warn", "unknown: the logging policy's probabilities of all actions are not given")
    unseen = np.bincount(feedback.actions, minlength=feedback.target.shape[1]) == 0
    mass = float(feedback.target[:, unseen].sum(axis=1).mean())
    verdict = "refuse" if mass > UNSEEN_MUCH else "warn" if mass > UNSEEN_LITTLE else "ok"
    return Check(name, mass, verdict, f"{mass:.2%} of the target's picks are actions that were never logged")


def _calibration(feedback: Feedback) -> Check:
    """Whether actions were taken as often as their propensities say."""
    name = "propensity calibration"
    alone = len(np.unique(feedback.of("batch"))) == len(feedback)
    if feedback.behaviour is not None:
        excess, relative = _against_behaviour(feedback, feedback.behaviour)
    elif feedback.features is None and alone:
        excess, relative = _against_inverse(feedback)
    else:
        return Check(name, None, "warn", "unknown: the logging policy's probabilities of all actions are not given")
    if not len(excess):
        return Check(name, None, "ok", "too few rows to tell")
    # With the logged propensities alone, what was taken too seldom may not have been there to take in every row.
    absent = (excess < 0) & (feedback.behaviour is None)
    chances = np.minimum(1, 2 * norm.sf(np.abs(excess)) * len(excess))
    impossible = ~absent & (chances < IMPOSSIBLE) & (np.abs(relative) > TOLERATED)
    worst_at = int(np.lexsort((np.abs(excess), impossible))[-1])
    p, rare = float(chances[worst_at]), float(chances[worst_at]) < UNLIKELY
    said = f"an action or group was taken {relative[worst_at]:+.1%} from what its propensity says, p {p:.2g}"
    said += ": right only if it could not be chosen in every row" if rare and absent[worst_at] else ""
    bad: Verdict = "refuse" if impossible[worst_at] else "warn"
    return Check(name, p, bad if rare else "ok", said)


def _against_behaviour(feedback: Feedback, behaviour: Floats) -> tuple[Floats, Floats]:
    """Standardised and relative excess of observed over expected counts, by size of probability and by action."""
    edges = np.unique(np.quantile(feedback.propensities, np.linspace(0, 1, BINS + 1)[1:-1]))
    size = np.searchsorted(edges, behaviour)
    counts = np.bincount(size[np.arange(len(feedback)), feedback.actions])
    shares = [np.where(size == number, behaviour, 0).sum(axis=1) for number in range(len(counts))]
    if feedback.features is None:
        counts = np.r_[counts, np.bincount(feedback.actions, minlength=behaviour.shape[1])]
        shares += list(behaviour.T)
    excess, relative = [], []
    for share, count in zip(shares, counts.tolist(), strict=True):
        expected, variance = float(share.sum()), float((share * (1 - share)).sum())
        if min(expected, variance) >= LEAST_COUNT:
            excess.append((count - expected) / np.sqrt(variance))
            relative.append(count / expected - 1)
    return np.array(excess), np.array(relative)


def _against_inverse(feedback: Feedback) -> tuple[Floats, Floats]:
    """The same where only the logged propensities are known: by action, 1 / p sums to the number of rows.

    An action that was once rare and then was not is passed over: its sum hangs on draws that were too rare to be there.
    """
    places: NDArray[np.int64] = feedback.of("position")
    excess, relative = [], []
    for place in np.unique(places):
        at = places == place
        inverse = 1 / feedback.propensities[at]
        for action in np.unique(feedback.actions[at]):
            mine = inverse[feedback.actions[at] == action]
            variance = float((mine**2 - mine).sum())
            if len(mine) >= LEAST_COUNT and variance > 0 and mine.max() <= STEADY * mine.min():
                excess.append((mine.sum() - at.sum()) / np.sqrt(variance))
                relative.append(mine.sum() / at.sum() - 1)
    return np.array(excess), np.array(relative)
