"""Candidates against a real store and index: exactness of the uniform share, order independence, shares, exclusions."""

import hashlib
import math

import numpy as np
import pytest

from discover.embed.index import Index
from discover.embed.vectors import VectorStore, key_of
from discover.query.candidates import ANCHORS, _anchors, draw, draw_uniformly, turns
from discover.query.config import CandidateConfig

DIMENSION = 8
NOTHING = {"excluded": (), "labelled": (), "uncertain": ()}


def public_id(number):
    return hashlib.sha256(f"document {number}".encode()).hexdigest()[:32]


def index_of(folder, numbers, chunk=1000):
    """An index over documents of these numbers, row ids given in their order, as a crawl would find them."""
    store = VectorStore(folder, "test", DIMENSION, dtype="float32")
    for start in range(0, len(numbers), chunk):
        part = numbers[start : start + chunk]
        vectors = np.array([np.random.default_rng(number).normal(size=DIMENSION) for number in part])
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        keys = np.array([key_of(public_id(number)) for number in part], np.uint64)
        store.append(np.arange(start, start + len(part)) + 1, keys, vectors)
    return Index(store, folder)


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """300 documents: document number i has the row id i + 1."""
    return index_of(tmp_path_factory.mktemp("index"), range(300))


def config(count=60, **shares):
    return CandidateConfig(
        count=count, **({"uniform": 0.4, "neighbours": 0.3, "uncertain": 0.2, "newest": 0.1} | shares)
    )


ALONE = {"uniform": 1.0, "neighbours": 0.0, "uncertain": 0.0, "newest": 0.0}


def by_generator(drawn):
    return {name: drawn.ids[drawn.generator == name].tolist() for name in np.unique(drawn.generator)}


def test_every_share_is_filled_and_nothing_comes_twice(index):
    drawn = draw(index, excluded={1, 2}, labelled=[1, 2], uncertain=range(100, 200), config=config(), seed=5)
    assert len(drawn) == 60
    assert len(set(drawn.ids.tolist())) == 60
    shares = {name: len(ids) for name, ids in by_generator(drawn).items()}
    assert shares == {"uniform": 24, "neighbours": 18, "uncertain": 12, "newest": 6}


def test_the_crowd_is_an_even_draw_from_all_that_may_be_asked(index, monkeypatch):
    given = {"excluded": range(1, 51), "labelled": [7], "uncertain": range(100, 200), "config": config()}
    everything = draw(index, **given, seed=5)
    assert sorted(everything.crowd) == list(range(51, 301))
    monkeypatch.setattr("discover.query.candidates.CROWD", 100)
    drawn = draw(index, **given, seed=5)
    assert drawn.crowd.tolist() == everything.crowd[:100].tolist()
    assert drawn.ids.tolist() == everything.ids.tolist()
    assert set(by_generator(drawn)["uniform"]) <= set(drawn.crowd.tolist())
    often = np.bincount(np.concatenate([draw(index, **given, seed=seed).crowd for seed in range(100)]), minlength=301)
    assert often[:51].tolist() == [0] * 51  # of the others each in two draws of five
    assert often[51:].mean() == 40 and abs(often[51:] - 40).max() < 5 * math.sqrt(100 * 0.4 * 0.6)


def test_the_first_of_an_even_draw_do_not_depend_on_how_it_is_cut_off(tmp_path, monkeypatch):
    store = index_of(tmp_path, range(3000)).store
    every = draw_uniformly(store, {3}, 3000, 4)[0]
    assert sorted(every) == [1, 2, *range(4, 3001)]
    for slack in (6, -5):  # more than are needed lie under the bound; too few
        monkeypatch.setattr("discover.query.candidates.SLACK", slack)
        assert draw_uniformly(store, {3}, 50, 4)[0].tolist() == every[:50].tolist()


def test_how_many_keys_are_hashed_at_a_time_does_not_change_the_draw(index, monkeypatch):
    once = draw(index, **NOTHING, config=config(**ALONE), seed=3).ids.tolist()
    monkeypatch.setattr("discover.query.candidates.BLOCK", 7)
    assert draw(index, **NOTHING, config=config(**ALONE), seed=3).ids.tolist() == once


def test_they_come_in_the_order_of_public_ids(index):
    drawn = draw(index, excluded=(), labelled=[7], uncertain=[9, 8], config=config(), seed=1)
    ids = [public_id(row - 1) for row in drawn.ids]
    assert ids == sorted(ids)


def test_the_newest_are_the_tail_of_the_store(index):
    drawn = draw(index, **NOTHING, config=config(), seed=3)
    others = set(drawn.ids[drawn.generator == "uniform"].tolist())
    newest = [row for row in range(300, 0, -1) if row not in others][:6]
    assert sorted(by_generator(drawn)["newest"]) == sorted(newest)


