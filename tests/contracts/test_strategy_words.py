"""From a config word to a strategy, and to and from modAL."""

import numpy as np
import pytest
from modAL.models import ActiveLearner
from modAL.uncertainty import margin_sampling

from discover import plugins
from discover.errors import DiscoverError
from discover.query.acquire import Picks
from discover.query.strategy import as_modal_strategy, load_strategy
from tests.own_strategies import STOCK
from tests.views import view_of


@pytest.mark.parametrize(
    ("word", "task", "message"),
    [
        (STOCK, "multilabel", "does not fit label.task multilabel: take modAL.multilabel:avg_confidence"),
        ("modAL.multilabel:max_loss", "multilabel", "does not fit label.task multilabel"),
        ("modAL.multilabel:avg_confidence", "multiclass", "does not fit label.task multiclass"),
    ],
)
def test_a_stock_strategy_of_another_task_is_refused(word, task, message):
    with pytest.raises(DiscoverError, match=message):
        load_strategy(word, task=task)


def test_a_stock_strategy_is_what_modal_does():
    view = view_of(temperature=0.3)
    picks = load_strategy(STOCK)(view, 4, np.random.default_rng(0))
    indices, margins = margin_sampling(view, view.X, n_instances=4)
    assert picks.indices.tolist() == indices.tolist()
    assert picks.utilities.tolist() == margins.tolist()
    assert picks.log_propensities.tolist() == [0.0] * 4
    assert picks.logits is None
    tied = load_strategy(STOCK, {"random_tie_break": True})
    alike = view_of(make_probabilities=lambda: np.full((12, 2), 0.5))
    drawn = [tied(alike, 4, np.random.default_rng(seed)).indices.tolist() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize(
    ("word", "options", "message"),
    [
        ("modAL.uncertainty:margin", {}, r"offers entropy_sampling, margin_sampling, uncertainty_sampling"),
        ("modAL.uncertainty", {}, r"offers entropy_sampling"),
        ("modAL.uncertanty:margin_sampling", {}, r"did you mean modAL.uncertainty\?"),
        ("modAL.expected_error:expected_error_reduction", {}, r"does not import with the versions installed here"),
        ("modAL.batch:uncertainty_batch_sampling", {}, r"does not run on candidates \(.*\): .* probabilities alone"),
        ("modAL.disagreement:vote_entropy_sampling", {}, r"does not run on candidates"),
        (STOCK, {"tie": 1}, r"no option 'tie': known options: random_tie_break"),
        ("margn", {}, r"did you mean 'margin'\?"),
        ("margin", {"power": 2}, r"no option 'power'"),
        ("spread_margin", {"count": 0}, r"count must be a whole number, 1 or more, found 0"),
        ("clustered_density_margin", {"count": -1}, r"count must be a whole number, 1 or more, found -1"),
        ("rare_class", {"count": 0}, r"count must be a whole number, 1 or more, found 0"),
        ("typiclust", {"most": 0.5}, r"most must be a whole number, 1 or more, found 0.5"),
        ("rare_class", {"power": float("nan")}, r"power must be a finite number, 0 or more, found nan"),
        ("density_margin", {"weight": float("inf")}, r"weight must be a finite number, 0 or more, found inf"),
        ("clustered_density_margin", {"weight": -1}, r"weight must be a finite number, 0 or more, found -1"),
        ("rare_class", {"power": 10**400}, r"power must be a finite number, 0 or more, found 1000*$"),
        ("{file}:rarest", {"powr": 2}, r"did you mean 'power'\?"),
        ("{file}:number", {}, r"must be a function"),
        ("{file}:nothing", {}, r"defines no 'nothing'"),
    ],
)
def test_a_wrong_word_or_option_gets_one_clear_line(user_file, word, options, message):
    with pytest.raises(DiscoverError, match=message) as caught:
        load_strategy(word.format(file=user_file), options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("twice", "found one twice"),
        ("outside", "must lie in 0 … 11"),
        ("bare", "must return Picks, found ndarray"),
        ("too_many", "3 integer indices expected"),
        ("infinite", "log_propensities must be 3 finite numbers"),
        ("impossible", "set_log_propensity must be finite"),
        ("unlikely", "set_log_propensity must be what the logits say, .*, found -50"),
        ("even", "log_propensities must be what the logits say, .* for pick 0, found -1"),
        ("in_no_order", "set_log_propensity must be None where logits is None"),
        ("shared", "choosers must be 3 times one of policy, auto, or None"),
        ("broken", "failed: AttributeError"),
    ],
)
def test_picks_that_break_the_contract_are_refused(user_file, name, message):
    with pytest.raises(DiscoverError, match=message):
        load_strategy(f"{user_file}:{name}")(view_of(), 3, np.random.default_rng(0))


def test_picks_in_lists_become_arrays(user_file):
    picks = load_strategy(f"{user_file}:listed")(view_of(), 3, np.random.default_rng(0))
    assert [picks.indices.tolist(), picks.choosers.tolist()] == [[0, 1, 2], ["auto"] * 3]
    assert picks.indices.dtype == np.int64 and picks.utilities.dtype == picks.log_propensities.dtype == np.float64


def test_options_reach_the_strategy(user_file):
    view = view_of(temperature=0.0)
    plain = load_strategy(f"{user_file}:rarest")(view, 3, np.random.default_rng(0))
    squared = load_strategy(f"{user_file}:rarest", {"power": 2.0})(view, 3, np.random.default_rng(0))
    assert squared.utilities == pytest.approx(plain.utilities**2)


def test_what_is_infinite_by_default_may_be_so():
    def within(view, *, limit: float = np.inf, share: float = 0.5):
        """Nothing; it is looked at only."""

    plugins.check_options(within, {"limit": float("inf")}, "here")
    for options in ({"limit": float("nan")}, {"share": float("inf")}):
        with pytest.raises(DiscoverError, match=r"here: (limit|share) must be a finite number, found (nan|inf)"):
            plugins.check_options(within, options, "here")


class Fixed:
    """An estimator that knows its answers."""

    classes_ = np.arange(4)

    def __init__(self, view):
        self.view = view

    def predict_proba(self, X):
        return self.view.predict_proba(X)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_any_strategy_serves_a_modal_learner(drawing, count):
    view = view_of()
    calls: list[int] = []

    def view_for(learner, X):
        calls.append(len(X))
        return view_of(ids=X[:, 0], make_probabilities=lambda: learner.predict_proba(X))

    ours = as_modal_strategy(drawing, view_for, np.random.default_rng(4))
    learner = ActiveLearner(Fixed(view), query_strategy=ours)
    indices, rows, metrics = learner.query(view.X, n_instances=count, return_metrics=True)
    expected = drawing(view, count, np.random.default_rng(4))
    assert indices.tolist() == expected.indices.tolist()
    assert rows[:, 0].tolist() == view.ids[expected.indices].tolist()
    assert metrics.tolist() == expected.utilities.tolist()
    assert calls == [12]


def test_modal_does_not_run_a_failed_strategy_a_second_time():
    calls: list[int] = []

    def failing(view, n, rng) -> Picks:
        calls.append(n)
        raise KeyboardInterrupt if len(calls) == 1 else ValueError("later")

    ours = as_modal_strategy(failing, lambda learner, X: view_of(), np.random.default_rng(0))
    learner = ActiveLearner(Fixed(view_of()), query_strategy=ours)
    with pytest.raises(KeyboardInterrupt):
        learner.query(view_of().X)
    assert len(calls) == 1
    with pytest.raises(ValueError, match="later"):
        learner.query(view_of().X)
    assert len(calls) == 2
