import numpy as np
import pytest
import torch

from discover.embed.config import EncoderConfig
from discover.embed.encoder import Encoder
from discover.errors import DiscoverError
from discover.learn import registry, representation
from discover.learn.activations import ActivationCache
from discover.learn.calibration import fit_temperature
from discover.learn.classifier import FEW, TextClassifier
from discover.learn.config import LearnConfig
from discover.learn.likelihood import Categorical
from discover.learn.samples import column

CLASSES = {"sport": "games, players, matches, teams", "food": "cooking, meals, recipes", "money": "banks and prices"}
PHRASES = {
    "sport": [
        "the goalkeeper saved a penalty",
        "she won the tennis final",
        "the coach trained the striker",
        "a marathon",
    ],
    "food": [
        "stir the soup with salt",
        "bake the bread in the oven",
        "a recipe for apple pie",
        "grilled fish with rice",
    ],
    "money": ["the bank raised interest rates", "shares fell on the exchange", "a loan with a fee", "pay the invoice"],
}
ENDINGS = ["yesterday", "in the town", "again and again", "before noon", "as we all had hoped it would be", "twice"]
TEXTS = [f"{phrase} {ending}" for phrases in PHRASES.values() for phrase in phrases for ending in ENDINGS]
TRUTH = np.repeat(np.arange(3), 4 * len(ENDINGS))
ODD, EVEN = np.arange(1, len(TEXTS), 2).reshape(3, -1).T.ravel(), np.arange(0, len(TEXTS), 2)  # odd: a class in turn
METHODS = ["head", "top", "full"]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(EncoderConfig(max_tokens=32))


@pytest.fixture(scope="module")
def cache() -> ActivationCache:
    return ActivationCache(100)


def maker(encoder, cache):
    def made(method: str = "top", texts=TEXTS, shared=cache, **settings) -> TextClassifier:
        config = LearnConfig(**{"method": method, "epochs": 2, "steps": 8, **settings})
        return TextClassifier(encoder, lambda ids: [texts[i] for i in ids], CLASSES, config, 7, shared)

    return made


@pytest.fixture
def make(encoder, cache):
    return maker(encoder, cache)


@pytest.fixture(scope="module")
def make_small(small_encoder):
    """Of an encoder that knows nothing."""
    return maker(Encoder(EncoderConfig(model=str(small_encoder), max_tokens=32)), ActivationCache(100))


def test_a_penalty_that_is_fixed_later_counts_from_the_next_answers_on(make):
    before, after = make("head"), make("head", head_penalty=50.0, head_power=0.0)
    for one in (before, after):
        one.unlabelled = EVEN
    before.fit(column(ODD[:20]), TRUTH[ODD[:20]])
    after.restore(before.state())
    assert np.array_equal(after.predict_proba(column(EVEN)), before.predict_proba(column(EVEN)))
    after.fit(column(ODD[:24]), TRUTH[ODD[:24]])
    assert after.state()["penalty"].tolist() == [50.0, 0.0] and "root" not in after.state()


def test_more_layers_than_there_are_cannot_be_trained(make):
    assert make("top", layers=6).representation.layer == 0
    with pytest.raises(DiscoverError, match="at most 6, as many as all-MiniLM-L6-v2 has, found 7"):
        make("top", layers=7)


def test_descriptions_suffice_to_start(make):
    classifier = make()
    probabilities = classifier.predict_proba(column(range(len(TEXTS))))
    assert probabilities.shape == (len(TEXTS), 3) and np.allclose(probabilities.sum(1), 1)
    assert (probabilities.argmax(1) == TRUTH).mean() > 0.7 and classifier.taught == {}
    assert classifier.predict_proba(column([])).shape == (0, 3)


@pytest.mark.parametrize("method", METHODS)
def test_answers_are_learned_and_kept(make, method):
    classifier = make(method)
    classifier.fit(column(ODD[:18]), TRUTH[ODD[:18]])
    classifier.fit(column(ODD), TRUTH[ODD])
    assert (classifier.predict(column(EVEN)) == TRUTH[EVEN]).mean() > 0.9
    assert classifier.taught == dict(zip(ODD.tolist(), TRUTH[ODD].tolist(), strict=True))