def test_anchors_come_from_every_class_in_turn(index):
    labelled, classes = range(1, 101), [0] * 8 + [1, 2] + [0] * 90  # the newest half of the anchors are of class 0
    rows = {row - 1 for row in (9, 10)}
    for seed in range(5):
        anchors = _anchors(index.store, np.array(labelled), np.array(classes), seed)
        assert len(set(anchors.tolist())) == ANCHORS
        assert set(anchors[:8].tolist()) == set(range(8)) and rows <= set(anchors.tolist())
    shares = {"neighbours": 0.9, "uniform": 0.1, "uncertain": 0.0, "newest": 0.0}
    given = {"excluded": labelled, "labelled": labelled, "uncertain": (), "config": config(20, **shares), "seed": 0}
    assert set(draw(index, **given).ids) != set(draw(index, **given, classes=classes).ids)
    assert turns(np.array([3, 3, 1, 3, 1])).tolist() == [0, 1, 0, 2, 1]


def test_the_uncertain_are_taken_best_first(index):
    given = [50, 40, 999, 60, 30, 20, *range(100, 140)]
    drawn = draw(index, excluded={40}, labelled=(), uncertain=given, config=config(), seed=3)
    others = set(drawn.ids[drawn.generator == "uniform"].tolist())
    best = [row for row in given if row not in others | {40, 999}][:12]
    assert sorted(by_generator(drawn)["uncertain"]) == sorted(best)


def test_neighbours_are_near_to_what_is_labelled(index):
    drawn = draw(index, excluded={7}, labelled=[7], uncertain=(), config=config(), seed=3)
    near = index.search(index.store.vectors([7]), 300)[1][0].tolist()
    others = set(drawn.ids[drawn.generator == "uniform"].tolist())
    assert sorted(by_generator(drawn)["neighbours"]) == sorted([row for row in near if row not in others | {7}][:18])


def test_every_anchor_brings_its_nearest(index):
    anchors = [3, 90, 200, 251]
    drawn = draw(
        index, excluded=anchors, labelled=anchors, uncertain=(), config=config(newest=0.0, uniform=0.5), seed=0
    )
    nearest = index.search(index.store.vectors(anchors), 2)[1][:, 1]
    assert set(nearest.tolist()) <= set(drawn.ids[np.isin(drawn.generator, ["neighbours", "uniform"])].tolist())


