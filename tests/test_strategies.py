"""What each query strategy wants; that all of them keep the contract is tested in contracts/."""

import numpy as np
import pytest

from discover.query.geometry import clusters, density, density_among, occupied, places
from discover.query.strategies import typiclust
from discover.query.strategies.density_margin import crowded_margin
from discover.query.strategy import load_strategy
from discover.query.view import PastRound, Progress, rest
from tests.views import view_of

RNG = np.random.default_rng


def blobs(sizes, d=16, seed=0):
    """Unit vectors around as many centres, and the centre of each."""
    rng = RNG(seed)
    blob = np.repeat(np.arange(len(sizes)), sizes)
    vectors = np.eye(d)[blob] + 0.1 * rng.normal(size=(len(blob), d))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), blob


def test_least_confidence_asks_where_the_best_guess_is_worst():
    probabilities = np.array([[0.5, 0.5, 0.0], [0.9, 0.1, 0.0], [0.4, 0.3, 0.3]])
    view = view_of(3, make_probabilities=lambda: probabilities, temperature=0.0)
    assert load_strategy("least_confidence")(view, 3, RNG(0)).indices.tolist() == [2, 0, 1]


def test_clusters_are_found_and_counted():
    vectors, blob = blobs([30, 20, 10])
    found, centres = clusters(vectors, 3)
    assert all(len(np.unique(found[blob == one])) == 1 for one in range(3)) and len(np.unique(found)) == 3
    labels = occupied(vectors[[0, 1, 35]], centres)
    assert labels[found[0]] == 2 and labels[found[35]] == 1 and labels.sum() == 3
    shuffle = RNG(1).permutation(60)
    again, _ = clusters(vectors[shuffle], 3)
    assert np.array_equal(again, found[shuffle])
    values, cluster = np.array([5.0, 1, 7, 5, 2]), np.array([0, 1, 0, 0, 1])
    assert places(values, cluster, RNG(0), 0.0).tolist() == [1, 1, 0, 2, 0]


def test_density_is_the_mean_cosine_to_the_nearest_others():
    vectors, _ = blobs([30, 5])
    cosines = vectors.astype(np.float64) @ vectors.T
    np.fill_diagonal(cosines, -np.inf)
    assert density(vectors, 7) == pytest.approx(np.sort(cosines, axis=1)[:, -7:].mean(axis=1), abs=2e-5)
    assert density(vectors[:1]).tolist() == [0] and len(density(vectors[:0])) == 0


def test_density_among_a_crowd_leaves_out_nothing_but_the_document_itself():
    vectors, _ = blobs([30, 5])
    rows, others = np.arange(5, 15), np.arange(35)[::-2]  # some of the rows are among the others
    cosines = vectors[rows].astype(np.float64) @ vectors[others].T
    cosines[rows[:, None] == others] = -np.inf
    found = density_among(rows, vectors[rows], (others, vectors[others]), 4)
    assert found == pytest.approx(np.sort(cosines, axis=1)[:, -4:].mean(axis=1), abs=2e-5)
    few = (others[:3], vectors[others[:3]])
    assert np.isfinite(density_among(rows, vectors[rows], few, 4)).all()
    assert density_among(rows, vectors[rows], (others[:1], vectors[others[:1]]), 4).tolist() == [0] * 10


def test_a_place_counts_the_larger_values_of_the_same_cluster():
    cluster, values = RNG(0).integers(0, 5, 200), RNG(1).integers(0, 9, 200) / 7.0
    larger = (cluster[:, None] == cluster) & (values > values[:, None])
    before = (cluster[:, None] == cluster) & (values == values[:, None]) & (np.arange(200) < np.arange(200)[:, None])
    assert places(values, cluster, RNG(0), 0.0).tolist() == (larger | before).sum(axis=1).tolist()
    assert places(values[:0], cluster[:0], RNG(0), 0.1).tolist() == []


def test_equals_of_a_cluster_come_in_a_drawn_order():
    values, cluster, rng = np.array([1.0, 3, 3, 3]), np.zeros(4, np.int64), RNG(0)
    found = np.array([places(values, cluster, rng, 0.1) for _ in range(600)])
    assert (found[:, 0] == 3).all() and (np.sort(found[:, 1:], axis=1) == [0, 1, 2]).all()
    assert np.abs(found[:, 1:].mean(axis=0) - 1).max() < 0.15
    assert rng.random() == RNG(0).random()  # the draw that follows is what it was


