"""Campaigns on labelled files: what is read, what is asked, and that only seed and texts decide."""

import gzip
import json
import random

import numpy as np
import pytest

from discover.bench.learners import own_learner
from discover.embed.config import EncoderConfig
from discover.embed.encoder import Encoder
from discover.errors import DiscoverError
from discover.learn.classifier import TextClassifier
from discover.learn.config import LearnConfig
from discover.learn.learner import Learner
from discover.pool.labelled import read_dataset, shortened
from discover.query.candidates import draw
from discover.query.config import CandidateConfig
from discover.query.strategy import Strategy, load_strategy
from discover.simulate import Arena, SimulationConfig, annotations, play, seed_documents
from tests.labelled_files import LEARNER, Hashed, arena_of, rows, write, write_pair

RULES = SimulationConfig(initial=10, batch=7, budget=31, candidates=CandidateConfig(count=60))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_pair(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def arena(files, tmp_path_factory):
    return arena_of(tmp_path_factory.mktemp("arena"), *files)


@pytest.fixture(scope="module")
def word(tmp_path_factory):
    path = tmp_path_factory.mktemp("learner") / "mine.py"
    path.write_text(LEARNER)
    return f"{path}:hashed"


def rounds_of(arena, word, strategy="margin", rules=RULES, seed=3):
    chosen = load_strategy(strategy) if isinstance(strategy, str) else Strategy("looking", strategy)
    return list(play(arena, own_learner(word, arena.dataset, seed), chosen, rules, seed))


def public_ids(arena, rounds):
    return [[arena.dataset.public_ids[row] for row in one.asked] for one in rounds]


def test_a_dataset_by_hand(tmp_path):
    train = [
        {"text": "the oven is hot", "label": "recipe"},
        {"text": "the  oven is hot ", "label": "recipe"},  # the same once cleaned
        {"text": "rain", "label": "weather"},
        {"text": "rain", "label": "recipe"},  # contradicts it
        {"text": "snow", "label": "weather"},
        {"text": "also in test", "label": "weather"},
        {"text": "nobody knows"},
        {"text": "", "label": "weather"},
    ]
    test = [{"text": "also in test", "label": "weather"}, {"text": "stir", "label": "recipe"}]
    found = read_dataset(write(tmp_path / "cook.train.jsonl", train), write(tmp_path / "cook.test.jsonl", test))
    assert (found.name, found.classes, found.n) == ("cook", ("recipe", "weather"), 2)
    assert {found.texts[row]: found.classes[found.y[row]] for row in found.pool} == {
        "the oven is hot": "recipe",
        "snow": "weather",
    }
    assert sorted(found.texts[row] for row in found.test) == ["also in test", "stir"]
    assert found.left_out == {
        "train rows seen before": 1,
        "train rows that contradict another": 2,
        "train rows without a label": 1,
        "train rows: no text": 1,
        "train texts that are also in test": 1,
    }


@pytest.mark.parametrize(
    ("train", "test", "told"),
    [
        ((300, 100), (75, 25), None),
        ((300, 100), (25, 75), "(total variation 0.50; 'b' 75.0% for 25.0%)"),
        ((300, 100), (140, 60), None),  # 0.05, and by chance
        ((3000, 1000), (1400, 600), "(total variation 0.05; 'b' 30.0% for 25.0%)"),
        ((3000, 1000), (1440, 560), None),  # not by chance, but little
        ((6, 2), (2, 6), None),
        ((300, 100, 5), (300, 100, 0), None),
    ],
)
def test_test_documents_of_other_classes_than_the_pool_are_told(tmp_path, train, test, told):
    def file(kind, counts):
        named = [(one, number) for one, count in zip("abc", counts, strict=False) for number in range(count)]
        return write(tmp_path / f"x.{kind}.jsonl", [{"text": f"{kind} {a} {n}", "label": a} for a, n in named])

    found = read_dataset(file("train", train), file("test", test))
    expected = np.abs(np.array(train) / sum(train) - np.array(test) / sum(test)).sum() / 2
    assert found.class_shift == pytest.approx(expected)
    assert found.warning is None if told is None else told in found.warning


def test_a_class_that_a_sample_has_nowhere_is_no_shift(tmp_path):
    named = [(one, number) for one, count in zip("abc", (300, 100, 1), strict=True) for number in range(count)]
    train = write(tmp_path / "x.train.jsonl", [{"text": f"{a} {n}", "label": a} for a, n in named])
    test = write(tmp_path / "x.test.jsonl", [{"text": f"tested {n}", "label": "b"} for n in range(40)])
    few = shortened(read_dataset(train, test), 40, 40)
    assert not few.counts[:, 2].any() and few.class_shift == few.shares[0, 0] and "'b' 100.0%" in few.warning


def test_neither_order_nor_kind_of_file_matters(files, tmp_path):
    train = [json.loads(line) for line in files[0].read_text().splitlines()]
    random.Random(5).shuffle(train)
    packed = tmp_path / "words.train.jsonl.gz"
    with gzip.open(packed, "wt") as handle:
        handle.write("".join(json.dumps(row) + "\n" for row in train))
    one, other = read_dataset(*files), read_dataset(packed, files[1])
    assert one.digest == other.digest
    assert one.texts == other.texts
    table = tmp_path / "words.csv"
    table.write_text("text,label\n" + "".join(f"{row['text']},{row['label']}\n" for row in train))
    assert read_dataset(table, files[1]).digest == one.digest


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ([], [{"text": "a", "label": "x"}], "nothing usable in .*words.train.jsonl .no rows."),
        ([{"text": "a"}], [{"text": "b", "label": "x"}], "1 train rows without a label"),
        ([{"text": "a", "label": "x"}], [{"text": "b", "label": "x"}], "at least two classes, found only 'x'"),
        ([{"text": "a", "label": "x"}], [{"text": "a", "label": "x"}], "no text that is not in the test file"),
        (rows(20, 1), [{"text": "b", "label": "sport"}], "has the label 'sport' .1 documents., which .* lacks"),
        (rows(20, 1), [], "nothing usable in .*words.test.jsonl"),
    ],
)
def test_files_that_make_no_dataset(tmp_path, train, test, message):
    with pytest.raises(DiscoverError, match=message) as caught:
        read_dataset(write(tmp_path / "words.train.jsonl", train), write(tmp_path / "words.test.jsonl", test))
    assert "\n" not in str(caught.value)


