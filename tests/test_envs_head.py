"""The head of an environment, and what is read off it: quality, features and look-ahead are those of a batch fit."""

import numpy as np
import pytest

from discover.evaluate import metrics
from discover.policy import features, ridge
from envs.episodes import Episodes
from envs.head import RidgeHeads
from envs.scores import Scorer
from tests.episodes import corpus, episode, played


def test_the_head_is_a_batch_fit_after_a_thousand_updates():
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(1000, 33)).astype(np.float32), rng.integers(5, size=1000)
    held_out = rng.normal(size=(200, 33)).astype(np.float32)
    heads = RidgeHeads(2, 33, 5, 200)
    heads.held_out[:] = held_out.T
    heads.reset(np.arange(2), np.zeros((2, 0, 33), np.float32), np.zeros((2, 0), np.int64))
    for row, label in zip(rows, labels, strict=True):
        heads.teach(np.stack([row, row]), np.array([label, label]), np.array([True, False]))
    fitted = ridge.fit(rows, labels, 5)
    assert np.abs(heads.weights[0] - fitted.weights).max() < 1e-5
    assert np.abs(heads.inverse[0] - fitted.inverse).max() < 1e-5
    assert np.abs(heads.scores[0] - (held_out @ fitted.weights).T).max() < 1e-4  # single precision, until refreshed
    heads.refresh(np.array([0]), rows[None], labels[None])
    assert np.abs(heads.scores[0] - (held_out @ fitted.weights).T).max() < 1e-5
    assert (heads.sharpness[0], heads.validated[0]) == pytest.approx((fitted.sharpness, fitted.validated))
    assert heads.counts[1].sum() == 0 and not heads.weights[1].any()


def test_leave_one_out_is_that_of_refits():
    rng = np.random.default_rng(1)
    labels = rng.integers(3, size=40)
    rows = rng.normal(size=(40, 6)) + np.eye(3, 6)[labels]
    right = []
    for left_out in range(40):
        kept = np.arange(40) != left_out
        right.append((rows[left_out] @ ridge.fit(rows[kept], labels[kept], 3).weights).argmax() == labels[left_out])
    assert ridge.fit(rows, labels, 3).validated == pytest.approx(np.mean(right))


@pytest.mark.parametrize("metric", ["macro_f1", "accuracy"])
def test_quality_is_that_of_the_metrics(metric):
    rng = np.random.default_rng(2)
    scorer, scores = Scorer(3, 50, 30, 6), rng.normal(size=(3, 6, 80)).astype(np.float32)
    truth = rng.integers(5, size=(3, 80))
    for row in range(3):
        scorer.reset(row, truth[row])
    for reported, part in ((False, slice(50)), (True, slice(50, None))):
        expected = [getattr(metrics, metric)(scores[row, :, part].argmax(axis=0), truth[row, part]) for row in range(3)]
        assert scorer.quality(scores, metric, reported) == pytest.approx(expected)


def test_what_is_seen_is_what_a_batch_fit_says():
    """The real loop fits the ridge head to all labels at once; the environment must show the same."""
    episodes = played(Episodes([corpus()], 2, episode()), 25)
    found = episodes.raw(np.arange(2), episodes.beliefs(np.arange(2))[1])
    for row in range(2):
        places = episodes.order[row, : episodes.spent[row]]
        rows, labels = episodes.vectors[row, places], episodes.labels[row, places]
        vectors = episodes.vectors[row, episodes.slots[row]]
        head = ridge.fit(rows, labels, 4)
        scores, counts = vectors @ head.weights, np.bincount(labels, minlength=4)
        likely = ridge.probabilities(scores, counts > 0, episodes.head.sharpness[row])
        means = np.stack(
            [rows[labels == one].mean(axis=0) if (labels == one).any() else rows[0] * 0 for one in range(4)]
        )
        sample = episodes.sample[row].astype(np.float64)
        beliefs = sample @ head.weights
        probable = ridge.probabilities(beliefs, counts > 0, episodes.head.sharpness[row])
        unlabelled = ridge.sampled(sample, sample.T @ sample / len(sample), beliefs, probable)
        expected = {
            **features.uncertainty(likely),
            **ridge.prospects(vectors, head.inverse, scores, likely, unlabelled),
            "rarity": features.rarity(likely, counts),
            "disagreement": features.disagreement(likely, vectors, means, counts > 0),
            "labelled": features.similarity(features.unit(vectors), features.unit(rows)),
            "crowd": features.crowd(
                (episodes.cluster[row, episodes.slots[row]][:, None] == episodes.cluster[row, places]).sum(1)
            ),
        }
        for name, values in expected.items():
            assert found[name][row] == pytest.approx(values, abs=1e-6), name


def test_features_lie_between_nought_and_one_and_ties_share_a_rank():
    values, valid = np.array([[3.0, 1.0, 3.0, 2.0, 9.0]]), np.array([[True, True, True, True, False]])
    assert features.ranks(values[..., None], valid)[0, :4, 0] == pytest.approx([2.5 / 3, 0, 2.5 / 3, 1 / 3])
    assert features.ranks(values[..., None], valid & (values == 2))[0, 3, 0] == 0.5
    likely = np.random.default_rng(0).dirichlet(np.ones(5), size=40)
    even = features.ranks(features.rarity(likely, np.full(5, 4))[:, None], np.ones(40, bool))
    assert (even == 0.5).all(), "no class is rarer than another"
    episodes = played(Episodes([corpus()], 2, episode()), 33)
    assert episodes.observed.min() >= 0 and episodes.observed.max() <= 1
    assert not episodes.observed[~episodes.valid].any()
    assert episodes.state[:, features.STATE.index("left")] == pytest.approx(1 - 53 / 60)


def test_the_look_ahead_is_what_a_refit_gains():
    episodes = played(Episodes([corpus()], 1, episode()), 10)
    gains = episodes.lookahead()[0]
    places = episodes.order[0, : episodes.spent[0]]
    held_out, truth = episodes.head.held_out[0].T, np.eye(4)[episodes.scorer._truth[0]]
    weights = [np.ones(200), episodes.scorer.balance(0)]

    def errors(more):
        rows = np.append(places, np.array(more, np.int64))
        head = ridge.fit(episodes.vectors[0, rows], episodes.labels[0, rows], 4)
        squares = np.square(held_out @ head.weights - truth).sum(axis=1)
        return np.array([weight @ squares for weight in weights])

    valid = episodes.valid[0]
    gained = np.array([errors([]) - errors([slot]) for slot in episodes.slots[0][valid]])
    expected = ((gained - gained.mean(axis=0)) / gained.std(axis=0)).sum(axis=1)
    expected = (expected - expected.mean()) / expected.std()
    assert gains[valid] == pytest.approx(expected, abs=1e-5)
    assert np.isneginf(gains[~valid]).all()
