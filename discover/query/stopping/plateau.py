"""Plateau: on the audit answers that are kept for decisions, accuracy has stopped rising.

Models of two rounds are compared on the documents that both were judged by: what counts is which of them one got right
and the other wrong. It stops when the upper end of the gain's 95 % interval (Tango 1998) lies under what is worth the
questions. Small audit samples leave wide intervals: then it goes on. Where the two models differ on one document in
ten, a gain of 0.02 takes some 1,000 audit answers, 0.05 some 180; ask for a larger gain where there are fewer.
"""

from math import sqrt
from statistics import NormalDist

from scipy.optimize import brentq

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


def paired_gain(gained: int, lost: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Tango's score interval for the difference of two accuracies on the same documents; (-1, 1) when n is 0.

    All d with abs(gained - lost - n d) <= z sqrt(n (2 q + d (1 - d))), q being the likeliest chance of a loss under d:
    the larger root of 2n q² + ((2n - gained + lost) d - gained - lost) q - lost d (1 - d) = 0 (Tango 1998, "Equivalence
    test and confidence interval for the difference in proportions for the paired-sample design").

    Args:
        gained: documents that the second model alone gets right.
        lost: documents that the first alone gets right.
        n: of all documents.
        level: of the interval.

    Raises:
        ValueError: a count is negative, or they exceed n.
    """
    if min(gained, lost) < 0 or gained + lost > n:
        raise ValueError(f"gained and lost must be 0 or more, and n in all at most, got {gained}, {lost}, {n}")
    if n == 0:
        return -1.0, 1.0
    z, seen = NormalDist().inv_cdf(0.5 + level / 2), (gained - lost) / n

    def excess(d: float) -> float:
        b, c = (2 * n - gained + lost) * d - gained - lost, -lost * d * (1 - d)
        q = (sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
        return abs(gained - lost - n * d) - z * sqrt(n * max(2 * q + d * (1 - d), 0.0))

    # A step aside: where no document tells the two apart, it is 0 at 0, and that is no end.
    low, high = (brentq(excess, seen + end * 1e-9, end) if excess(end) > 0 else end for end in (-1.0, 1.0))
    return low, high