def test_no_more_anchors_than_allowed_and_the_newest_among_them(index, monkeypatch):
    asked = []
    search = index.search
    monkeypatch.setattr(index, "search", lambda vectors, k: asked.append(vectors) or search(vectors, k))
    labelled = list(range(1, 201))
    draw(index, excluded=labelled, labelled=labelled, uncertain=(), config=config(), seed=0)
    assert len(asked[0]) == ANCHORS
    assert np.array_equal(asked[0][: ANCHORS // 2], index.store.vectors(labelled[: ANCHORS // 2]))
    draw(index, excluded=labelled, labelled=labelled, uncertain=(), config=config(), seed=1)
    assert not np.array_equal(asked[0], asked[1])


def test_the_excluded_never_come(index):
    excluded = set(range(1, 301, 2))
    drawn = draw(index, excluded=excluded, labelled=sorted(excluded), uncertain=range(1, 301), config=config(), seed=8)
    assert len(drawn) == 60
    assert not excluded & set(drawn.ids.tolist())
    as_array = draw(
        index,
        excluded=np.array(list(excluded)),
        labelled=sorted(excluded),
        uncertain=range(1, 301),
        config=config(),
        seed=8,
    )
    assert np.array_equal(drawn.ids, as_array.ids)


def test_shares_that_cannot_be_filled_go_to_the_uniform_one(index):
    drawn = draw(index, **NOTHING, config=config(newest=0.0, uniform=0.5), seed=8)
    assert {name: len(ids) for name, ids in by_generator(drawn).items()} == {"uniform": 60}
    few = draw(index, excluded=(), labelled=(), uncertain=[1, 2, 3], config=config(newest=0.0, uniform=0.5), seed=8)
    assert len(few) == 60
    assert len(by_generator(few)["uniform"]) == 57


@pytest.mark.parametrize("count", [300, 299, 1000])
def test_a_small_pool_is_taken_whole(index, count):
    drawn = draw(index, excluded={5}, labelled=[5], uncertain=[9], config=config(count), seed=0)
    assert set(drawn.ids.tolist()) == set(range(1, 301)) - {5}


def test_everything_excluded_or_nothing_there(index, tmp_path):
    assert len(draw(index, excluded=range(1, 301), labelled=[1], uncertain=[2], config=config(), seed=0)) == 0
    empty = index_of(tmp_path, [])
    assert len(draw(empty, **NOTHING, config=config(), seed=0)) == 0
    assert len(draw_uniformly(empty.store, (), 3, 0)[0]) == 0


def test_the_draw_does_not_depend_on_the_order_of_finding(index, tmp_path):
    numbers = np.random.default_rng(0).permutation(300)
    other = index_of(tmp_path, numbers.tolist(), chunk=37)
    row_of = {int(number): place + 1 for place, number in enumerate(numbers)}
    settings = config(newest=0.0, uniform=0.5)
    asked = [3, 77, 150]
    here = draw(
        index,
        excluded={n + 1 for n in asked},
        labelled=[n + 1 for n in asked],
        uncertain=range(11, 41),
        config=settings,
        seed=4,
    )
    there = draw(
        other,
        excluded={row_of[n] for n in asked},
        labelled=[row_of[n] for n in asked],
        uncertain=[row_of[n] for n in range(10, 40)],
        config=settings,
        seed=4,
    )
    assert [row - 1 for row in here.ids.tolist()] == [int(numbers[row - 1]) for row in there.ids]
    assert here.generator.tolist() == there.generator.tolist()
    audit_here, audit_there = draw_uniformly(index.store, (), 9, 4)[0], draw_uniformly(other.store, (), 9, 4)[0]
    assert [row - 1 for row in audit_here.tolist()] == [int(numbers[row - 1]) for row in audit_there]


@pytest.mark.parametrize("alike", [2, 10])
def test_neighbours_that_are_equally_near_do_not_depend_on_the_order_of_finding(tmp_path, alike):
    """Documents in groups of equal vectors, stored in two orders."""
    found = []
    for name, numbers in (("one", np.arange(600)), ("other", np.random.default_rng(1).permutation(600))):
        store = VectorStore(tmp_path / name, "test", DIMENSION, dtype="float32")
        vectors = np.array([np.random.default_rng(number // alike).normal(size=DIMENSION) for number in numbers])
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        keys = np.array([key_of(public_id(number)) for number in numbers], np.uint64)
        store.append(numbers + 1, keys, vectors)
        asked = [4, 78, 151]
        settings = config(newest=0.0, uncertain=0.0, neighbours=0.6)
        drawn = draw(
            Index(store, tmp_path / name), excluded=asked, labelled=asked, uncertain=(), config=settings, seed=4
        )
        found.append([drawn.ids.tolist(), drawn.generator.tolist()])
    assert found[0] == found[1] and found[0][1].count("neighbours") == 36


def test_the_seed_decides(index):
    def ids(seed):
        return draw(index, **NOTHING, config=config(), seed=seed).ids.tolist()

    assert ids(4) == ids(4)
    assert ids(4) != ids(5)
    assert ids(-1) == ids(2**64 - 1)


@pytest.mark.parametrize("crowded", [False, True], ids=["alone", "beside other shares"])
def test_the_uniform_share_is_exactly_uniform(tmp_path, crowded):
    """Over seeds: each document equally often, and each pair as a draw without replacement has it."""
    n, seeds = 12, 6000
    small = index_of(tmp_path, range(n))
    settings = config(6, newest=0.5, neighbours=0.0, uncertain=0.0, uniform=0.5) if crowded else config(6, **ALONE)
    size = 3 if crowded else 6
    chosen = np.zeros((seeds, n))
    for seed in range(seeds):
        drawn = draw(small, **NOTHING, config=settings, seed=seed)
        chosen[seed, drawn.ids[drawn.generator == "uniform"] - 1] = 1
    assert (chosen.sum(axis=1) == size).all()
    one, two = size / n, size * (size - 1) / (n * (n - 1))
    assert np.abs(chosen.mean(axis=0) - one).max() < 4.5 * math.sqrt(one * (1 - one) / seeds)
    pairs = (chosen.T @ chosen / seeds)[np.triu_indices(n, 1)]
    assert np.abs(pairs - two).max() < 4.5 * math.sqrt(two * (1 - two) / seeds)


def test_the_audit_draw_is_uniform_and_knows_its_chances(index):
    ids, log_propensities = draw_uniformly(index.store, {4, 5, 12345}, 3, 0)
    assert len(set(ids.tolist())) == 3
    assert not {4, 5} & set(ids.tolist())
    assert log_propensities.tolist() == [-math.log(298), -math.log(297), -math.log(296)]
    everyone, chances = draw_uniformly(index.store, range(1, 299), 9, 0)
    assert sorted(everyone.tolist()) == [299, 300]
    assert chances[-1] == 0
    first = np.bincount(
        [draw_uniformly(index.store, range(7, 301), 1, seed)[0][0] for seed in range(3000)], minlength=7
    )
    assert np.abs(first[1:] / 3000 - 1 / 6).max() < 4.5 * math.sqrt(5 / 36 / 3000)


def test_what_is_removed_is_not_drawn(tmp_path):
    index = index_of(tmp_path, range(300))
    gone, labelled = list(range(1, 300, 12)), [2, 50]
    given = {"labelled": labelled, "uncertain": [*gone, 100], "config": config(290), "seed": 3}
    barred = draw(index, excluded=gone, **given)
    index.remove(gone)
    left = draw(index, excluded=(), **given)
    assert len(left) == 275 and not np.isin(left.ids, gone).any() and np.array_equal(left.ids, barred.ids)
    ids, log_propensities = draw_uniformly(index.store, {2}, 400, seed=1)
    assert sorted(ids) == [row for row in range(1, 301) if row not in {2, *gone}]
    assert log_propensities[0] == -np.log(len(ids))
