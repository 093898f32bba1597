"""The rules by which a run ends of itself, over rounds that need not all have learned something."""

import pytest

from discover.query.stopping.certain import certain
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