def test_answers_that_have_doubled_are_learned_from_scratch(make_small):
    def weights(*counts):
        classifier = make_small()
        for count in counts:
            classifier.fit(column(ODD[:count]), TRUTH[ODD[:count]])
        return {name: one for name, one in classifier.state().items() if name.startswith("network.")}

    once, doubled, grown = weights(12), weights(6, 9, 12), weights(7, 12)
    assert all(torch.equal(once[name], doubled[name]) for name in once)
    assert not all(torch.equal(once[name], grown[name]) for name in once)


@pytest.mark.parametrize("method", ["top", "full"])
def test_a_class_that_has_its_first_answers_is_learned_from_scratch(make, method):
    """It was trained to be unlikely, and an increment does not make up for that."""
    two, third = ODD[TRUTH[ODD] < 2], ODD[TRUTH[ODD] == 2]
    grown, at_once = make(method), make(method)
    grown.fit(column(two), TRUTH[two])
    answered = np.append(two, third[:5])
    for one in (grown, at_once):
        one.fit(column(answered), TRUTH[answered])
    np.testing.assert_array_equal(grown.predict_proba(column(EVEN)), at_once.predict_proba(column(EVEN)))
    of_third = EVEN[TRUTH[EVEN] == 2]
    assert (grown.predict(column(of_third)) == 2).mean() > 0.7
    more = np.append(answered, third[5:7])
    grown.fit(column(more), TRUTH[more])
    assert len(grown.curve) < len(at_once.curve), "what follows is an increment"


def test_of_many_classes_a_first_answer_begins_an_increment_with_a_head_that_knows_it(encoder):
    classes = {f"class {number}": "" for number in range(12)}
    truth = np.repeat(np.arange(12), len(ENDINGS))
    config = LearnConfig(method="top", epochs=4, steps=20)
    classifier = TextClassifier(encoder, lambda ids: [TEXTS[i] for i in ids], classes, config, 7)
    known, late = np.flatnonzero((truth < 11) & (np.arange(len(truth)) % 2 == 0)), np.flatnonzero(truth == 11)[:2]
    classifier.fit(column(known), truth[known])
    scratch, answered = len(classifier.curve), np.append(known, late)
    classifier.fit(column(answered), truth[answered])
    assert len(classifier.curve) < scratch and classifier.curve[0][0] < 0.5, "the head before would be far off"
    assert (classifier.predict(column(np.flatnonzero(truth == 11)[2:])) == 11).all()


def test_answers_that_are_all_the_same_train_the_head_alone(make_small, tmp_path):
    sport = ODD[::3][:8]
    classifier = make_small("full", folds=2)
    classifier.fit(column(sport), TRUTH[sport])
    assert classifier.curve == [] and classifier.cross_validated is None
    assert not any(name.startswith("network.") for name in classifier.state())
    assert (classifier.predict(column(ODD)) == 0).all(), "learned nevertheless"

    registry.publish(tmp_path, "margin-0001", classifier)
    again, at_once = registry.load(tmp_path / "margin-0001", make_small("full", folds=2)), make_small("full", folds=2)
    answered = np.append(sport, ODD[1])
    for one in (classifier, again, at_once):
        one.fit(column(answered), TRUTH[answered])
        assert one.curve == classifier.curve != []
        np.testing.assert_array_equal(one.predict_proba(column(EVEN)), classifier.predict_proba(column(EVEN)))


def test_a_correction_after_which_all_answers_are_the_same_is_learned(make_small):
    some, slip = ODD[::3][:8], ODD[1]
    classifier, never = make_small("full"), make_small("full")
    classifier.fit(column(np.append(some, slip)), np.append(TRUTH[some], TRUTH[slip]))
    for one in (classifier, never):
        one.fit(column(np.append(some, slip)), np.repeat(TRUTH[some[0]], 9))
    assert np.array_equal(classifier.predict_proba(column(EVEN)), never.predict_proba(column(EVEN)))


