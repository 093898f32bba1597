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


def judged(right: int, n: int) -> dict[str, frozenset[int]]:
    """The first ones of n audit documents are right."""
    return {"right": frozenset(range(right)), "wrong": frozenset(range(right, n))}


SETTLED = PastRound(0, **judged(900, 1000), changed=0.0, unsure=0.01)
MOVING = PastRound(0, **judged(50, 100), changed=0.2, unsure=0.4)


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
    few = PastRound(0, **judged(27, 30))
    assert plateau(course(*[few] * 10)) == ""
    assert plateau(course(*[few] * 10), gain=0.2)
    rising = [PastRound(0, **judged(right, 10_000)) for right in (8000, 8500, 9000)]
    assert plateau(course(*rising), rounds=2) == ""


def test_plateau_compares_models_on_the_same_documents():
    plateau = plugins.load(PACKAGE, "plateau")
    before, now = PastRound(0, **judged(160, 200)), PastRound(1, **judged(161, 400))
    said = plateau(course(before, now), gain=0.04, rounds=1)
    assert said.startswith("accuracy on 200 audit answers rose by +0.5% in 1 rounds"), "of others it knows no change"
    swapped = PastRound(1, right=frozenset(range(20, 181)), wrong=frozenset([*range(20), *range(181, 200)]))
    assert plateau(course(before, swapped), gain=0.04, rounds=1) == "", "as accurate, by other documents"
    assert plateau(course(PastRound(0), now), rounds=1) == plateau(course(before, PastRound(1)), rounds=1) == ""


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