@pytest.mark.parametrize("temperature", [0.0, 0.05])
@pytest.mark.parametrize("word", ["spread_margin", "clustered_density_margin", "typiclust", "auto"])
def test_one_document_many_times_does_not_fill_a_batch(word, temperature):
    vectors, probabilities = RNG(0).normal(size=(300, 32)), RNG(1).dirichlet(np.full(4, 3.0), size=300)
    vectors[:60], probabilities[:60] = vectors[0], [0.26, 0.26, 0.24, 0.24]
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    view = view_of(
        300,
        m=20,
        temperature=temperature,
        floor=0.0,
        make_vectors=lambda: vectors,
        make_probabilities=lambda: probabilities,
        make_labelled_vectors=lambda: vectors[100:120],
    )
    assert (load_strategy(word)(view, 25, RNG(2)).indices < 60).sum() <= 3


@pytest.mark.parametrize("word", ["spread_margin", "clustered_density_margin"])
def test_a_cheap_document_is_not_put_behind_dear_ones_of_its_cluster(word):
    """Two places: in one 20 dear and 20 cheap doubtful texts, in the other 40 cheap ones that the model is sure of."""
    vectors = np.repeat(np.eye(2, 6), 40, axis=0).astype(np.float32)
    view = view_of(
        80,
        2,
        temperature=0.0,
        floor=0.0,
        costs=np.r_[np.full(20, 60.0), np.full(60, 4.0)],
        make_vectors=lambda: vectors,
        make_probabilities=lambda: np.repeat([[0.5, 0.5], [0.9, 0.1]], 40, axis=0),
    )
    picks = load_strategy(word, {"count": 2})(view, 4, RNG(0)).indices
    assert picks[0] == 20 and (picks >= 20).all() and (picks >= 40).any()


def test_typiclust_takes_the_most_typical_of_each_cluster_without_a_label():
    vectors, blob = blobs([10, 30, 25, 20])
    view = view_of(85, d=16, make_vectors=lambda: vectors, make_labelled_vectors=lambda: vectors[[12]], temperature=0.0)
    picked = load_strategy("typiclust")(view, 3, RNG(0)).indices
    assert blob[picked].tolist() == [2, 3, 0]  # the largest first; the largest of all has a label
    typical = density(vectors)
    assert all(typical[one] == typical[blob == blob[one]].max() for one in picked)


def test_density_margin_is_margin_where_the_density_has_no_weight():
    view = view_of(40, temperature=0.0)
    flat = load_strategy("density_margin", {"weight": 0.0})(view, 10, RNG(0))
    assert flat.indices.tolist() == load_strategy("margin")(view, 10, RNG(0)).indices.tolist()
    vectors, blob = blobs([30, 10])
    alike = np.full((40, 2), 0.5)
    crowded = view_of(40, d=16, make_vectors=lambda: vectors, make_probabilities=lambda: alike, temperature=0.0)
    assert set(blob[load_strategy("density_margin")(crowded, 10, RNG(0)).indices].tolist()) == {0}


def test_where_a_class_has_few_candidates_the_pool_says_how_crowded_it_is():
    vectors, blob = blobs([30, 10])
    crowd = (np.arange(2000, 2050), np.repeat(vectors[30:], 5, axis=0))
    alike = np.full((40, 2), 0.5)
    fields = {"make_vectors": lambda: vectors, "make_probabilities": lambda: alike, "temperature": 0.0}
    view = view_of(40, d=16, make_crowd=lambda: crowd, **fields)
    assert set(blob[load_strategy("density_margin")(view, 10, RNG(0)).indices].tolist()) == {1}
    left, kept = rest(view, np.array([0]))
    assert set(blob[kept][load_strategy("density_margin")(left, 10, RNG(0)).indices].tolist()) == {1}


