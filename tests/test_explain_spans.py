"""Explanations of entities: exact probabilities, weights that add up to them, and the nearest answered spans."""

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import discover
from discover.campaign import Campaign
from discover.commands.serve import _reasons
from discover.embed.config import EncoderConfig
from discover.embed.encoder import Encoder
from discover.evaluate.explained import LEVELS, pieces, shown
from discover.learn import registry
from discover.learn.activations import ActivationCache
from discover.learn.attribution import TOLERANCE
from discover.learn.classifier import column
from discover.learn.config import LearnConfig
from discover.learn.decoding import span_log_odds
from discover.learn.explain import SpanExplainer, explainer_of
from discover.learn.tagger import Tagger
from discover.learn.tags import may_follow, runs_of, spans_of, tags_of
from discover.pool.labels import spans_array
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


TEXTS, ANSWERS = zip(
    *(marked(frame, *(name, NAMES[3])[: frame.count("{}")]) for frame in FRAMES for name in NAMES),
    ("it rained in the town again", ()),
    strict=True,
)
ASKED = [
    "",
    "it rained again",
    "we met Turing and she read Dune",
    "😀👩‍👩‍👧 we met Ada Lovelace\n\nat noon 東京で",
    "she read again " * 6 + "Moby Dick",  # the span is the last that the encoder reads
]
ROWS = column(range(len(TEXTS), len(TEXTS) + len(ASKED)))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    folder = write_encoder(tmp_path_factory.mktemp("encoder"))
    return Encoder(EncoderConfig(model=str(folder), max_tokens=22, dtype="float32"))


def untaught(encoder: Encoder, method: str = "full") -> Tagger:
    texts = [*TEXTS, *ASKED]
    rates = {"learning_rate": 5e-3, "head_learning_rate": 2e-2}
    config = LearnConfig(method=method, layers=2, epochs=1, steps=100, batch=8, dropout=0.0, **rates)
    return Tagger(encoder, lambda ids: [texts[i] for i in ids], CLASSES, config, 7, ActivationCache(10))


@pytest.fixture(scope="module", params=["full", "top", "lora"])
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
    found, answers = explainer.explain(ROWS), taught.predict(ROWS)
    assert [tuple(one.predicted for one in each) for each in found] == answers.tolist()
    assert not answers[0] and sum(map(len, answers)) >= 3
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
