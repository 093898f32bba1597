"""Importance ratios: how much likelier the target makes what was logged, by pick, by batch, by campaign.

Shapes: n rows (picks), m batches. A batch's ratio is that of its set where both set probabilities are known, since a
reward does not care for the order of a draw; else the product over its picks, those without a reward included, which is
right as well and varies more.
"""

from dataclasses import dataclass

import numpy as np

from discover.errors import DiscoverError
from discover.ope.feedback import Feedback, Floats, Ints

MOST = 1e150  # of a ratio


@dataclass(frozen=True, eq=False)
class Batches:
    """A log by batches, in the order of unit and step.

    Attributes:
        ratio: (m,) target's probability over the logged one.
        reward: (m,) mean reward of the batch's rows.
        unit: (m,) of each.
        step: (m,) round within the campaign.
        rows: (m,) the first row of each.
        before: (m,) the ratio of what the campaign drew between the batch before and this one, and has no reward; 1
            where there is nothing.
    """

    ratio: Floats
    reward: Floats
    unit: Ints
    step: Ints
    rows: Ints
    before: Floats


def of_picks(feedback: Feedback) -> Floats:
    """(n,) target's probability of each pick over the logged one."""
    return feedback.targets / feedback.propensities


def by_batch(feedback: Feedback) -> Batches:
    """The log by batches."""
    batch, step = feedback.of("batch"), feedback.of("step")
    _, first, codes, counts = np.unique(batch, return_index=True, return_inverse=True, return_counts=True)
    ratio = np.exp(np.minimum(feedback.of("skipped")[first], 709))
    with np.errstate(over="ignore"):  # refused below
        np.multiply.at(ratio, codes, of_picks(feedback))
    if feedback.set_log_propensities is not None and feedback.set_log_targets is not None:
        of_set = np.exp(np.minimum(feedback.set_log_targets - feedback.set_log_propensities, 709))[first]
        ratio = np.where(np.isnan(of_set), ratio, of_set)
    _bounded(ratio, first)
    reward = np.bincount(codes, feedback.rewards) / counts
    order = np.lexsort([step[first], feedback.units[first]])
    rows = first[order]
    before = np.exp(np.minimum(feedback.of("carried")[rows], 709))
    return Batches(ratio[order], reward[order], feedback.units[rows], step[rows], rows, before)


def along_campaigns(batches: Batches) -> Floats:
    """(m,) product of the ratios from each campaign's first batch to this one.

    Raises:
        DiscoverError: a campaign has two batches at one step, so that they have no order.
    """
    starts = np.r_[True, np.diff(batches.unit) != 0]
    tied = ~starts & np.r_[False, np.diff(batches.step) == 0]
    if tied.any():
        row = batches.rows[int(np.argmax(tied))]
        raise DiscoverError(
            f"step must tell the batches of a campaign apart; row {row + 1} has step "
            f"{batches.step[int(np.argmax(tied))]} twice in unit {batches.unit[int(np.argmax(tied))]}: give `step`"
        )
    product = np.empty(len(batches.ratio))
    with np.errstate(over="ignore", invalid="ignore"):  # refused below
        for index, ratio in enumerate(batches.before * batches.ratio):
            product[index] = ratio if starts[index] else product[index - 1] * ratio
    return _bounded(product, batches.rows)


def _bounded(ratio: Floats, rows: Ints) -> Floats:
    """The ratios (m,), whose squares numbers can hold.

    Raises:
        DiscoverError: one is larger.
    """
    bad = np.flatnonzero(~(ratio <= MOST))
    if len(bad):
        raise DiscoverError(
            f"importance ratios must be at most {MOST:g}, that of the batch or campaign at row {rows[bad[0]] + 1} is "
            "larger: its propensities are too small to judge it by; leave it out, or judge single picks by snips or dr"
        )
    return ratio


def lasts(batches: Batches) -> Ints:
    """(campaigns,) index of each campaign's last batch."""
    return np.flatnonzero(np.r_[np.diff(batches.unit) != 0, True])


def of_campaigns(feedback: Feedback) -> Floats:
    """(campaigns,) ratio of each whole campaign."""
    batches = by_batch(feedback)
    return along_campaigns(batches)[lasts(batches)]


def largest(feedback: Feedback) -> float:
    """The largest ratio of a pick that this log's policies allow in its contexts, whatever is drawn there.

    Raises:
        DiscoverError: the behaviour's probabilities are not known for all actions, so nothing bounds it.
    """
    target, behaviour = feedback.of("target"), feedback.of("behaviour")
    wanted = target > 0
    if (behaviour[wanted] <= 0).any():
        return float("inf")
    return float((target[wanted] / behaviour[wanted]).max())
