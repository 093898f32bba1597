"""One contract for every stopping rule, and what each of them asks for."""

import pytest

from discover import plugins
from discover.config import Config, LoopConfig
from discover.errors import DiscoverError
from discover.loop import check
from discover.query.view import PastRound, Progress
from discover.steps.choose import stopping_rule

PACKAGE = "discover.query.stopping"
RULES = plugins.names(PACKAGE)
SETTLED = PastRound(0, score=0.9, low=0.895, high=0.905, changed=0.0, unsure=0.01)
MOVING = PastRound(0, score=0.5, low=0.4, high=0.6, changed=0.2, unsure=0.4)


def course(*rounds: PastRound) -> Progress:
    return Progress(100, 500, rounds)


@pytest.fixture(params=RULES)
def rule(request):
    return plugins.load(PACKAGE, request.param)


def test_it_goes_on_before_anything_is_known(rule):
    assert rule(course()) == ""
    assert rule(course(*[PastRound(number) for number in range(10)])) == ""


def test_it_goes_on_while_things_move_and_stops_when_they_have_settled(rule):
    assert rule(course(*[MOVING] * 10)) == ""
    reason = rule(course(*[MOVING] * 10, *[SETTLED] * 10))
    assert "%" in reason and "\n" not in reason
    assert rule(course(*[SETTLED] * 10, MOVING)) == ""


@pytest.mark.parametrize("off", [{"propagate": False}, {"unlabelled": 0}], ids=str)
@pytest.mark.parametrize("word", ["certain", "stabilising"])
def test_rules_that_need_predictions_are_refused_where_none_are_made(word, off):
    settings = {"name": "a", "label": {"classes": ["yes", "no"], "oracle": "people"}, "loop": {"stop": word}}
    check(Config.model_validate(settings))
    with pytest.raises(DiscoverError, match=rf"loop.stop {word} goes by predictions .* learn.propagate false"):
        check(Config.model_validate(settings | {"learn": off}))


def test_plateau_is_refused_where_nothing_is_audited():
    settings = {"name": "a", "label": {"classes": ["yes", "no"], "oracle": "people"}, "loop": {"stop": "plateau"}}
    check(Config.model_validate(settings))
    settings["label"]["audit"] = 0
    with pytest.raises(
        DiscoverError, match=r"loop.stop plateau goes by audit answers, and with label.audit 0 there are"
    ):
        check(Config.model_validate(settings))


def test_plateau_waits_for_an_interval_that_can_tell():
    plateau = plugins.load(PACKAGE, "plateau")
    wide = PastRound(0, score=0.9, low=0.8, high=0.95)
    assert plateau(course(*[wide] * 10)) == ""
    assert plateau(course(*[wide] * 10), gain=0.2)
    rising = [PastRound(0, score=one, low=one - 0.001, high=one + 0.001) for one in (0.8, 0.85, 0.9)]
    assert plateau(course(*rising), rounds=2) == ""


def test_a_mean_over_rounds_is_no_single_round():
    stabilising = plugins.load(PACKAGE, "stabilising")
    rounds = [PastRound(0, changed=one) for one in (0.02, 0.0, 0.0)]
    assert stabilising(course(*rounds))
    assert stabilising(course(*rounds), changed=0.001) == ""


def test_a_rule_of_ones_own_that_fails_is_one_line(tmp_path):
    (tmp_path / "mine.py").write_text(
        "def last(progress):\n    return progress.rounds[-1].note\n\ndef never(progress):\n    return None\n"
    )
    failing, never = (stopping_rule(LoopConfig(stop=f"{tmp_path / 'mine.py'}:{name}")) for name in ("last", "never"))
    with pytest.raises(
        DiscoverError, match=r"the rule '.*mine.py:last' failed: IndexError: .* \(line \d+ of .*mine.py\)"
    ):
        failing(course())
    assert never(course()) == ""


@pytest.mark.parametrize("rounds", [0, -1, True])
def test_a_rule_looks_at_one_round_at_least(rule, rounds):
    settings = {"name": "a", "label": {"classes": ["yes", "no"]}}
    settings["loop"] = {"stop": rule.__name__, "stop_options": {"rounds": rounds}}
    with pytest.raises(DiscoverError, match=rf"rounds must be a whole number, 1 or more, found {rounds}"):
        check(Config.model_validate(settings))


def test_there_are_rules():
    assert {"stabilising", "certain", "plateau"} <= set(RULES)
    with pytest.raises(DiscoverError, match="did you mean 'plateau'"):
        plugins.load(PACKAGE, "platau")