def test_the_surer_half_is_neither_crowded_nor_lonely_where_the_pool_says_it():
    vectors, _ = blobs([30, 11])
    crowd = (np.arange(2000, 2050), np.repeat(vectors[31:], 5, axis=0))
    unsure = np.linspace(0, 1, 41)
    likely = 0.5 + np.outer(1 - unsure, [0.5, -0.5])
    view = view_of(41, d=16, make_crowd=lambda: crowd, make_vectors=lambda: vectors, make_probabilities=lambda: likely)
    crowded = crowded_margin(view, 1.0)
    assert crowded[1:20] / unsure[1:20] == pytest.approx(0.5)
    assert (crowded[30:] / unsure[30:]).min() > (crowded[20:30] / unsure[20:30]).max()


@pytest.mark.parametrize(("classes", "few"), [(20, True), (2, False)])
def test_a_crowd_is_a_part_of_what_a_class_may_have_of_the_candidates(classes, few):
    vectors, blob = blobs([5] * 20 + [900], d=32)  # five of a kind are a crowd only where classes are small
    vectors[:100] += np.eye(32, dtype=np.float32)[blob[:100]] * 9
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    likely = np.full((1000, classes), 1 / classes)
    view = view_of(1000, classes, 32, make_vectors=lambda: vectors, make_probabilities=lambda: likely, temperature=0.0)
    picks = load_strategy("density_margin")(view, 50, RNG(0))
    assert np.all(blob[picks.indices] < 20) if few else np.all(blob[picks.indices] == 20)


def test_clustered_density_margin_halves_what_its_cluster_has_had():
    vectors, _ = blobs([30, 20, 10])
    view = view_of(60, d=16, make_vectors=lambda: vectors, make_labelled_vectors=lambda: vectors[:5], temperature=0.0)
    picks = load_strategy("clustered_density_margin", {"count": 3})(view, 12, RNG(0))
    cluster, centres = clusters(vectors, 3)
    worth = load_strategy("density_margin", {"weight": 0.25})(view, 60, RNG(0))
    left = np.empty(60)
    left[worth.indices] = worth.utilities
    left /= np.sqrt(1 + occupied(vectors[:5], centres))[cluster]
    for index in picks.indices:  # step by step, as it is defined
        assert left[index] == left.max()
        left[cluster == cluster[index]] /= 2
        left[index] = -1


def test_spread_margin_asks_about_other_clusters_too():
    vectors, blob = blobs([30, 20, 10])
    unsure = np.linspace(0.9, 0.5, 60)  # the last cluster is the most uncertain
    view = view_of(
        60,
        d=16,
        make_vectors=lambda: vectors,
        make_probabilities=lambda: np.stack([unsure, 1 - unsure], axis=1),
        temperature=0.0,
    )
    spread = blob[load_strategy("spread_margin", {"count": 3})(view, 6, RNG(0)).indices]
    assert set(blob[load_strategy("margin")(view, 6, RNG(0)).indices].tolist()) == {2}
    assert spread.tolist()[:2] == [2, 1] and (spread == 2).sum() < 4


def test_badge_sees_the_gradients_that_it_does_not_write_out():
    view = view_of(30, c=5, d=8, floor=0.0)
    picks = load_strategy("badge")(view, 8, RNG(0))
    residuals = view.probabilities - np.eye(5)[view.probabilities.argmax(axis=1)]
    gradients = np.einsum("nc,nd->ncd", residuals, view.vectors).reshape(30, -1)
    for step, index in enumerate(picks.indices):
        others = gradients[picks.indices[:step]] if step else np.zeros((1, 40))
        weights = np.square(gradients[:, None] - others).sum(axis=2).min(axis=1)
        assert picks.utilities[step] == pytest.approx(weights[index], abs=2e-6)
        left = np.delete(weights, picks.indices[:step])
        assert picks.log_propensities[step] == pytest.approx(np.log(weights[index] / left.sum()), abs=1e-4)


def test_a_committee_asks_where_its_members_disagree():
    """By their votes: however far their probabilities lie apart, they agree on the last."""
    first, second, third = np.eye(3) * 0.8 + 0.1
    votes = np.array(
        [[first, first, second], [first, second, third], [first, first, first], [first, 3 * [1 / 3], first]]
    )
    view = view_of(4, temperature=0.0, make_votes=lambda: votes)
    found = load_strategy("committee")(view, 4, RNG(0))
    assert found.indices[:2].tolist() == [1, 0]
    assert found.utilities == pytest.approx([np.log(3), np.log(3) - 2 / 3 * np.log(2), 0, 0])