def test_an_increment_learns_less_than_training_from_scratch_and_rehearses(make_small):
    classifier = make_small(epochs=10, steps=0, batch=4, replay=2.0)
    classifier.fit(column(ODD[:12]), TRUTH[ODD[:12]])
    scratch = classifier.curve
    classifier.fit(column(ODD[:16]), TRUTH[ODD[:16]])
    assert len(scratch) == 10 * 3 and len(classifier.curve) == 5 * 3, "4 new answers and 8 old ones, half the passes"
    assert max(rate for _, rate in classifier.curve) == pytest.approx(max(rate for _, rate in scratch) / 2)


def test_an_increment_goes_a_share_of_the_way_to_where_it_ends(make_small, monkeypatch):
    def weights(way, count):
        monkeypatch.setattr(representation, "WAY", way)
        classifier = make_small()
        classifier.fit(column(ODD[:12]), TRUTH[ODD[:12]])
        if count > 12:
            classifier.fit(column(ODD[:count]), TRUTH[ODD[:count]])
        return {name: one for name, one in classifier.state().items() if name.startswith("network.")}

    start, end, between = weights(1, 12), weights(1, 16), weights(0.25, 16)
    for name, found in between.items():
        assert torch.allclose(found, 0.75 * start[name] + 0.25 * end[name], atol=1e-6)
    assert any(not torch.equal(start[name], end[name]) for name in end)


@pytest.mark.parametrize("method", METHODS)
def test_probabilities_never_depend_on_who_else_is_asked(make_small, method):
    classifier = make_small(method)
    classifier.fit(column(ODD), TRUTH[ODD])
    together = classifier.predict_proba(column(range(len(TEXTS))))
    order = np.random.default_rng(0).permutation(len(TEXTS))
    assert np.array_equal(classifier.predict_proba(column(order)), together[order])
    for i in (0, 13, 50):
        assert np.array_equal(classifier.predict_proba(column([i]))[0], together[i])


@pytest.mark.parametrize("method", METHODS)
def test_neither_row_ids_nor_arrival_matter(make_small, method):
    classifier = make_small(method)
    classifier.fit(column(ODD), TRUTH[ODD])
    classifier.fit(column(range(len(TEXTS))), TRUTH)
    order = np.random.default_rng(3).permutation(len(TEXTS))
    place = np.argsort(order)  # document i has row id place[i] in the other pool
    other = make_small(method, [TEXTS[i] for i in order], ActivationCache(100))
    other.fit(column(place[ODD][::-1]), TRUTH[ODD][::-1])
    other.fit(column(place), TRUTH)
    assert np.array_equal(other.predict_proba(column(place)), classifier.predict_proba(column(range(len(TEXTS)))))


@pytest.mark.parametrize("method", [*METHODS, "lora"])
def test_saved_and_loaded_is_the_same(make_small, tmp_path, method, monkeypatch):
    monkeypatch.setattr("discover.learn.classifier.ENOUGH", 10)
    some = np.arange(0, len(TEXTS), 5)
    classifier = make_small(method, folds=2, steps=2)
    classifier.unlabelled = ODD
    classifier.fit(column(some), TRUTH[some])
    assert classifier.cross_validated is not None and classifier.temperature != 1
    registry.publish(tmp_path, "margin-0001", classifier)
    again = registry.load(tmp_path / "margin-0001", make_small(method, folds=2, steps=2))
    again.unlabelled = ODD
    assert again.taught == classifier.taught and again.temperature == classifier.temperature
    assert again.cross_validated == classifier.cross_validated
    everything = column(range(len(TEXTS)))
    assert np.array_equal(again.predict_proba(everything), classifier.predict_proba(everything))
    more = np.union1d(some, [1, 2, 3])
    for each in (classifier, again):
        each.fit(column(more), TRUTH[more])
        each.calibrate(column([2]), TRUTH[[2]])
    assert again.changed == classifier.changed and 0 <= again.changed < 0.5
    assert again.temperature == classifier.temperature
    assert np.array_equal(again.predict_proba(everything), classifier.predict_proba(everything))
    assert all(torch.equal(tensor, again.state()[name]) for name, tensor in classifier.state().items())


