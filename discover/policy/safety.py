"""When a learned policy is no longer trusted: a test of its picks' rewards against those of `auto`, valid at any time.

Each batch has picks of both, rewarded alike, so the two can be compared round by round however hard the documents of a
round are. The null hypothesis is that the policy's picks are worth at least the share ``TOLERATED`` of `auto`'s. It is
bet against: with x the mean reward of some of the policy's picks and y that of a pick of `auto` of the same round,

    K_t = mean over l of  prod over pairs  1 - l (x - TOLERATED y),    l from a grid in (0, 1)

is under the null a nonnegative supermartingale that begins with 1, whatever the rewards' distribution within [0, 1] and
however the policy, the model and the documents change from round to round. So it ever reaches 1 / level with a
probability of at most ``level`` (Ville 1939): one may look after every round and stop. Waudby-Smith & Ramdas 2024,
"Estimating means of bounded random variables by betting", https://arxiv.org/abs/2010.09686, section 4 and appendix B:
a mixture over constant bets. There is a margin since a good policy need not ask where the model errs most: crowded
places, for one, are worth asking about though it errs less there. `tests/benchmarks/safety.py` measures what that
catches, and runs/LOG.md has the figures. Left out: harm that does not show in the picks' own answers, as of picks that
are surprising because they are noise.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from discover.query.view import PastRound

TOLERATED = 0.9  # with the default reward, `surprise`
LEVEL = 0.05
BETS = np.linspace(0.05, 0.95, 19)


def harm(rounds: Iterable[PastRound], level: float = LEVEL) -> str:
    """Why a policy is not asked any more; empty while there is no reason.

    Once there is a reason it stays: it is looked for in all rounds, from the first on.

    Args:
        rounds: all past ones, the oldest first.
        level: chance of a reason where there should be none.
    """
    wealth = np.ones(len(BETS))
    ours: list[float] = []
    theirs: list[float] = []
    policy: list[float] = []  # not yet compared
    auto: list[float] = []
    for one in rounds:
        ours += one.policy_rewards
        theirs += one.auto_rewards
        policy += one.policy_rewards
        auto += one.auto_rewards
        if not policy or not auto:
            continue  # small batches: what one has waits for the other
        for mean, reward in _pairs(policy, auto):
            wealth *= 1 - BETS * (mean - TOLERATED * reward)
            if wealth.mean() >= 1 / level:
                return (
                    f"the policy's picks were worth {np.mean(ours):.2f} on average until round {one.round}, those of "
                    f"auto {np.mean(theirs):.2f}; this is wrong with a probability of at most {level:g}"
                )
        policy, auto = [], []
    return ""


def _pairs(policy: Sequence[float], auto: Sequence[float]) -> Iterator[tuple[float, float]]:
    """Each reward of `auto` with the mean of some of the policy's, dealt out in turn; at most one pair for each."""
    count = min(len(policy), len(auto))
    for place in range(count):
        yield float(np.mean(policy[place::count])), float(np.mean(auto[place::count]))
