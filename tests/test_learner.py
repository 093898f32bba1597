import warnings
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pytest

from discover.errors import DiscoverError
from discover.learn import registry
from discover.learn.classifier import TextClassifier
from discover.learn.committee import MEMBERS
from discover.learn.learner import Learner
from discover.learn.samples import column
from tests.test_classifier import EVEN, ODD, TEXTS, TRUTH, cache, encoder, make, make_small

__all__ = ["cache", "encoder", "make", "make_small"]


@dataclass(frozen=True)
class Picks:
    indices: np.ndarray
    utilities: np.ndarray


@pytest.mark.parametrize("k", [1, 2, 3, 50])
def test_picks_pass_through_unchanged(make, k):
    learner = Learner(make())
    ids = np.arange(1000, 1072)
    picks = Picks(np.random.default_rng(0).permutation(72)[:k], np.linspace(1, 0, k))
    before = picks.indices.copy()
    assert learner.query(ids, picks) is picks and np.array_equal(picks.indices, before)


def test_teach_goes_through_modal_without_a_warning(make):
    learner = Learner(make("head"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        learner.teach(ODD[:9], TRUTH[ODD[:9]])
        learner.teach(ODD[9:], TRUTH[ODD[9:]])
    assert learner.active.X_training.shape == (len(ODD), 1) and learner.active.X_training.dtype == np.int64
    assert np.array_equal(learner.active.y_training, TRUTH[ODD])
    assert (learner.predict_proba(EVEN).argmax(1) == TRUTH[EVEN]).mean() > 0.9
    with pytest.raises(ValueError, match="only appends"):
        learner.teach(ODD[:1], TRUTH[ODD[:1]])


def test_learn_teaches_what_grew_and_fits_what_changed(make):
    learner = Learner(make("head"))
    calls = []
    for name in ("teach", "fit"):
        original = getattr(learner.active, name)
        setattr(learner.active, name, lambda X, y, name=name, original=original: calls.append(name) or original(X, y))
    learner.learn(ODD[:9], TRUTH[ODD[:9]])
    learner.learn(ODD[:20][::-1], TRUTH[ODD[:20]][::-1])
    learner.learn(ODD[:20], TRUTH[ODD[:20]])
    assert calls == ["teach", "teach"]
    corrected = TRUTH[ODD[:20]].copy()
    corrected[0] = 2
    learner.learn(ODD[:20], corrected)
    learner.learn(ODD[:19], corrected[:19])
    assert calls == ["teach", "teach", "fit", "fit"] and learner.classifier.taught[int(ODD[0])] == 2
    assert np.array_equal(learner.active.X_training, column(ODD[:19]))


@pytest.mark.parametrize("method", ["head", "top"])
def test_without_any_answer_left_it_is_untaught_again(make_small, tmp_path, method):
    learner, untaught = Learner(make_small(method)), Learner(make_small(method))
    learner.learn(ODD[:6], TRUTH[ODD[:6]])
    learner.classifier.temperature = 1.3
    learner.learn([], [])
    assert learner.classifier.taught == {}
    assert np.array_equal(learner.predict_proba(EVEN), untaught.predict_proba(EVEN))
    registry.publish(tmp_path, "margin-0002", learner.classifier)
    again = Learner(registry.load(tmp_path / "margin-0002", make_small(method)))
    for each in (learner, untaught, again):
        each.learn(ODD[:9], TRUTH[ODD[:9]])
    assert np.array_equal(learner.predict_proba(EVEN), untaught.predict_proba(EVEN))
    assert np.array_equal(again.predict_proba(EVEN), untaught.predict_proba(EVEN))


def test_teaching_in_steps_is_what_fitting_would_be(make_small):
    stepwise, whole = Learner(make_small()), make_small()
    stepwise.teach(ODD[:12], TRUTH[ODD[:12]])
    stepwise.teach(ODD[12:], TRUTH[ODD[12:]])
    whole.fit(column(ODD[:12]), TRUTH[ODD[:12]])
    whole.fit(column(ODD), TRUTH[ODD])
    assert np.array_equal(stepwise.predict_proba(EVEN), whole.predict_proba(column(EVEN)))


def test_a_restart_does_not_train_again(make_small, tmp_path, monkeypatch):
    learner = Learner(make_small())
    learner.teach(ODD, TRUTH[ODD])
    registry.publish(tmp_path, "margin-0001", learner.classifier)
    again = registry.load(tmp_path / "margin-0001", make_small())
    monkeypatch.setattr(TextClassifier, "fit", lambda *_: pytest.fail("trained again"))
    restarted = Learner(again)
    monkeypatch.undo()
    assert sorted(restarted.active.X_training.ravel()) == sorted(ODD)
    for each in (learner, restarted):
        each.teach(EVEN[:5], TRUTH[EVEN[:5]])
    everything = np.arange(len(TEXTS))
    assert np.array_equal(restarted.predict_proba(everything), learner.predict_proba(everything))


def test_a_committee_votes_alike_on_what_is_clear_and_repeats_itself(make):
    learner = Learner(make("head"))
    assert learner.votes(EVEN).shape == (len(EVEN), 1, 3)  # the descriptions alone
    learner.teach(ODD, TRUTH[ODD])
    votes = learner.votes(EVEN)
    assert votes.shape == (len(EVEN), MEMBERS, 3) and votes.sum(axis=2) == pytest.approx(1)
    assert (votes.argmax(axis=2) == TRUTH[EVEN][:, None]).mean() > 0.9
    assert votes.std(axis=1).max() > 0.01  # members differ
    assert np.array_equal(learner.votes(EVEN), votes)


def test_a_restart_has_the_same_committee(make):
    learner, again = Learner(make("head")), make("head")
    learner.classifier.unlabelled = EVEN
    learner.teach(ODD, TRUTH[ODD])
    again.restore(learner.classifier.state())
    assert np.array_equal(Learner(again).votes(EVEN), learner.votes(EVEN))
    learner.classifier.restore({name: one for name, one in learner.classifier.state().items() if name != "root"})
    assert not np.array_equal(Learner(again).votes(EVEN), learner.votes(EVEN)), "members pay what the heads do"


def test_a_learner_without_members_has_no_committee():
    class Alone:
        taught = MappingProxyType({})

    with pytest.raises(DiscoverError, match="Alone has none"):
        Learner(Alone()).votes(EVEN)
