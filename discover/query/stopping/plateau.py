"""Plateau: on the audit answers that are kept for decisions, accuracy has stopped rising.

It stops when the upper end of the gain's 95 % interval lies under what is worth the questions. The scores are taken as
independent, which errs on the side of going on, and small audit samples leave wide intervals: then it goes on. Where
one document in five is wrong, 0.02 takes some 3,000 audit answers; ask for a larger gain where there are fewer.
"""

from math import hypot

from discover.plugins import Count
from discover.query.view import PastRound, Progress


def plateau(progress: Progress, *, gain: float = 0.02, rounds: Count = 5) -> str:
    """Stop when accuracy has gained less than this in so many rounds, as far as its interval can tell.

    Args:
        progress: where the run stands.
        gain: in accuracy, that is worth going on for.
        rounds: in which.

    Returns:
        The reason; empty to go on.
    """
    asking = [one for one in progress.rounds if one.asked != 0]  # others are no steps of the curve
    if len(asking) <= rounds:
        return ""
    before, now = asking[-1 - rounds], asking[-1]
    if now.score is None or before.score is None:
        return ""
    rise = now.score - before.score
    upper = rise + hypot(_width(now), _width(before)) / 2
    if upper > gain or rise < -gain:  # a fall is no plateau
        return ""
    return f"accuracy on audit answers rose by {rise:+.1%} in {rounds} rounds, at most {upper:+.1%}, under {gain:.1%}"


def _width(one: PastRound) -> float:
    return 1.0 if one.high is None or one.low is None else one.high - one.low