def test_a_campaign(arena, word):
    rounds = rounds_of(arena, word)
    assert [one.labels for one in rounds] == [10, 17, 24, 31]
    asked = np.concatenate([one.asked for one in rounds])
    assert len(set(asked.tolist())) == 31
    assert asked.max() < arena.dataset.n
    assert all(0 <= one.accuracy <= 1 and 0 <= one.ece <= 1 for one in rounds)
    assert rounds[0].select_seconds == 0 < rounds[1].select_seconds
    assert rounds[-1].accuracy > 0.4


def test_only_seed_and_texts_decide(files, arena, word, tmp_path):
    rounds = rounds_of(arena, word)
    again = rounds_of(arena, word)
    assert public_ids(arena, rounds) == public_ids(arena, again)
    assert [one.accuracy for one in rounds] == [one.accuracy for one in again]
    reversed_rows = [json.loads(line) for line in reversed(files[0].read_text().splitlines())]
    turned = arena_of(tmp_path, write(tmp_path / "words.train.jsonl", reversed_rows), files[1])
    assert public_ids(turned, rounds_of(turned, word)) == public_ids(arena, rounds)
    assert public_ids(arena, rounds_of(arena, word, seed=4))[0] != public_ids(arena, rounds)[0]


def test_every_arm_starts_alike(arena, word):
    starts = [rounds_of(arena, word, strategy)[0] for strategy in ("random", "margin", "entropy", "k_center")]
    assert len({tuple(one.asked) for one in starts}) == len({one.accuracy for one in starts}) == 1


