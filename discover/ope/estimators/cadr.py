"""Contextual adaptive doubly robust: for a log whose policy changed while it logged.

Rows of such a log are not independent, and a ratio's spread changes with the policy: neither a bootstrap nor a plain
standard error is right. Each row's doubly robust score uses a model of earlier rows alone, and is weighed by one over
its own standard deviation given the past, estimated from earlier rows as if the policy at t had logged them:

    D_t = sum over a of target(t, a) q_t(t, a) + w_t (r_t - q_t(t, a_t)),   V = sum of D_t / s_t / sum of 1 / s_t
    s_t^2 = variance over s < t of D, weighed by v = g_t(a_s | x_s) / g_s(a_s | x_s),  D as at t, at row s

(Bibaut, Dimakopoulou, Kallus, Chambaz & van der Laan 2021, https://arxiv.org/abs/2106.00418). The interval is V ± t se,
se = sqrt(sum of (D_t - V)^2 / s_t^2) / sum of 1 / s_t, which at the right s_t is the paper's; rows of one unit are
summed before they are squared. The first rows, from which s is estimated first, count for nothing. Where picks depend
on contexts, or the log does not say what later policies give earlier picks (`Feedback.replayed`), they are taken as
they were logged, v = 1: weights that look back alone keep the interval right whatever they are; its width suffers.
"""

import itertools

import numpy as np

from discover.errors import DiscoverError
from discover.ope import moments, rewards
from discover.ope.estimator import brings_own_interval, slow_beyond
from discover.ope.feedback import Feedback, Floats, Ints

REFITS = 20
LONG = 100_000  # rows: a minute or two
LEAST = 0.1  # of the largest deviation so far: rows that happen to be alike must not seem certain


def counted(feedback: Feedback, *, burn_in: int = 20) -> int:
    """Units of the rows that count."""
    return len(np.unique(feedback.units[_in_time(feedback)[burn_in:]]))


@brings_own_interval(counted)
@slow_beyond(LONG)
def cadr(feedback: Feedback, weights: Floats, *, burn_in: int = 20) -> moments.Estimates:
    """Values (B,) and standard errors (B,); scores and deviations are those of the whole log in each resample.

    Args:
        feedback: in the order of its `time`.
        weights: (B, n) how often each row counts.
        burn_in: rows that only teach the first model and deviation.

    Raises:
        DiscoverError: the log is no longer than that, or lacks the target's probabilities.
    """
    n = len(feedback)
    if not 2 <= burn_in < n:
        raise DiscoverError(f"burn_in must be at least 2 and less than the {n} rows of the log, found {burn_in}")
    order = _in_time(feedback)
    score, precision = _scores(feedback, order, burn_in)
    rows = order[burn_in:]  # those that only teach would make the error look like one of more units
    parts = [((precision * score)[rows], precision[rows])]
    return moments.ratios(parts, feedback.units[rows], np.asarray(weights)[:, rows])


def _in_time(feedback: Feedback) -> Ints:
    """(n,) rows in the order in which they were logged."""
    return np.asarray(np.argsort(feedback.of("time"), kind="stable"), np.int64)


def _scores(feedback: Feedback, order: Ints, burn_in: int) -> tuple[Floats, Floats]:
    """(n,) doubly robust scores, and (n,) one over their deviations; 0 in the first rows."""
    n, target = len(order), feedback.of("target")
    begun = _begun(feedback.units[order])
    score, deviation = np.zeros(n), np.full(n, np.inf)
    starts = np.unique(np.linspace(burn_in, n, REFITS + 1).astype(int))
    for start, end in itertools.pairwise(starts.tolist()):
        predicted = feedback.predictions
        if predicted is None:
            past = np.zeros(n, bool)
            past[order[: max(begun[start], 1)]] = True
            predicted = rewards.fitted(feedback, past)
        baseline = np.einsum("nk,nk->n", target, predicted)
        residual = feedback.rewards - predicted[np.arange(n), feedback.actions]
        for t in range(start, end):
            row, earlier = order[t], order[: begun[t]]
            score[row] = baseline[row] + feedback.targets[row] / feedback.propensities[row] * residual[row]
            if len(earlier) > 1:
                deviation[t] = _deviation(feedback, row, earlier, baseline[earlier], residual[earlier])
    precision = np.zeros(n)
    precision[order] = _precision(deviation[burn_in:], burn_in)
    return score, precision


def _begun(unit: Ints) -> Ints:
    """(n,) where each row's unit began, in the order of time: rows of one unit do not teach about each other."""
    _, first, codes = np.unique(unit, return_index=True, return_inverse=True)
    return np.asarray(first[codes], np.int64)


def _precision(deviation: Floats, burn_in: int) -> Floats:
    """(n,) one over the deviations (n - burn_in,), in the order of time."""
    known = np.where(np.isfinite(deviation), deviation, 0)
    highest = np.maximum.accumulate(known)  # of the past alone, so that a weight never looks ahead
    if not highest.max(initial=0.0):
        return np.r_[np.zeros(burn_in), np.ones(len(deviation))]  # all scores are alike
    floored = np.maximum(deviation, LEAST * highest)
    # Where none was unlike another so far, there is nothing to weigh by.
    return np.r_[np.zeros(burn_in), np.where(floored > 0, 1 / np.where(floored > 0, floored, 1), 0)]


def _deviation(feedback: Feedback, row: int, earlier: Ints, baseline: Floats, residual: Floats) -> float:
    """Standard deviation of the score at a row given the past; infinite where its policy lacks the support."""
    now = _probabilities_now(feedback, row, earlier)
    wanted = feedback.targets[earlier]
    if (now[wanted > 0] <= 0).any() or not now.any():
        return float("inf")
    scores = baseline + np.divide(wanted, now, out=np.zeros(len(now)), where=now > 0) * residual
    shift = now / feedback.propensities[earlier]
    share = shift / shift.sum()
    return float(np.sqrt(share @ (scores - share @ scores) ** 2))


def _probabilities_now(feedback: Feedback, row: int, earlier: Ints) -> Floats:
    """(t,) what the policy at a row gives the picks of earlier rows."""
    if feedback.replayed is not None:
        return feedback.replayed[row, earlier]
    if feedback.behaviour is None or feedback.contexts is not None or feedback.features is not None:
        return feedback.propensities[earlier]
    return np.asarray(feedback.behaviour[row, feedback.actions[earlier]])
