"""Learning any number of labels a document: the head, thresholds, calibration, fine-tuning, and what is kept of it."""

import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from discover.embed.config import EncoderConfig
from discover.embed.encoder import Encoder
from discover.learn import binary_relevance, head, registry, thresholds
from discover.learn.activations import ActivationCache
from discover.learn.calibration import fit_temperature, folds_of
from discover.learn.classifier import TextClassifier
from discover.learn.config import LearnConfig
from discover.learn.learner import Learner
from discover.learn.likelihood import Bernoulli
from discover.learn.samples import column

RNG = np.random.default_rng(0)
D, C = 12, 5
PRIOR = np.eye(C, D, dtype=np.float32)


def drawn(m: int, seed: int, rate: float = -1.5) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors, and labels whose log odds are linear in them."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(m, D)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    odds = 6 * vectors @ np.random.default_rng(9).normal(size=(D, C)) + rate
    return vectors, (rng.random((m, C)) < expit(odds)).astype(np.int64)


def test_each_label_is_a_logistic_regression() -> None:
    """With no pull to speak of, what scikit-learn finds for each label by itself."""
    vectors, y = drawn(400, 1)
    weights, bias = binary_relevance.fit(vectors, y, PRIOR, head.Penalty(1e-7))
    ours = expit(head.logits(vectors, weights, bias))
    for label in range(C):
        plain = LogisticRegression(C=1e6, max_iter=10_000, tol=1e-8).fit(vectors, y[:, label])
        assert np.abs(ours[:, label] - plain.predict_proba(vectors)[:, 1]).max() < 0.02


def test_the_gradient_vanishes_at_the_head() -> None:
    vectors, y = drawn(60, 2)
    weights, bias = binary_relevance.fit(vectors, y, PRIOR, head.Penalty(1.0))
    inputs = np.pad(vectors.astype(np.float64), ((0, 0), (0, 1)), constant_values=1)

    def loss(both: np.ndarray, offset: float, trust: float) -> float:
        logits = head.SCALE * (trust * vectors @ PRIOR.T + inputs @ both.T) + offset
        return (np.logaddexp(0, logits) - y * logits).sum() / 60 + head.SCALE / 60 * np.square(both).sum()

    # Offset and trust are chosen with the shift: at the optimum the fitted loss is below that of any step away.
    best = min(
        loss(np.column_stack([weights - trust * PRIOR, bias - offset / head.SCALE]), offset, trust)
        for trust in np.linspace(-1, 2, 61)
        for offset in np.linspace(-6, 2, 161)
    )
    rng = np.random.default_rng(3)
    for size in (1e-3, 1e-2):
        for _ in range(20):
            step = size * rng.normal(size=(C, D + 1))
            moved = min(
                loss(np.column_stack([weights - trust * PRIOR, bias - offset / head.SCALE]) + step, offset, trust)
                for trust in np.linspace(-1, 2, 7)
                for offset in np.linspace(-6, 2, 17)
            )
            assert moved > best


def test_a_label_without_answers_is_not_taken_for_a_likely_one() -> None:
    vectors, y = drawn(80, 4)
    y[:, 2] = 0
    fitted = binary_relevance.fit(vectors, y, PRIOR, head.Penalty(0.2))
    likely = expit(head.logits(drawn(300, 5)[0], *fitted)).mean(axis=0)
    assert likely[2] < 0.05 and likely[2] == likely.min()
    assert np.isfinite(
        np.concatenate([one.ravel() for one in binary_relevance.fit(vectors, 0 * y, PRIOR, head.Penalty(0.2))])
    ).all()


def test_answers_without_a_label_leave_all_labels_to_their_descriptions() -> None:
    vectors, _ = drawn(100, 1)
    near = vectors + PRIOR[0] / 4  # more like the description of the first, and still not of it
    weights, _ = binary_relevance.fit(near, np.zeros((100, C), np.int64), PRIOR, head.Penalty(0.2))
    assert (weights * PRIOR).sum(axis=1) == pytest.approx(np.ones(C), abs=0.05), "trusted as before any answer"


def test_before_any_answer_one_label_is_expected() -> None:
    vectors = drawn(50, 6)[0]
    assert expit(binary_relevance.untaught(vectors, PRIOR)).sum(axis=1) == pytest.approx(np.ones(50), abs=1e-6)


def f1(p: np.ndarray, y: np.ndarray, at: np.ndarray) -> float:
    given = p >= at
    return 2 * (given & (y > 0)).sum() / (given.sum() + y.sum())