def test_a_strategy_sees_what_the_loop_would_show_it(arena, word):
    seen = []

    def looking(view, n, rng):
        seen.append((view, view.labels, view.labelled_vectors, view.probabilities, view.vectors))
        return load_strategy("random")(view, n, rng)

    rounds = rounds_of(arena, word, looking)
    view, labels, vectors, probabilities, _ = seen[1]
    taught = np.concatenate([one.asked for one in rounds[:2]])
    assert len(view) == 60
    assert not set(view.ids.tolist()) & set(taught.tolist())
    assert np.array_equal(labels, arena.dataset.y[taught])
    assert np.array_equal(vectors, arena.vectors(taught))
    assert probabilities.shape == (60, 4)
    assert (view.progress.spent, view.progress.budget, len(view.progress.rounds)) == (17, 31, 2)
    assert set(view.generator.tolist()) >= {"uniform", "neighbours", "uncertain", "newest"}
    assert (view.age == 2).all()


def test_the_control_draws_from_the_whole_pool(arena, word, monkeypatch):
    drawn = []
    monkeypatch.setattr("discover.query.candidates.draw", lambda *a, **k: drawn.append(draw(*a, **k)) or drawn[-1])
    rounds_of(arena, word, "random")
    assert {one for found in drawn for one in found.generator.tolist()} == {"uniform"}


def test_a_learner_looks_at_the_unanswered_and_tells_what_changed(arena):
    classes, config = dict.fromkeys(arena.dataset.classes, ""), LearnConfig(method="head", unlabelled=50, folds=0)
    learner = Learner(TextClassifier(Encoder(EncoderConfig()), arena.texts, classes, config, 3))
    seen = []

    def looking(view, n, rng):
        seen.append((view.progress.rounds[-1], learner.classifier.unlabelled))
        return load_strategy("random")(view, n, rng)

    rounds = list(play(arena, learner, Strategy("looking", looking), RULES, 3))
    assert [past.changed is None for past, _ in seen] == [True, False, False]
    for number, (_, unlabelled) in enumerate(seen):
        asked = np.concatenate([one.asked for one in rounds[: number + 1]])
        assert len(unlabelled) == 50 and not set(unlabelled.tolist()) & set(asked.tolist())


def test_the_default_strategy_finds_what_is_rare(tmp_path):
    """Two in a hundred reports are of a recall; whoever always says no is right about the other 98."""
    rng = random.Random(0)
    things = "kettle pram drill lamp scooter heater blender ladder helmet charger".split()
    told = ("sells", "repairs", "paints", "advertises", "tests", "imports", "designs", "describes", "wraps", "weighs")
    recalled = ("recalls a faulty", "takes back every burning", "warns of the unsafe", "withdraws the dangerous")
    made = [
        {"text": f"{rng.choice(recalled if rare else told)} {rng.choice(things)} no. {number}", "label": "ny"[rare]}
        for number, rare in enumerate([True] * 16 + [False] * 784)
    ]
    encoder = Encoder(EncoderConfig())
    files = write(tmp_path / "shop.train.jsonl", made[8:]), write(tmp_path / "shop.test.jsonl", made[:8] + made[-92:])
    arena = Arena(read_dataset(*files), tmp_path / "vectors", encoder.version, encoder.dimension)
    arena.embed(encoder)
    config, rules = LearnConfig(method="head"), SimulationConfig(initial=20, batch=10, budget=90)
    names = dict.fromkeys(arena.dataset.classes, "")
    learner = Learner(TextClassifier(encoder, arena.texts, names, config, 0, vectors=arena.vectors))
    asked = np.concatenate([one.asked for one in play(arena, learner, load_strategy("auto"), rules, 0)])
    assert arena.dataset.y[asked].sum() == 8  # of 700 documents, by 90 questions


