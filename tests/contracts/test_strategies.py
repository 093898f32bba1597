"""One contract for every query strategy: those found in the package, a stock modAL one, and a user's own file."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from discover.query.strategy import load_strategy, names
from tests.own_strategies import STOCK
from tests.views import view_of

DRAWS = 1000


def assert_sound(picks, view, n):
    count = min(n, len(view))
    assert picks.indices.shape == picks.utilities.shape == picks.log_propensities.shape == (count,)
    assert len(set(picks.indices.tolist())) == count
    assert all(0 <= index < len(view) for index in picks.indices)
    assert np.isfinite(picks.utilities).all()
    assert np.isfinite(picks.log_propensities).all()
    assert (picks.log_propensities <= 0).all()
    if picks.logits is not None:
        assert picks.logits.shape == (len(view),)
        assert np.isfinite(picks.logits).all()
        assert picks.log_propensities.sum() - 1e-9 <= picks.set_log_propensity <= 0
    else:
        assert picks.set_log_propensity is None


@pytest.mark.parametrize(("n", "wanted"), [(12, 5), (12, 1), (12, 12), (12, 40), (1, 1), (2, 2), (0, 3), (12, 0)])
def test_sound_for_any_number(strategy, n, wanted):
    view = view_of(n)
    assert_sound(strategy(view, wanted, np.random.default_rng(0)), view, wanted)


@pytest.mark.parametrize("temperature", [0.0, 0.05, 10.0])
def test_sound_at_any_temperature(strategy, temperature):
    view = view_of(temperature=temperature)
    assert_sound(strategy(view, 5, np.random.default_rng(0)), view, 5)


@pytest.mark.parametrize(
    "probabilities",
    [np.ones((12, 1)), np.full((12, 4), 0.25), np.eye(4)[np.arange(12) % 4]],
    ids=["one class", "unfitted", "certain"],
)
def test_sound_on_degenerate_models(strategy, probabilities):
    view = view_of(make_probabilities=lambda: probabilities)
    assert_sound(strategy(view, 5, np.random.default_rng(0)), view, 5)


@pytest.mark.parametrize("m", [0, 3, 120])
def test_when_a_document_was_found_does_not_matter(strategy, m):
    changes = {"m": m, "temperature": 0.0, "make_labels": lambda: np.zeros(m, int) if m > 100 else np.arange(m) % 4}
    views = (view_of(60, **changes, ids=np.random.default_rng(seed).permutation(1000)[:60]) for seed in range(2))
    picks, others = (strategy(view, 12, np.random.default_rng(0)) for view in views)
    assert np.array_equal(picks.indices, others.indices)


def test_sound_with_no_label_yet(strategy):
    view = view_of(m=0)
    assert_sound(strategy(view, 5, np.random.default_rng(0)), view, 5)


def test_sound_where_all_documents_are_alike(strategy):
    vector = np.eye(6, dtype=np.float32)[:1]
    view = view_of(
        make_vectors=lambda: np.repeat(vector, 12, axis=0),
        make_labelled_vectors=lambda: np.repeat(vector, 3, axis=0),
        make_probabilities=lambda: np.repeat([[0.1, 0.2, 0.3, 0.4]], 12, axis=0),
    )
    assert_sound(strategy(view, 5, np.random.default_rng(0)), view, 5)


SEVERAL = [*names(), "modAL.multilabel:avg_confidence", "modAL.multilabel:min_confidence", "user file"]


def several_of(n=12, c=4, m=3, **changes):
    """A view of candidates that may have several labels, or none."""
    rng = np.random.default_rng(1)
    fields = {
        "make_probabilities": lambda: rng.beta(0.4, 1.0, size=(n, c)),
        "make_labels": lambda: rng.integers(0, 2, size=(m, c)),
    }
    return view_of(n, c, m=m, multilabel=True, **(fields | changes))


@pytest.mark.parametrize("word", SEVERAL)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"c": 1},
        {"m": 0},
        {"n": 1},
        {"make_probabilities": lambda: np.zeros((12, 4))},
        {"make_probabilities": lambda: np.ones((12, 4))},
        {"make_probabilities": lambda: np.full((12, 4), 0.5)},
        {"make_labels": lambda: np.zeros((3, 4), np.int64)},
    ],
    ids=["plain", "one label", "nothing labelled", "alone", "none", "all", "undecided", "none of these"],
)
def test_sound_with_several_labels(word, changes, user_file):
    view = several_of(**changes)
    strategy = load_strategy(f"{user_file}:rarest" if word == "user file" else word, task="multilabel")
    assert_sound(strategy(view, 5, np.random.default_rng(0)), view, 5)


@pytest.mark.parametrize("word", ["margin", "entropy", "least_confidence", "rare_class", "spread_margin", "committee"])
def test_undecided_labels_are_wanted_most(word):
    """One candidate whose labels could all be or not be, among such as have two for certain."""
    probabilities = np.tile([0.999, 0.999, 0.001, 0.001], (12, 1))
    probabilities[7] = [0.999, 0.5, 0.5, 0.001]
    votes = np.stack([probabilities, probabilities, probabilities], axis=1)
    votes[7, 0, 1:3], votes[7, 1, 1:3] = [0.9, 0.1], [0.1, 0.9]
    labels = np.array([[1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 1, 0]])
    view = several_of(make_probabilities=lambda: probabilities, make_votes=lambda: votes, make_labels=lambda: labels)
    picks = load_strategy(word, task="multilabel")(replace(view, temperature=0.0), 1, np.random.default_rng(0))
    assert picks.indices.tolist() == [7]


def test_the_seed_decides(strategy):
    first, again = (strategy(view_of(), 5, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first.indices, again.indices)
    assert np.array_equal(first.log_propensities, again.log_propensities)


def test_seeds_differ(drawing):
    orders = {tuple(drawing(view_of(), 5, np.random.default_rng(seed)).indices.tolist()) for seed in range(5)}
    assert len(orders) > 1


def test_numpys_global_generator_is_left_alone(strategy):
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    strategy(view_of(), 5, np.random.default_rng(0))
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_the_view_is_left_as_it_was(strategy):
    view = view_of()
    arrays = {name: getattr(view, name) for name in ("ids", "age", "costs", "vectors", "probabilities")}
    before = {name: array.copy() for name, array in arrays.items()}
    strategy(view, 5, np.random.default_rng(0))
    for name, array in arrays.items():
        assert np.array_equal(array, before[name])
        with pytest.raises(ValueError, match="read-only"):
            array[:] = 0


def test_no_position_is_favoured(drawing):
    """Candidates that are alike in every way are picked alike, wherever they stand."""
    view = view_of(
        5,
        make_vectors=lambda: np.repeat(np.eye(6, dtype=np.float32)[:1], 5, axis=0),
        make_probabilities=lambda: np.repeat([[0.1, 0.2, 0.3, 0.4]], 5, axis=0),
    )
    rng = np.random.default_rng(0)
    counts = np.zeros(5)
    for _ in range(DRAWS):
        counts[drawing(view, 2, rng).indices] += 1
    spread = math.sqrt(0.4 * 0.6 / DRAWS)
    assert np.abs(counts / DRAWS - 0.4).max() < 4.5 * spread


@pytest.mark.parametrize("word", [name for name in names() if name != "random"])
def test_what_costs_less_is_likelier_where_all_else_is_alike(word):
    view = view_of(
        6,
        costs=np.array([1.0, 3, 1, 3, 1, 3]),
        make_vectors=lambda: np.repeat(np.eye(6, dtype=np.float32)[:1], 6, axis=0),
        make_probabilities=lambda: np.repeat([[0.1, 0.2, 0.3, 0.4]], 6, axis=0),
    )
    rng, cheap = np.random.default_rng(0), 0
    for _ in range(200):
        cheap += load_strategy(word)(view, 1, rng).indices[0] % 2 == 0
    assert cheap > 115


def test_a_candidate_keeps_its_chance_when_the_view_is_shuffled(drawing):
    view = view_of(8)
    order = np.random.default_rng(9).permutation(8)
    shuffled = view_of(
        8,
        make_vectors=lambda: view.vectors[order],
        make_probabilities=lambda: view.probabilities[order],
        make_labelled_vectors=lambda: view.labelled_vectors,
    )
    here, there = ({}, {})
    for seen, candidates, names_ in ((here, view, np.arange(8)), (there, shuffled, order)):
        rng = np.random.default_rng(1)
        while len(seen) < 8:
            picks = drawing(candidates, 1, rng)
            seen[int(names_[picks.indices[0]])] = float(picks.log_propensities[0])
    assert here == pytest.approx(there, abs=1e-9)


def test_propensities_match_observed_frequencies(drawing):
    view = view_of(4)
    rng = np.random.default_rng(2)
    seen: dict[tuple[int, ...], int] = {}
    claimed: dict[tuple[int, ...], float] = {}
    for _ in range(DRAWS):
        picks = drawing(view, 2, rng)
        order = tuple(picks.indices.tolist())
        seen[order] = seen.get(order, 0) + 1
        claimed[order] = math.exp(picks.log_propensities.sum())
    assert set(claimed) == set(itertools.permutations(range(4), 2))
    assert sum(claimed.values()) == pytest.approx(1.0, abs=1e-9)
    for order, expected in claimed.items():
        assert abs(seen[order] / DRAWS - expected) < 4.5 * math.sqrt(expected * (1 - expected) / DRAWS)


def test_only_what_is_asked_for_is_made():
    def never():
        raise AssertionError("made without need")

    bare = {"make_vectors": never, "make_probabilities": never, "make_labelled_vectors": never, "make_labels": never}
    load_strategy("random")(view_of(**bare), 3, np.random.default_rng(0))
    del bare["make_probabilities"]
    load_strategy("margin")(view_of(**bare), 3, np.random.default_rng(0))
    made: list[int] = []
    view = view_of(make_probabilities=lambda: made.append(1) or np.full((12, 2), 0.5))
    load_strategy("entropy")(view, 3, np.random.default_rng(0))
    load_strategy(STOCK)(view, 3, np.random.default_rng(0))
    assert made == [1]
