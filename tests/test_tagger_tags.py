"""Entities as tags: decoding, spans to tags and back, and the scores of whole entities."""

import itertools

import numpy as np
import pytest

from discover.embed.encoder import Encoder
from discover.evaluate.entities import scores
from discover.learn.decoding import decode, log_likelihoods
from discover.learn.tags import may_follow, spans_of, tag_names, tags_of
from discover.pool.answers import spans_array
from tests.entities import encoder, model

__all__ = ["encoder", "model"]


@pytest.mark.parametrize("k", [3, 5])
def test_decoding_finds_the_two_best_of_all_sequences(k: int) -> None:
    rng = np.random.default_rng(k)
    logits = [rng.normal(0, 2, (words, k)) for words in (0, 1, 2, 5, 4, 1, 3)]
    allowed, found = may_follow(k), decode(logits)
    for own, tags, likely in zip(logits, found.tags, found.likely, strict=True):
        every = [
            one
            for one in itertools.product(range(k), repeat=len(own))
            if all(allowed[before, tag] for before, tag in itertools.pairwise([-1, *one]))
        ]
        weights = np.exp([own[np.arange(len(own)), list(one)].sum() for one in every])
        order = np.argsort(-weights)
        assert tuple(tags) == every[order[0]]
        two = (weights / weights.sum())[order[:2]]
        assert np.allclose(np.exp(likely), two if len(two) == 2 else [1, 0])
        assert np.allclose(
            log_likelihoods([own, own], [tags, np.array(every[-1], np.int64)])[1], np.log(weights[-1] / weights.sum())
        )


def test_what_is_decoded_does_not_depend_on_the_company() -> None:
    rng = np.random.default_rng(0)
    logits = [rng.normal(0, 2, (words, 7)) for words in rng.integers(0, 40, 300)]
    together = decode(logits).likely
    for some in ([3], [5, 100, 299], rng.permutation(300)[:70]):
        assert np.array_equal(decode([logits[at] for at in some]).likely, together[some])


def test_only_what_may_follow_does() -> None:
    names = tag_names(["a", "b"])
    after = {(["start", *names][row + 1 if row < 5 else 0], names[tag]) for row, tag in np.argwhere(may_follow(5))}
    inside = {pair for pair in after if pair[1].startswith("I-")}
    assert inside == {(f"{mark}-{name}", f"I-{name}") for mark in "BI" for name in "ab"}
    assert {(before, name) for before in ("start", *names) for name in ("O", "B-a", "B-b")} <= after


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("Ada Lovelace met Mr. Babbage", ["Ada Lovelace", "Babbage"]),
        ("😀😀 Zoë Åström 👩‍👩‍👧 in Malmö!", ["Zoë Åström", "Malmö"]),
        ("a\u00a0 Łódź\n\n東京 , New   York's", ["Łódź", "東京", "New   York"]),
        ("(Dune)", ["Dune"]),
    ],
)
def test_spans_come_back_from_the_tokens_of_any_text(encoder: Encoder, text: str, held: list[str]) -> None:
    spans = tuple((text.index(one), text.index(one) + len(one), at % 2) for at, one in enumerate(held))
    words = encoder.words(text).spans
    tags, untold = tags_of(spans, words)
    assert spans_of(tags, words) == spans and untold == 0


def test_spans_that_no_word_tells_are_counted() -> None:
    words = [(0, 3), (4, 6), (6, 9)]
    assert tags_of([(10, 12, 0)], words)[1] == 1, "where the text was cut"
    tags, untold = tags_of([(4, 12, 1)], words)
    assert tags.tolist() == [0, 3, 4] and untold == 1, "begun, and cut"
    tags, untold = tags_of([(0, 1, 0), (1, 3, 1)], words)
    assert tags.tolist() == [1, 0, 0] and untold == 2, "two in a word: the first has it, and more than it said"
    assert tags_of([(0, 1, 0)], [])[1] == 1 and spans_of([], []) == ()


def test_scores_count_whole_entities() -> None:
    classes = [f"a-{number}" for number in range(12)]  # hyphens, and numbers that sort as text
    truth = spans_array([((0, 3, 0), (4, 9, 1)), (), ((0, 5, 10),), ((0, 2, 2), (2, 4, 2))])
    found = spans_array([((0, 3, 0), (4, 8, 1)), ((1, 2, 0),), ((0, 5, 10),), ((0, 4, 2),)])
    told = scores(found, truth, classes)
    assert (told["entity_precision"], told["entity_recall"]) == (2 / 5, 2 / 5) and told["entity_f1"] == pytest.approx(
        0.4
    )
    assert told["per_class"]["a-0"] == {"precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3), "support": 1.0}
    assert told["per_class"]["a-10"]["f1"] == 1 and told["per_class"]["a-2"]["support"] == 2
    assert told["macro_f1"] == pytest.approx((2 / 3 + 0 + 0 + 1) / 4)
    assert scores(spans_array([()]), spans_array([()]), classes)["entity_f1"] == 0


def test_scores_are_those_of_sets_of_entities() -> None:
    rng = np.random.default_rng(0)

    def some(c: int) -> tuple[tuple[int, int, int], ...]:
        bounds = np.sort(rng.choice(9, 2 * rng.integers(0, 4), replace=False)).tolist()
        return tuple((a, b, int(rng.integers(c))) for a, b in zip(bounds[::2], bounds[1::2], strict=True))

    def f1(found: set, truth: set) -> list[float]:
        right = len(found & truth)
        both = (right / len(found) if found else 0, right / len(truth) if truth else 0)
        return [*both, 2 * right / (len(found) + len(truth)) if found or truth else 0]

    for c in (1, 3, 12) * 20:
        answers = [some(c) for _ in range(5)], [some(c) for _ in range(5)]
        answers[0][0] = answers[1][0]
        told = scores(*map(spans_array, answers), [f"a-{kind}" for kind in range(c)])
        found, truth = ({(at, *one) for at, own in enumerate(side) for one in own} for side in answers)
        assert np.allclose(
            [told[name] for name in ("entity_precision", "entity_recall", "entity_f1")], f1(found, truth)
        )
        each = [[{one for one in side if one[3] == kind} for side in (found, truth)] for kind in range(c)]
        for kind, (own, real) in enumerate(each):
            assert np.allclose(list(told["per_class"][f"a-{kind}"].values()), [*f1(own, real), len(real)])
        occurring = [f1(*both)[2] for both in each if any(both)]
        assert np.isclose(told["macro_f1"], np.mean(occurring) if occurring else 0)