def test_thresholds_are_where_f1_is_best() -> None:
    rng = np.random.default_rng(7)
    p = rng.beta(0.3, 2.0, size=(3000, 4))
    y = (rng.random(p.shape) < p).astype(np.int64)
    found = thresholds.fit(p[:1500], y[:1500])
    held, truth = p[1500:], y[1500:]
    assert f1(held, truth, found) > f1(held, truth, np.full(4, thresholds.START)) + 0.03
    best = max(f1(held, truth, np.full(4, at)) for at in thresholds.GRID)
    assert f1(held, truth, found) > best - 0.01
    # The probabilities are calibrated, so they know as much without an answer.
    assert f1(held, truth, thresholds.expected(held)) > best - 0.01


def test_a_rare_label_takes_the_common_threshold_and_a_frequent_one_its_own() -> None:
    rng = np.random.default_rng(8)
    p = np.column_stack([rng.beta(0.5, 1, 4000), rng.beta(0.5, 1, 4000), rng.beta(0.01, 8, 4000)])
    y = (rng.random(p.shape) < p).astype(np.int64)
    p[:, 0] **= 3  # its probabilities are all too small
    y[:, 2] = 0
    y[:2, 2] = 1
    found = thresholds.fit(p, y)
    assert found[0] < found[1] - 0.1, "hundreds of answers speak for themselves"
    alone = thresholds.fit(p[:, 2:], y[:, 2:])
    assert abs(found[2] - np.median(found)) < 0.15, (found, alone)
    assert (thresholds.fit(p, 0 * y) == thresholds.START).all()


def test_the_temperature_is_found_for_labels_too() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(-1, 2, size=(800, C))
    y = (rng.random(logits.shape) < expit(logits)).astype(np.int64)
    assert fit_temperature(3 * logits, y, Bernoulli()) == pytest.approx(3, rel=0.1)
    assert fit_temperature(logits[:0], y[:0], Bernoulli()) == 1


def test_folds_spread_rare_labels() -> None:
    y = np.zeros((30, 3), np.int64)
    y[:, 0], y[::5, 1] = 1, 1
    fold = folds_of(y, 3)
    assert [y[fold == number, 1].sum() for number in range(3)] == [2, 2, 2]


PHRASES = {
    "sport": ["the goalkeeper saved a penalty", "she won the tennis final", "the coach trained the striker"],
    "food": ["stir the soup with salt", "bake the bread in the oven", "a recipe for apple pie"],
    "money": ["the bank raised interest rates", "shares fell on the exchange", "pay the invoice with a fee"],
}
NAMES = dict(zip(PHRASES, ("games and matches", "cooking and meals", "banks and prices"), strict=True))
TEXTS, TRUTH = [], []
for first, one in enumerate(PHRASES.values()):
    for second, other in enumerate(PHRASES.values()):
        TEXTS += [f"{a}, and {b}" if first != second else a for a in one for b in other]
        TRUTH += [[int(at in (first, second)) for at in range(3)]] * 9
TEXTS += [f"it was quiet {when}" for when in ("today", "at noon", "in the hall", "again", "up there", "all week")]
TRUTH = np.array(TRUTH + [[0, 0, 0]] * 6)
TEXTS = [f"{text} ({number})" for number, text in enumerate(TEXTS)]
ODD, EVEN = np.arange(1, len(TEXTS), 2), np.arange(0, len(TEXTS), 2)


@pytest.fixture(scope="module")
def make():
    encoder, cache = Encoder(EncoderConfig(max_tokens=24)), ActivationCache(100)

    def made(method: str = "top", **settings) -> TextClassifier:
        config = LearnConfig(**{"method": method, "epochs": 2, "steps": 8, **settings})
        texts = lambda ids: [TEXTS[i] for i in ids]  # noqa: E731
        return TextClassifier(encoder, texts, NAMES, config, 7, cache, task="multilabel")

    return made


@pytest.mark.parametrize("method", ["head", "top"])
def test_labels_are_learned_one_by_one(make, method: str) -> None:
    classifier = make(method)
    classifier.unlabelled = EVEN
    learner = Learner(classifier)
    learner.teach(ODD[:20], TRUTH[ODD[:20]])
    learner.learn(ODD, TRUTH[ODD])
    likely = learner.predict_proba(EVEN)
    assert likely.shape == (len(EVEN), 3) and ((likely >= 0) & (likely <= 1)).all()
    found = classifier.decide(likely)
    assert np.array_equal(found, classifier.predict(column(EVEN)))
    assert (found == TRUTH[EVEN]).mean() > 0.9 and (found == TRUTH[EVEN]).all(axis=1).mean() > 0.75
    assert classifier.taught == dict(zip(ODD.tolist(), map(tuple, TRUTH[ODD].tolist()), strict=True))
    assert 0 <= classifier.changed <= 1 and 0 <= classifier.unsure <= 1
    assert np.array_equal(classifier.predict_proba(column(EVEN[:1]))[0], likely[0]), "whoever else is asked about"
    votes = learner.votes(EVEN)
    assert votes.shape[::2] == (len(EVEN), 3) and votes.min() >= 0 and votes.max() <= 1


