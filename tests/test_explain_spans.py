"""Explanations of entities: exact probabilities, weights that add up to them, and the nearest answered spans."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from discover.embed.config import EncoderConfig
from discover.embed.encoder import Encoder
from discover.evaluate.explained import LEVELS, pieces, plain, shown
from discover.learn import registry
from discover.learn.activations import ActivationCache
from discover.learn.attribution import TOLERANCE
from discover.learn.config import LearnConfig
from discover.learn.decoding import span_log_odds
from discover.learn.explain import SpanExplainer
from discover.learn.samples import column
from discover.learn.tagger import Tagger
from discover.learn.tags import may_follow, runs_of, tags_of
from discover.pool.answers import spans_array
from discover.pool.document import Document
from discover.pool.labels import Spans
from tests.encoders import write_encoder

CLASSES = {"person": "", "work": ""}
NAMES = (("Ada Lovelace", 0), ("Turing", 0), ("Moby Dick", 1), ("Dune", 1))
FRAMES = ("we met {} at noon", "she read {} again", "{} in the town", "we met {} and she read {}", "she read again {}")


def marked(frame: str, *names: tuple[str, int]) -> tuple[str, tuple[tuple[int, int, int], ...]]:
    """A text with names in it, and where they are."""
    text, spans = frame, []
    for name, kind in names:
        spans.append((text.index("{}"), text.index("{}") + len(name), kind))
        text = text.replace("{}", name, 1)
    return text, tuple(spans)


# What is explained is learned too, as other rows: a small model then knows it.
LONG = "we met and she read again " * 3
KNOWN = [
    marked("we met {} and she read {}", ("Turing", 0), ("Dune", 1)),
    marked("😀👩‍👩‍👧 we met {}\n\nat noon 東京で", ("Ada Lovelace", 0)),
    marked(f"{LONG}{{}} and {{}}", ("Moby Dick", 1), ("Turing", 0)),  # the encoder reads as far as Moby Dick
    marked("今天{}来了", ("王明", 0)),
    ("it rained again", ()),
]
HELD = [["Turing", "Dune"], ["Ada Lovelace"], ["Moby Dick"], ["王明"], [], []]
ASKED = [*(text for text, _ in KNOWN), ""]
TEXTS, ANSWERS = zip(
    *(marked(frame, *(name, NAMES[3])[: frame.count("{}")]) for frame in FRAMES for name in NAMES), *KNOWN, strict=True
)
ROWS = column(range(len(TEXTS), len(TEXTS) + len(ASKED)))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    folder = write_encoder(tmp_path_factory.mktemp("encoder"))
    return Encoder(EncoderConfig(model=str(folder), max_tokens=23, dtype="float32"))


def untaught(encoder: Encoder, method: str = "full", steps: int = 100) -> Tagger:
    texts = [*TEXTS, *ASKED]
    rates = {"learning_rate": 5e-3, "head_learning_rate": 2e-2}
    config = LearnConfig(method=method, layers=2, epochs=1, steps=steps, batch=8, dropout=0.0, **rates)
    return Tagger(encoder, lambda ids: [texts[i] for i in ids], CLASSES, config, 7, ActivationCache(10))


@pytest.fixture(scope="module", params=["full", "top"])
def taught(request: pytest.FixtureRequest, encoder: Encoder) -> Tagger:
    found = untaught(encoder, request.param)
    found.fit(column(range(len(TEXTS))), spans_array(ANSWERS))
    found.temperature = 1.5
    return found


@pytest.mark.parametrize(("words", "k"), [(1, 3), (2, 5), (4, 5), (5, 3)])
def test_a_span_has_the_probability_of_all_sequences_with_it(words: int, k: int) -> None:
    rng = np.random.default_rng(words)
    logits, allowed = rng.normal(0, 3, (2, words, k)), may_follow(k)
    every = [
        one
        for one in itertools.product(range(k), repeat=words)
        if all(allowed[before, tag] for before, tag in itertools.pairwise([-1, *one]))
    ]
    for first, stop in itertools.combinations(range(words + 1), 2):
        for kind in range(k // 2):
            has = np.array([(first, stop, kind) in runs_of(one) for one in every])
            found = span_log_odds(torch.from_numpy(logits), (first, stop, kind))
            for own, odds in zip(logits, found.tolist(), strict=True):
                likely = np.exp([own[np.arange(words), list(one)].sum() for one in every])
                assert odds == pytest.approx(np.log(likely[has].sum() / likely[~has].sum()), abs=1e-9)


def test_log_odds_of_what_is_all_but_certain_are_exact_and_have_a_gradient() -> None:
    logits = torch.zeros(1, 40, 5, dtype=torch.float64)
    logits[0, 3, 1] = logits[0, 4, 2] = logits[0, 5, 0] = 60
    logits.requires_grad_(True)
    found = span_log_odds(logits, (3, 5, 0))
    found.sum().backward()
    assert 55 < found.item() < 60 and logits.grad is not None and logits.grad.isfinite().all()
    assert logits.grad[0, 3].argmax() == 1 and logits.grad[0, 5].argmin() == 2


def test_words_of_a_span_add_up_to_the_log_odds_beside_it(taught: Tagger) -> None:
    explainer = SpanExplainer(taught)
    found = explainer.explain(ROWS)
    assert [tuple(one.predicted for one in each) for each in found] == taught.predict(ROWS).tolist()
    said = [[text[slice(*one.predicted[:2])] for one in each] for text, each in zip(ASKED, found, strict=True)]
    assert said == HELD
    for text, each in zip(ASKED, found, strict=True):
        tokens, of, places = taught.encoder.words(text)
        unknown = torch.where(torch.from_numpy(of >= 0), taught.encoder.blank, tokens.long())[None]
        for one in each:
            (run,) = runs_of(tags_of([one.predicted], places)[0])
            gained = np.log(one.probability / (1 - one.probability))
            gained -= float(explainer.attribution.log_odds(unknown, explainer.target(text, run)))
            assert sum(word.weight for word in one.words) == pytest.approx(gained + one.error, abs=5e-3)
            assert abs(one.error) <= TOLERANCE * max(1, abs(gained) + abs(one.error))
            assert [(word.start, word.stop) for word in one.words] == places


def test_the_nearest_are_answered_spans_the_closest_first(taught: Tagger) -> None:
    explainer, learned = SpanExplainer(taught), {(row, span) for row, own in taught.taught.items() for span in own}
    learned.remove((len(TEXTS) - 3, ANSWERS[-3][1]))  # where the encoder does not read
    for one in itertools.chain(*explainer.explain(ROWS, neighbours=50)):
        assert {(near.row, near.answer) for near in one.neighbours} == learned
        similar = [near.similarity for near in one.neighbours]
        assert similar == sorted(similar, reverse=True)
        assert one.neighbours[0].answer[2] == one.predicted[2]
    row = next(row for row, answer in enumerate(ANSWERS) if len(answer) == 2)
    (itself, other) = explainer.explain(column([row]), neighbours=1)[0]
    assert [(one.neighbours[0].row, one.neighbours[0].answer) for one in (itself, other)] == [
        (row, span) for span in ANSWERS[row]
    ]
    assert itself.neighbours[0].similarity == pytest.approx(1, abs=1e-3)


def test_what_is_explained_repeats_bit_for_bit_in_any_company(taught: Tagger, encoder: Encoder, tmp_path: Path) -> None:
    found = SpanExplainer(taught).explain(ROWS)
    registry.publish(tmp_path, "one", taught)
    again = SpanExplainer(registry.load(tmp_path / "one", untaught(encoder, taught.config.method)), most=1)
    assert again.explain(ROWS[1:2]) == found[1:2]
    assert again.explain(ROWS[:1]) == [found[0][:1]], "no more than were asked for"


def test_before_any_answer_and_without_any_span_there_is_little_to_say(encoder: Encoder) -> None:
    fresh = untaught(encoder, steps=10)
    assert SpanExplainer(fresh).explain(ROWS) == [[]] * len(ASKED)
    fresh.fit(column([0, 1]), spans_array([(), ()]))
    explainer = SpanExplainer(fresh)
    assert explainer.explain(ROWS) == [[]] * len(ASKED) and explainer.explain(column([])) == []
    assert explainer._learned.vectors.shape == (0, encoder.dimension)


def test_as_plain_values_a_neighbour_is_shown_with_what_is_around_it(taught: Tagger) -> None:
    found = SpanExplainer(taught).explain(ROWS)
    far = "😀 " * 200
    documents = {row: Document(text) for row, text in enumerate(TEXTS)}
    nearest = found[0][0].neighbours[0]
    documents[nearest.row] = Document(far + TEXTS[nearest.row])
    start, end, kind = nearest.answer
    moved = nearest._replace(answer=(start + len(far), end + len(far), kind))
    found[0][0] = found[0][0]._replace(neighbours=[moved])
    told = plain(found, Spans(tuple(CLASSES)), documents)
    assert told[-2] == told[-1] == {"spans": []}
    for text, answers, each in zip(ASKED, HELD, told, strict=True):
        assert [text[one["start"] : one["end"]] for one in each["spans"]] == answers
        for one in each["spans"]:
            assert list(one) == ["start", "end", "label", "probability", "words", "neighbours"]
    (near,) = told[0]["spans"][0]["neighbours"]
    assert list(near) == ["id", "label", "similarity", "start", "end", "text"] and len(near["text"]) < 200
    assert near["text"][near["start"] : near["end"]] == TEXTS[nearest.row][start:end]

    first, second = shown({**told[0], "text": ASKED[0]}, 1000, False)
    assert first["label"].startswith("Turing (person, ") and second["label"].startswith("Dune (work, ")
    for reason, name in ((first, "Turing"), (second, "Dune")):
        assert "".join(piece for piece, *_ in reason["pieces"]) == ASKED[0]
        assert "".join(piece for piece, _, held in reason["pieces"] if held) == name
        assert max(abs(level) for _, level, _ in reason["pieces"]) == LEVELS
    (cited,) = first["neighbours"]
    assert "".join(piece for piece, _, held in cited["pieces"] if held) == TEXTS[nearest.row][start:end]
    assert shown({"spans": [], "text": "so"}, 10, False) == []


def test_pieces_around_a_span_that_is_far_inside() -> None:
    text = "so " * 100 + "Ada Lovelace said" + " no" * 100
    words = [[0, 2, 9.0], [297, 299, 3.0], [300, 303, 9.0], [304, 312, 0.1], [313, 317, -3.0], [500, 502, 9.0]]
    found = pieces(text, words, 60, (300, 312))
    assert [one for one in found if one[1] or one[2]] == [
        ("so", 2, False),
        ("Ada", LEVELS, True),
        (" Lovelace", 0, True),
        ("said", -2, False),
    ]
    assert found[0] == found[-1] == ("…", 0, False) and sum(len(piece) for piece, *_ in found) == 62
    assert [piece for piece, _, held in pieces(text, [], 4, (300, 312)) if held] == ["Ada Lovelace"], "it is not cut"
