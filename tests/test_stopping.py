"""The rules by which a run ends of itself, over rounds that need not all have learned something."""

from math import sqrt

import pytest
from scipy.stats import multinomial

from discover.query.stopping.certain import certain
from discover.query.stopping.plateau import paired_gain, plateau
from discover.query.stopping.stabilising import stabilising
from discover.query.view import PastRound, Progress


def progress(name, *values):
    return Progress(rounds=tuple(PastRound(number, **{name: value}) for number, value in enumerate(values)))


@pytest.mark.parametrize(("rule", "name"), [(certain, "unsure"), (stabilising, "changed")])
def test_a_round_that_learned_nothing_changes_nothing(rule, name):
    few = {name: 0.05, "rounds": 3}
    assert rule(progress(name, 0.4, 0.04, 0.03, 0.02), **few)
    for values in ((0.4, 0.04, 0.03, 0.02, None), (0.4, None, 0.04, None, 0.03, 0.02), (0.04, 0.03, 0.02, None, None)):
        assert rule(progress(name, *values), **few), values
    for values in ((), (None, None, None), (0.04, None, 0.03), (0.04, 0.03, 0.4), (0.04, 0.03, 0.02, 0.4, None)):
        assert rule(progress(name, *values), **few) == "", values


def test_a_plateau_is_one_of_rounds_that_asked():
    def said(asked, scores):
        rounds = []
        for n, (count, score) in enumerate(zip(asked, scores, strict=True)):
            right = int(1000 * score)
            judged = {"right": frozenset(range(right)), "wrong": frozenset(range(right, 1000))}
            rounds.append(PastRound(n, **judged, asked=count))
        return plateau(Progress(rounds=tuple(rounds)), gain=0.02, rounds=3)

    assert said([9] * 4, [0.8] * 4) and not said([9] * 4, [0.5, 0.8, 0.8, 0.9])
    assert said([9] * 4 + [0] * 3, [0.8] * 4 + [0.9] * 3), "what it stopped for holds, though the window slid"
    assert not said([9, 9, 0, 0], [0.8] * 4)
    assert said([None] * 4, [0.8] * 4), "of an earlier version's rounds it is not known"


@pytest.mark.parametrize(("gain", "loss"), [(0.05, 0.05), (0.2, 0.05), (0.05, 0.2), (0.3, 0.3), (0.4, 0.0)])
def test_a_paired_gain_is_covered_about_95_percent(gain, loss):
    n = 60
    counts = [(gained, lost) for gained in range(n + 1) for lost in range(n + 1 - gained)]
    chances = multinomial.pmf([(*one, n - sum(one)) for one in counts], n, [gain, loss, 1 - gain - loss])
    ends = [paired_gain(*one, n) if chance > 1e-9 else (0, 0) for one, chance in zip(counts, chances, strict=True)]
    covered = [low <= gain - loss <= high for low, high in ends]
    assert 0.93 < chances @ covered < 0.98


def test_a_paired_gain_at_the_ends():
    assert paired_gain(0, 0, 0) == (-1, 1)
    end = 1.96**2 / (100 + 1.96**2)  # of a proportion of which nothing was seen
    assert paired_gain(0, 0, 100) == pytest.approx((-end, end), abs=1e-5)
    low, high = paired_gain(5, 0, 5)
    assert low > 0 and high == 1 and paired_gain(0, 5, 5) == pytest.approx((-1, -low))
    low, high = paired_gain(14, 9, 300)
    assert paired_gain(9, 14, 300) == pytest.approx((-high, -low))
    assert paired_gain(200, 150, 10_000) == pytest.approx(
        (0.005 - 1.96 * sqrt(0.035) / 100, 0.005 + 1.96 * sqrt(0.035) / 100), abs=1e-4
    )
    for wrong in ((-1, 0, 5), (0, -1, 5), (3, 3, 5)):
        with pytest.raises(ValueError, match="n in all at most"):
            paired_gain(*wrong)