def test_how_wrong_it_expects_to_be_is_about_what_it_decides(make) -> None:
    classifier = make("head")
    classifier.unlabelled = EVEN
    classifier.fit(column(ODD[:20]), TRUTH[ODD[:20]])
    classifier.thresholds = np.full(3, 1e-3)
    seen = classifier.predicted(column(EVEN))
    assert not np.array_equal(seen.answers, seen.probabilities >= 0.5)
    assert classifier.unsure == pytest.approx(1 - seen.chances.mean(), abs=1e-6)


def test_thresholds_come_of_the_unanswered_whatever_is_propagated(make) -> None:
    one, other = make("head"), make("head", propagate=False)
    for classifier in (one, other):
        classifier.unlabelled = EVEN[: classifier.looks_at]
        classifier.fit(column(ODD[:20]), TRUTH[ODD[:20]])
    assert np.array_equal(one.thresholds, other.thresholds) and not (one.thresholds == thresholds.START).all()


def test_thresholds_follow_a_temperature_that_audit_answers_set(make) -> None:
    classifier = make("head")
    classifier.unlabelled = EVEN
    classifier.fit(column(ODD[:20]), TRUTH[ODD[:20]])
    before = classifier.thresholds
    classifier.calibrate(column(ODD[20:]), TRUTH[ODD[20:]][:, [1, 2, 0]])
    likely = classifier.predict_proba(column(EVEN))
    assert classifier.temperature > 1 and not np.array_equal(classifier.thresholds, before)
    assert np.array_equal(classifier.thresholds, thresholds.expected(likely))


def test_a_few_answers_set_the_temperature_and_not_the_thresholds(make) -> None:
    classifier, wrong = make("head", folds=3), TRUTH.copy()
    classifier.unlabelled = EVEN
    some = ODD[:30]
    wrong[some] = wrong[some][:, [1, 2, 0]]
    wrong[some[::2]] = TRUTH[some[::2]]
    classifier.fit(column(some), wrong[some])
    likely = classifier.predict_proba(column(EVEN))
    assert classifier.temperature > 1 and np.array_equal(classifier.thresholds, thresholds.expected(likely))


def test_saved_and_loaded_is_the_same_and_of_another_task_is_refused(make, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("discover.learn.classifier.ENOUGH", 10)
    some, more = EVEN[:24], EVEN[:30]
    classifier = make(folds=2, steps=2)
    classifier.unlabelled = ODD
    classifier.fit(column(some), TRUTH[some])
    assert classifier.cross_validated is not None and not (classifier.thresholds == thresholds.START).all()
    registry.publish(tmp_path, "margin-0001", classifier)
    again = registry.load(tmp_path / "margin-0001", make(folds=2, steps=2))
    again.unlabelled = ODD
    assert np.array_equal(again.thresholds, classifier.thresholds) and again.taught == classifier.taught
    for each in (classifier, again):
        each.fit(column(more), TRUTH[more])
        each.calibrate(column(ODD[:4]), TRUTH[ODD[:4]])
    assert again.changed == classifier.changed and again.temperature == classifier.temperature
    assert all(torch.equal(tensor, again.state()[name]) for name, tensor in classifier.state().items())
    assert np.array_equal(again.predict_proba(column(ODD)), classifier.predict_proba(column(ODD)))
    single = TextClassifier(classifier.encoder, classifier.texts, NAMES, classifier.config, 7)
    with pytest.raises(Exception, match="task 'multilabel', here it is 'multiclass'"):
        registry.load(tmp_path / "margin-0001", single)


def test_an_answer_that_is_corrected_or_gone_is_unlearned(make) -> None:
    classifier, never = make("head"), make("head")
    learner = Learner(classifier)
    learner.learn(ODD, 1 - TRUTH[ODD])
    learner.learn(ODD[:12], TRUTH[ODD[:12]])
    never.fit(column(ODD[:12]), TRUTH[ODD[:12]])
    assert np.array_equal(classifier.predict_proba(column(EVEN)), never.predict_proba(column(EVEN)))
    with pytest.raises(ValueError, match="0 or 1"):
        classifier.fit(column([0]), np.array([[0, 2, 0]]))
