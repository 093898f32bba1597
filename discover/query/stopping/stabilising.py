"""Stabilising predictions: more answers no longer change what the model says of documents that nobody has answered.

Bloodgood & Vijay-Shanker, "A method for stopping active learning based on stabilizing predictions and the need for
user-adjustable stopping", 2009, https://aclanthology.org/W09-1107. Theirs is Cohen's kappa between successive models of
at least 0.99 in the mean of three rounds; here it is the share of predictions that changed.
"""

from discover.plugins import Count
from discover.query.view import Progress


def stabilising(progress: Progress, *, changed: float = 0.01, rounds: Count = 3) -> str:
    """Stop when so small a share of predictions changed, in the mean of the last rounds.

    Args:
        progress: where the run stands.
        changed: share of the predictions.
        rounds: how many.

    Returns:
        The reason; empty to go on.
    """
    known = [one.changed for one in progress.rounds if one.changed is not None]  # not where nothing was learned
    last = known[-rounds:]
    if len(last) < rounds or (mean := sum(last) / rounds) > changed:
        return ""
    return f"predictions have settled: {mean:.1%} changed a round in the last {rounds}, {changed:.1%} was asked for"
