"""When a learned policy is no longer trusted: a test of its picks' rewards against those of `auto`, valid at any time.

Each batch has picks of both, rewarded alike, so the two can be compared round by round however hard the documents of a
round are. The null hypothesis is that the policy's picks are worth at least the share ``TOLERATED`` of `auto`'s. It is
bet against: with x the mean reward of some of the policy's picks and y that of some of `auto`'s of the same round,

    K_t = sum over s of  w_s  mean over l of  prod over pairs since round s  1 - l (x - TOLERATED y),

l from a grid in (0, 1), s every round and w_s = 1 / (s + 1)(s + 2), is under the null a nonnegative supermartingale
that begins with 1 (money for later rounds is kept till then), whatever the rewards' distribution within [0, 1] and
however the policy, the model and the documents change from round to round; rewards that wait for a round in which the
other has some are compared across rounds, whose documents must then be alike. So it ever reaches 1 / level with a
probability of at most ``level`` (Ville 1939): one may look after every round and stop. Waudby-Smith & Ramdas 2024,
"Estimating means of bounded random variables by betting", https://arxiv.org/abs/2010.09686, section 4 and appendix B: a
mixture over constant bets. It is one over the rounds in which they begin as well, since what was won in good rounds
would otherwise have to be lost again before harm that begins late is seen.

There is a margin since a good policy need not ask where the model errs most: crowded places, for one, are worth asking
about though it errs less there. `tests/benchmarks/safety.py` measures what that catches, and runs/LOG.md has the
figures. Left out: harm that does not show in the picks' own answers, as of picks that are surprising because they are
noise.
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
    wealth = np.empty((0, len(BETS)))  # a row for each round in which the bets began
    begun: list[int] = []
    past: list[PastRound] = []
    policy: list[float] = []  # not yet compared
    auto: list[float] = []
    for one in rounds:
        past.append(one)
        if not policy and not auto:
            begun.append(len(past) - 1)
            wealth = np.vstack([wealth, np.ones(len(BETS))])
        policy += one.policy_rewards
        auto += one.auto_rewards
        if not policy or not auto:
            continue  # small batches: what one has waits for the other
        number = np.arange(1, len(begun) + 1)
        for mean, reward in _pairs(policy, auto):
            wealth *= 1 - BETS * (mean - TOLERATED * reward)
            worth = wealth.mean(axis=1) / (number * (number + 1))
            if worth.sum() + 1 / (len(begun) + 1) >= 1 / level:
                since = past[begun[worth.argmax()] :]
                ours = np.mean([reward for one in since for reward in one.policy_rewards])
                theirs = np.mean([reward for one in since for reward in one.auto_rewards])
                return (
                    f"the policy's picks were worth {ours:.2f} on average from round {since[0].round} to {one.round}, "
                    f"those of auto {theirs:.2f}; this is wrong with a probability of at most {level:g}"
                )
        policy, auto = [], []
    return ""


def _pairs(policy: Sequence[float], auto: Sequence[float]) -> Iterator[tuple[float, float]]:
    """Means of the policy's rewards and of `auto`'s, dealt out in turn: as many pairs as the one that has fewer."""
    count = min(len(policy), len(auto))
    for place in range(count):
        yield float(np.mean(policy[place::count])), float(np.mean(auto[place::count]))