def test_unchanged_answers_change_nothing(make_small):
    classifier = make_small()
    classifier.fit(column(ODD[:9]), TRUTH[ODD[:9]])
    before = classifier.predict_proba(column(EVEN))
    classifier.fit(column(ODD[:9][::-1]), TRUTH[ODD[:9]][::-1])
    assert np.array_equal(classifier.predict_proba(column(EVEN)), before)


def test_corrected_answers_win(make):
    classifier = make()
    wrong = TRUTH[ODD].copy()
    wrong[TRUTH[ODD] == 0] = 1
    classifier.fit(column(ODD), wrong)
    sport = EVEN[TRUTH[EVEN] == 0]
    assert (classifier.predict(column(sport)) == 0).mean() < 0.5
    for _ in range(3):
        classifier.fit(column(ODD[:-1]), TRUTH[ODD[:-1]])
        classifier.fit(column(ODD), TRUTH[ODD])
    assert (classifier.predict(column(sport)) == 0).mean() > 0.5 and set(classifier.taught) == set(ODD.tolist())


@pytest.mark.parametrize("method", [*METHODS, "lora"])
def test_an_answer_that_is_gone_leaves_no_trace(make_small, method):
    classifier, never = make_small(method), make_small(method)
    classifier.fit(column(ODD[:12]), TRUTH[ODD[:12]])
    classifier.fit(column(ODD[:9]), TRUTH[ODD[:9]])
    never.fit(column(ODD[:9]), TRUTH[ODD[:9]])
    assert np.array_equal(classifier.predict_proba(column(EVEN)), never.predict_proba(column(EVEN)))


def test_corrections_count_in_the_calibration_and_not_as_evidence(make, monkeypatch):
    monkeypatch.setattr("discover.learn.classifier.ENOUGH", 20)
    classifier, wrong = make("head", folds=3), TRUTH.copy()
    classifier.unlabelled = EVEN
    some = np.sort(ODD)[::3]
    wrong[some] = (wrong[some] + 1) % 3
    classifier.fit(column(ODD), wrong[ODD])
    overconfident, right = classifier.temperature, classifier.cross_validated
    evidence = classifier._heads.evidence
    classifier.fit(column(ODD), TRUTH[ODD])
    classifier.calibrate(column([]), np.empty(0, np.int64))
    assert classifier.temperature < overconfident and classifier.cross_validated > right
    assert evidence is not None and classifier._heads.evidence is evidence


def test_a_class_index_out_of_range_is_refused(make_small):
    with pytest.raises(ValueError, match="under 3"):
        make_small().fit(column([0, 1]), np.array([0, 3]))
    with pytest.raises(ValueError, match="once"):
        make_small().fit(column([1, 1]), np.array([0, 1]))


def test_the_cache_keeps_to_its_limit():
    cache, asked = ActivationCache(0.001), []

    def compute(ids):
        asked.append(list(ids))
        return [torch.full((100,), float(row)) for row in ids]  # 400 bytes each

    assert [one[0].item() for one in cache.get("a", [1, 2, 1], compute)] == [1, 2, 1]
    cache.get("a", [2, 3], compute)
    assert asked == [[1, 2], [3]] and cache.bytes == 800 and len(cache) == 2
    cache.get("a", [2, 1], compute)
    cache.get("b", [1], compute)
    assert asked[2:] == [[1], [1]] and cache.bytes <= cache.limit


@pytest.mark.parametrize("method", METHODS)
def test_what_is_not_to_be_kept_is_asked_for_again(make_small, method):
    texts = ["the goalkeeper saved a penalty"]
    classifier = make_small(method, texts, ActivationCache(0))
    first = classifier.predict_proba(column([0]))
    texts[0] = "stir the soup with salt"
    assert not np.array_equal(classifier.predict_proba(column([0])), first)


def test_an_empty_cache_is_shared_too(make_small):
    shared = ActivationCache(100)
    make_small("top", TEXTS, shared).fit(column(ODD[:6]), TRUTH[ODD[:6]])
    assert len(shared)


