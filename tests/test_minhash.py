"""MinHash: what the bands must find, and what the exact check must not let through."""

import numpy as np
import pytest

from discover.pool.minhash import BANDS, ROWS, bands, jaccard, shingles, signature


def words(rng: np.random.Generator, n: int) -> list[str]:
    return [f"w{number}" for number in rng.integers(0, 50_000, n)]


def test_shingles_are_three_words_without_case_or_punctuation():
    assert shingles("The quick, BROWN fox!") == {"the quick brown", "quick brown fox"}
    assert shingles("Two words") == {"two words"} == shingles("two -- words.")
    assert shingles("?!…") == {"?!…"} != shingles("!?")
    assert len(shingles("word " * 100)) == 1


def test_a_script_without_spaces_is_cut_by_character():
    a, b = "今天天气很好我们去公园散步吧", "今天天气很好我们去公园散步"
    assert len(shingles(a)) == len(a) - 2
    assert jaccard(shingles(a), shingles(b)) == pytest.approx((len(b) - 2) / (len(a) - 2))
    assert shingles("Python 3の使い方") == {"python 3 の", "3 の 使", "の 使 い", "使 い 方"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("I love this phone 😀", "I love this phone 😡"),
        ("Rate: 👍", "Rate: 👎"),
        ("the temperature is -5", "the temperature is 5"),
        ("I code in C++", "I code in C#"),
        ("I code in C", "I code in C#"),
        ("it costs 5 €", "it costs 5 $"),
        ("if a ≤ b", "if a ≥ b"),
        ("वह दिन में आया", "वह दीन में आया"),
        ("कुल", "कूल"),
        ("ไป", "ไม่ไป"),
    ],
)
def test_signs_that_change_what_is_said_are_of_the_text(one: str, other: str):
    assert jaccard(shingles(one), shingles(other)) < 0.8
    assert (bands([one]) != bands([other])).any()


@pytest.mark.parametrize(
    "other",
    [
        "Covid-19 in 2020-21: A, b!",
        "covid 19 in (2020)-21; a | b",
        "> covid-19 – in ~2020/21 <a> = b",
        "# Covid® 19\n── in 2020 → 21\n● A｜B +",
    ],
)
def test_punctuation_says_nothing(other: str):
    assert shingles(other) == shingles("covid 19 in 2020 21 a b")


def test_a_skin_colour_says_nothing():
    assert shingles("well done 👍🏽") == shingles("well done 👍")


def test_jaccard_is_that_of_the_sets():
    a, b = frozenset("abcd"), frozenset("cdef")
    assert jaccard(a, b) == 2 / 6
    assert jaccard(a, a) == 1
    assert jaccard(a, frozenset("x")) == 0


def test_a_signature_estimates_the_similarity():
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(100):
        text = words(rng, 200)
        other = text[:150] + words(rng, 50)
        agree = float(np.mean(signature(" ".join(text)) == signature(" ".join(other))))
        errors.append(agree - jaccard(shingles(" ".join(text)), shingles(" ".join(other))))
    assert abs(np.mean(errors)) < 0.02  # the standard error of the mean is 0.0046
    assert np.std(errors) < 0.06  # and of one estimate 0.045


def test_a_long_text_is_signed_in_blocks_with_the_same_result(monkeypatch: pytest.MonkeyPatch):
    text = " ".join(words(np.random.default_rng(0), 1000))
    whole = signature(text)
    monkeypatch.setattr("discover.pool.minhash.BLOCK", 7)
    np.testing.assert_array_equal(signature(text), whole)


@pytest.mark.parametrize("size", [12, 40, 150])
def test_bands_find_pairs_as_often_as_the_formula_says(size: int):
    """Every pair has a Jaccard similarity of 0.8 or a little more."""
    rng = np.random.default_rng(size)
    pairs = []
    while len(pairs) < 1000:
        text = words(rng, size)
        end = size - max(1, int(size * 0.11))
        a, b = " ".join(text), " ".join(text[:end] + words(rng, size - end))
        similarity = jaccard(shingles(a), shingles(b))
        pairs.append((a, b)) if similarity >= 0.7 else pytest.fail(f"a pair of similarity {similarity}")
    found = (bands([a for a, _ in pairs]) == bands([b for _, b in pairs])).any(axis=1)
    expected = np.mean([1 - (1 - jaccard(shingles(a), shingles(b)) ** ROWS) ** BANDS for a, b in pairs])
    assert found.mean() == pytest.approx(expected, abs=0.02)


def test_bands_of_different_texts_and_places_do_not_meet():
    rng = np.random.default_rng(0)
    hashes = bands([" ".join(words(rng, 30)) for _ in range(500)])
    assert hashes.shape == (500, BANDS) and hashes.dtype == np.int64
    assert len(np.unique(hashes)) == hashes.size


def test_bands_do_not_depend_on_the_company():
    rng = np.random.default_rng(0)
    texts = [" ".join(words(rng, 30)) for _ in range(20)]
    together = bands(texts)
    assert all((bands([text])[0] == row).all() for text, row in zip(texts, together, strict=True))
    assert bands([]).shape == (0, BANDS)
