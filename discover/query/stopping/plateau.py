"""Plateau: on the audit answers that are kept for decisions, accuracy has stopped rising.

Models of two rounds are compared on the documents that both were judged by: what counts is which of them one got right
and the other wrong. It stops when the upper end of the gain's 95 % interval (Tango 1998) lies under what is worth the
questions. Small audit samples leave wide intervals: then it goes on. Where the two models differ on one document in
ten, a gain of 0.02 takes some 1,000 audit answers, 0.05 some 180; ask for a larger gain where there are fewer.
"""

from discover.evaluate.metrics import paired_gain
from discover.plugins import Count
from discover.query.view import Progress


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
    n = len((before.right | before.wrong) & (now.right | now.wrong))
    gained, lost = len(before.wrong & now.right), len(before.right & now.wrong)
    _, upper = paired_gain(gained, lost, n)
    rise = (gained - lost) / max(n, 1)
    if upper > gain or rise < -gain:  # a fall is no plateau
        return ""
    return (
        f"accuracy on {n} audit answers rose by {rise:+.1%} in {rounds} rounds, at most {upper:+.1%}, under {gain:.1%}"
    )