def test_a_committee_of_several_labels_asks_where_votes_on_a_label_differ():
    votes = np.array([[[0.9, 0.9], [0.6, 0.9]], [[0.6, 0.9], [0.4, 0.9]], [[0.6, 0.4], [0.4, 0.6]]])
    view = view_of(3, temperature=0.0, multilabel=True, make_votes=lambda: votes)
    found = load_strategy("committee")(view, 3, RNG(0))
    assert found.indices.tolist() == [2, 1, 0]
    assert found.utilities == pytest.approx([2 * np.log(2), np.log(2), 0])


def test_rare_class_asks_where_classes_with_few_answers_are_in_doubt():
    common, rare = [0.6, 0.4, 0.0], [0.6, 0.0, 0.4]  # as unsure as one another
    vectors, _ = blobs([1] * 10)
    view = view_of(
        10,
        d=16,
        make_vectors=lambda: vectors,
        make_probabilities=lambda: np.array([common] * 5 + [rare] * 5),
        make_labels=lambda: np.array([0] * 9 + [1] * 9 + [2]),
        temperature=0.0,
    )
    assert set(load_strategy("rare_class")(view, 5, RNG(0)).indices.tolist()) == {5, 6, 7, 8, 9}
    even = load_strategy("rare_class", {"power": 0.0})(view, 10, RNG(0))
    assert len(set(even.utilities.tolist())) == 1


def test_rare_class_stays_beside_what_it_found_until_every_class_is():
    """Three in doubt in one place, the rest less so, each in a place of its own."""
    blob = np.array([0, 0, 0, *range(1, 10)])
    vectors = np.eye(16, dtype=np.float32)[blob]
    doubt = np.where(blob == 0, 0.45, 0.1) + 0.001 * np.arange(12)
    probabilities = np.stack([1 - doubt, doubt, 0 * doubt], axis=1)

    def places_of(c, found=1):
        view = view_of(
            12,
            d=16,
            make_vectors=lambda: vectors,
            make_probabilities=lambda: probabilities[:, :c],
            make_labels=lambda: np.repeat([0, 1], [30, found]),
            temperature=0.0,
        )
        return blob[load_strategy("rare_class", {"count": 10})(view, 3, RNG(0)).indices].tolist()

    assert places_of(2) == places_of(2, found=19) == [0, 0, 0]
    assert places_of(2, found=20) == [0, 9, 8]
    assert places_of(3) == [0, 9, 8]


def test_rare_class_looks_all_over_the_pool_where_the_odd_ones_never_are_the_rare():
    def picked(answers, n=300):
        probabilities = np.stack([0.9 - 0.001 * np.arange(n), 0.1 + 0.001 * np.arange(n)], axis=1)
        view = view_of(
            n,
            c=2,
            ids=np.arange(n),
            make_probabilities=lambda: probabilities,
            make_labels=lambda: np.zeros(answers, np.int64),
            temperature=0.0,
        )
        return load_strategy("rare_class", {"count": 300})(view, 20, RNG(0)).indices

    assert sorted(picked(99).tolist()) == list(range(280, 300))
    searched = picked(100)
    assert np.count_nonzero(searched >= 280) >= 10
    rows = np.sort(searched[searched < 280])
    assert len(rows) >= 8 and np.diff(rows, prepend=0, append=300).max() < 60  # and they leave no large part out
    others = picked(100, 299)
    assert len(np.intersect1d(rows, others[others < 279])) < 4, "where one document is gone, it begins elsewhere"