def test_the_pool_ends_before_the_budget(arena, word):
    n = arena.dataset.n
    rules = RULES.model_copy(update={"batch": 60, "budget": 10_000})
    rounds = rounds_of(arena, word, rules=rules)
    assert rounds[-1].labels == n
    assert sorted(np.concatenate([one.asked for one in rounds]).tolist()) == list(range(n))


def test_balanced_seed_labels(arena):
    def per_class(initial):
        rules = RULES.model_copy(update={"balanced": True, "initial": initial})
        return np.bincount(arena.dataset.y[seed_documents(arena, rules, 1)], minlength=4)

    assert per_class(8).tolist() == [2, 2, 2, 2]
    assert sorted(per_class(10).tolist()) == [2, 2, 3, 3]
    assert sorted(per_class(2).tolist()) == [0, 0, 1, 1]
    plain = np.mean([arena.dataset.y[seed_documents(arena, RULES, seed)] == 3 for seed in range(40)])
    assert plain == pytest.approx((arena.dataset.y[: arena.dataset.n] == 3).mean(), abs=0.08)


def test_noise_is_a_share_of_other_classes_and_the_same_for_all(arena, word):
    truth = arena.dataset.y[: arena.dataset.n]
    drawn = np.stack([annotations(arena.dataset, 0.2, seed) for seed in range(30)])
    wrong = drawn != truth
    assert wrong.mean() == pytest.approx(0.2, abs=0.02)
    assert wrong.any(axis=0).mean() > 0.9  # another draw for each seed
    others = np.bincount(((drawn - truth) % 4)[wrong])[1:] / wrong.sum()
    assert others == pytest.approx([1 / 3] * 3, abs=0.05)
    assert np.array_equal(drawn[0], annotations(arena.dataset, 0.2, 0))
    assert np.array_equal(annotations(arena.dataset, 0, 0), truth)
    # A document's fate does not hang on how many there are: more noise adds errors and takes none back.
    assert (annotations(arena.dataset, 0.4, 0) != truth)[wrong[0]].all()
    before = arena.dataset.y.copy()
    rules = RULES.model_copy(update={"noise": 0.3})
    learner = own_learner(word, arena.dataset, 0)
    list(play(arena, learner, load_strategy("margin"), rules, 0))
    taught = np.array(list(learner.classifier.taught))
    assert np.array_equal(list(learner.classifier.taught.values()), annotations(arena.dataset, 0.3, 0)[taught])
    assert np.array_equal(arena.dataset.y, before)


def test_a_sample_of_the_test_documents(arena, word):
    rules = RULES.model_copy(update={"test_limit": 20})
    accuracies = [one.accuracy * 20 for one in rounds_of(arena, word, rules=rules)]
    assert accuracies == pytest.approx(np.round(accuracies))


def test_vectors_lie_in_files_and_are_made_once(files, tmp_path):
    arena_of(tmp_path, *files)

    class Never:
        def encode(self, texts):
            raise AssertionError("they are there")

    again = Arena(read_dataset(*files), tmp_path / "vectors", "hashed", 32)
    again.embed(Never())
    assert len(again.index) == again.dataset.n
    both = np.array([again.dataset.test[0], 0])
    assert np.linalg.norm(again.vectors(both), axis=1) == pytest.approx([1, 1], abs=1e-3)


def test_only_documents_that_are_tested_on_are_embedded(files, tmp_path):
    encoded = []

    class Counting(Hashed):
        def encode(self, texts):
            encoded.extend(texts)
            return super().encode(texts)

    arena = Arena(read_dataset(*files), tmp_path / "vectors", "hashed", 32)
    for limit, tested in ((20, 20), (30, 10), (0, len(arena.dataset.test) - 30)):  # more of them later: only those
        del encoded[:]
        arena.embed(Counting(), limit)
        assert len(encoded) == tested + (arena.dataset.n if limit == 20 else 0)
    assert np.isfinite(arena.vectors(arena.dataset.test)).all()