def test_temperature_mends_overconfidence_and_is_shy():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 4)) * 2
    y = np.array([rng.choice(4, p=row) for row in Categorical().probabilities(logits)])
    sharp = 3 * logits
    assert fit_temperature(sharp, y, Categorical()) == pytest.approx(3, rel=0.1)
    assert 1 < fit_temperature(sharp[:5], y[:5], Categorical()) < 2.5
    assert fit_temperature(sharp[:0], y[:0], Categorical()) == 1
    assert fit_temperature(sharp[:0], y[:0], Categorical(), around=2) == 2
    assert 2 < fit_temperature(sharp[:5], y[:5], Categorical(), around=2) < 3.5


@pytest.mark.parametrize(("classes", "wanted"), [(10, 2000), (11, 4000)])
def test_where_classes_are_many_more_unanswered_documents_are_looked_at(encoder, classes, wanted):
    names = dict.fromkeys([f"class {k}" for k in range(classes)], "")

    def looks_at(task="multiclass", **settings):
        return TextClassifier(encoder, list, names, LearnConfig(**settings), 0, task=task).looks_at

    assert (looks_at(), looks_at(propagate=False)) == (wanted, 0)
    assert looks_at(method="head", propagate=False) == wanted, "by which it knows in what documents differ"
    assert (looks_at(unlabelled=0), looks_at(unlabelled=9)) == (0, 9)
    assert looks_at("multilabel") == looks_at("multilabel", propagate=False) == 2000


@pytest.mark.parametrize("method", ["head", "top"])
def test_neighbours_of_answers_are_learned_from(make, method):
    few, rest = np.array([1, 25, 49]), EVEN
    alone, helped = make(method, propagate=False), make(method)
    helped.unlabelled = rest
    for classifier in (alone, helped):
        classifier.fit(column(few), TRUTH[few])
    assert alone._heads.propagated is None and helped._heads.propagated is not None
    assert not np.array_equal(alone.predict_proba(column(ODD)), helped.predict_proba(column(ODD)))
    assert (helped.predict(column(ODD)) == TRUTH[ODD]).mean() > 0.8


def test_the_head_under_which_answers_were_likelier_has_more_to_say(make):
    classifier = make("head")
    classifier.unlabelled = EVEN
    classifier.fit(column(ODD[:9]), TRUTH[ODD[:9]])
    heads, few, everything = classifier._heads, column(EVEN), classifier.represent(EVEN)
    both = [Categorical().probabilities(one) for one in heads.each(everything)]
    assert np.allclose(classifier.predict_proba(few), (both[0] + both[1]) / 2)
    weights, bias = heads.propagated
    heads.propagated = (np.roll(weights, 1, axis=0), np.roll(bias, 1))  # it now takes food for sport
    judged = heads.each(classifier.represent(ODD[9:]))
    heads.compare(judged, TRUTH[ODD[9:]])
    assert heads.share < 0.1
    assert (classifier.predict(few) == both[0].argmax(1)).all()
    heads.forget_evidence()
    heads.compare(judged[::-1], TRUTH[ODD[9:]])
    assert heads.share > 0.9
    assert (classifier.predict(few) == np.roll(both[1], 1, axis=1).argmax(1)).all()


def test_a_head_is_heard_at_the_temperature_that_suits_it(make):
    classifier = make("head")
    classifier.unlabelled = EVEN
    classifier.fit(column(ODD[:9]), TRUTH[ODD[:9]])
    heads, few = classifier._heads, classifier.represent(ODD[9:])
    rng = np.random.default_rng(0)
    logits = 2 * rng.normal(size=(500, 3))
    classes = np.array([rng.choice(3, p=row) for row in Categorical().probabilities(logits)])
    heads.propagated = (4 * heads.plain[0], 4 * heads.plain[1])
    heads.compare(np.stack([logits, 4 * logits]), classes)
    assert heads.temperature == pytest.approx(4, rel=0.1) and 0.3 < heads.share < 0.7
    plain = Categorical().probabilities(heads.each(few)[0])
    assert np.allclose(Categorical().probabilities(classifier.logits_of(few)), plain, atol=0.02)


