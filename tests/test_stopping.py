"""The rules by which a run ends of itself, over rounds that need not all have learned something."""

import pytest

from discover.query.stopping.certain import certain
from discover.query.stopping.plateau import plateau
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
