"""Overall uncertainty: the model is sure of nearly everything that nobody has answered.

Zhu, Wang & Hovy, "Multi-criteria-based strategy to stop active learning for data annotation", 2008,
https://aclanthology.org/C08-1142. The mean of one minus the largest calibrated probability: the share of errors that
the model expects of itself, which is as good as its calibration.
"""

from discover.plugins import Count
from discover.query.view import Progress


def certain(progress: Progress, *, unsure: float = 0.05, rounds: Count = 2) -> str:
    """Stop when the model expects to be wrong on so few, in each of the last rounds.

    Args:
        progress: where the run stands.
        unsure: share of errors that it expects.
        rounds: how many.

    Returns:
        The reason; empty to go on.
    """
    known = [one.unsure for one in progress.rounds if one.unsure is not None]  # not where nothing was learned
    last = known[-rounds:]
    if len(last) < rounds or max(last) > unsure:
        return ""
    return f"the model expects to be wrong on {last[-1]:.1%} of what nobody has answered, {unsure:.1%} was asked for"