def test_a_cross_validation_judges_the_heads(make, monkeypatch):
    monkeypatch.setattr("discover.learn.classifier.ENOUGH", 20)

    def mislead(vectors, beliefs):
        return np.eye(3)[np.zeros(len(vectors), int)]

    monkeypatch.setattr("discover.learn.heads.propagate", mislead)
    classifier = make("head", folds=3)
    classifier.unlabelled = EVEN
    classifier.fit(column(ODD), TRUTH[ODD])
    assert classifier._heads.share < 0.4  # from 0.5
    assert (classifier.predict(column(EVEN)) == TRUTH[EVEN]).mean() > 0.9


def test_a_few_answers_tell_how_sure_to_be_but_not_yet_how_good_the_model_is(make):
    classifier, noisy = make("head", folds=3), TRUTH.copy()
    classifier.unlabelled = EVEN
    noisy[::3] = (noisy[::3] + 1) % 3
    fewer = ODD[: FEW - 1]
    classifier.fit(column(fewer), noisy[fewer])
    assert classifier.temperature == 1 and classifier._heads.evidence is None
    classifier.fit(column(ODD[:FEW]), noisy[ODD[:FEW]])
    assert classifier.temperature > 1 and classifier._heads.evidence is not None and classifier.cross_validated is None
    likely = classifier.predict_proba(column(EVEN))
    assert classifier.unsure == pytest.approx(1 - likely.max(1).mean()), "by the heads' shares as they now are"


@pytest.mark.parametrize(
    ("held", "m", "due"),
    [
        (0, 24, False),
        (0, 25, True),
        (30, 59, False),
        (30, 60, True),
        (60, 99, False),
        (60, 100, True),
        (100, 199, False),
    ],
)
def test_answers_are_cross_validated_once_they_are_a_few_enough_and_doubled(make_small, held, m, due):
    classifier = make_small("head")
    classifier._held = (np.arange(held), np.zeros((held, 3)))
    assert classifier._due(m) == due


def test_answers_calibrate_the_probabilities_by_cross_validation(make, monkeypatch):
    monkeypatch.setattr("discover.learn.classifier.ENOUGH", 20)
    classifier, noisy = make("head", folds=3), TRUTH.copy()
    noisy[::3] = (noisy[::3] + 1) % 3  # a third is wrong, so nobody may be surer than two thirds
    classifier.fit(column(ODD), noisy[ODD])
    assert classifier.temperature > 1
    before = classifier.temperature
    classifier.fit(column(np.append(ODD, 0)), noisy[np.append(ODD, 0)])
    assert classifier.temperature == before  # the answers have not doubled
    classifier.calibrate(column(EVEN), TRUTH[EVEN])
    assert classifier.temperature < before
    few = EVEN[1::10]
    assert (classifier.predict(column(few)) == TRUTH[few]).all() and len(few) < len(ODD) / 5
    classifier.calibrate(column(few), TRUTH[few])
    rows, held = classifier._held
    logits, truth = np.concatenate([held, classifier.logits(column(few))]), np.concatenate([noisy[rows], TRUTH[few]])
    assert classifier.temperature < fit_temperature(logits, truth, Categorical()) < before, "a few have the last word"
    assert make("head", folds=0).fit(column(ODD), noisy[ODD]).temperature == 1


def test_while_all_answers_are_alike_nothing_says_how_sure_the_model_is(make_small):
    classifier = make_small("head")
    classifier.unlabelled = np.arange(0, 60, 2)
    for count in (10, 20):
        classifier.fit(column(ODD[::3][:count]), TRUTH[ODD[::3][:count]])
        assert classifier.unsure is None and classifier.changed is None
    classifier.fit(column(ODD), TRUTH[ODD])
    assert 0 < classifier.unsure < 1 and 0 <= classifier.changed <= 1


def test_how_sure_the_model_is_it_says_at_the_temperature_that_it_has(make_small):
    classifier = make_small("head")
    classifier.unlabelled = np.arange(0, 60, 2)
    classifier.fit(column(ODD), TRUTH[ODD])
    before = classifier.unsure
    classifier.calibrate(column(ODD), (TRUTH[ODD] + 1) % 3)  # never right: it becomes humble
    likely = classifier.predict_proba(column(np.setdiff1d(classifier.unlabelled, ODD)))
    assert classifier.unsure == pytest.approx(1 - likely.max(1).mean()) and classifier.unsure > before