def test_auto_covers_first_then_asks_what_is_unsure_and_chance_where_nothing_is_known():
    def picked(word, c=3, **changes):
        return load_strategy(word)(view_of(40, c=c, temperature=0.0, **changes), 5, RNG(0)).indices.tolist()

    labels = np.array([0, 1] * 10)
    skewed = {"m": 20, "make_labels": lambda: labels}
    skewed["make_probabilities"] = lambda: RNG(0).dirichlet([4, 1, 1], 40)  # the classes' effective number is 2.4 of 3
    few = {"m": 2}  # labels, fewer than classes
    assert picked("auto", **few) == picked("typiclust", **few)
    few["make_probabilities"] = lambda: 0.1 + 0.7 * np.eye(3)[RNG(0).choice(3, 40, p=[0.8, 0.1, 0.1])]
    # It knows them by their descriptions, and two labels are too few to tell how frequent they are.
    assert picked("auto", **few) == picked("clustered_density_margin", **few)
    alike = skewed | {"make_labels": lambda: 0 * labels}
    assert picked("auto", **alike) == picked("typiclust", **alike)
    assert picked("auto", **skewed) == picked("spread_margin", **skewed)
    even = {"m": 20, "make_labels": lambda: labels}
    assert picked("auto", **even) == picked("clustered_density_margin", **even)
    two = even | {"make_probabilities": lambda: RNG(0).dirichlet([2, 1], 40)}
    assert picked("auto", 2, **two) == picked("clustered_density_margin", 2, **two)
    # Always to say the common class is right so often that the evidence would call any model useless.
    nothing = {"progress": Progress(20, 100, (PastRound(0, cross_validated=0.4),))}
    for c in (2, 3):
        rare = even | nothing | {"make_probabilities": lambda c=c: RNG(0).dirichlet([9] + [0.5] * (c - 1), 40)}
        assert picked("auto", c, **rare) == picked("rare_class", c, **rare)
        rare["make_labels"] = lambda: 0 * labels  # nobody has met the others yet
        assert picked("auto", c, **rare) == picked("rare_class", c, **rare)
    several = {"m": 20, "make_labels": lambda: np.eye(2)[labels], "multilabel": True}
    assert picked("auto", 2, **several) == picked("spread_margin", 2, **several)
    # Where most documents have none of several labels, hardly a model is right as often as to say none of all.
    assert picked("auto", 2, **several, **nothing) == picked("spread_margin", 2, **several)
    for rounds, word in (
        ([PastRound(0, cross_validated=0.9)], "spread_margin"),
        ([PastRound(0, cross_validated=0.4)], "random"),
        ([PastRound(0, score=0.8, low=0.7, high=0.9, cross_validated=0.4)], "spread_margin"),
        ([PastRound(0, cross_validated=0.4), PastRound(1)], "random"),
    ):
        skewed["progress"] = Progress(20, 100, tuple(rounds))
        assert picked("auto", **skewed) == picked(word, **skewed)


def test_typiclust_passes_over_a_cluster_that_nothing_is_in(monkeypatch):
    """k-means may leave its last one empty, where documents are nearly the same."""
    view = view_of(30, m=2, temperature=0.0)
    centres = np.vstack([view.vectors[:2], -view.vectors[:1]])
    monkeypatch.setattr(typiclust, "clusters", lambda vectors, count: (np.arange(30) % 2, centres))
    assert sorted(set(load_strategy("typiclust")(view, 4, RNG(0)).indices % 2)) == [0, 1]


def test_margin_and_entropy_want_what_the_model_cannot_tell():
    probabilities = np.array([[0.9, 0.1, 0.0], [0.5, 0.5, 0.0], [0.4, 0.3, 0.3]])
    view = view_of(3, make_probabilities=lambda: probabilities, temperature=0.0)
    assert load_strategy("margin")(view, 3, RNG(0)).indices.tolist() == [1, 2, 0]
    assert load_strategy("entropy")(view, 3, RNG(0)).indices.tolist() == [2, 1, 0]


@pytest.mark.parametrize("m", [0, 1, 150])
def test_k_center_is_the_greedy_cover(m):
    view = view_of(60, m=m, temperature=0.0)
    picks = load_strategy("k_center")(view, 6, RNG(0))
    vectors = view.vectors.astype(np.float64)
    centers = list(view.labelled_vectors.astype(np.float64))
    for index, utility in zip(picks.indices, picks.utilities, strict=True):
        if centers:
            nearest = np.linalg.norm(vectors[:, None] - np.array(centers)[None], axis=2).min(axis=1)
            assert utility == pytest.approx(nearest.max(), abs=1e-3)
            assert nearest[index] == pytest.approx(nearest.max(), abs=1e-3)
        centers.append(vectors[index])
