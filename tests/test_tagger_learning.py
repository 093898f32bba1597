"""The tagger: what it learns from answers, and how it comes back from its folder."""

import json
from pathlib import Path

import numpy as np
import pytest

from discover.embed.encoder import Encoder
from discover.errors import DiscoverError
from discover.evaluate.entities import scores
from discover.learn import registry
from discover.learn.activations import ActivationCache
from discover.learn.config import LearnConfig
from discover.learn.samples import column
from discover.learn.tagger import Tagger, by_length
from discover.pool.answers import spans_array
from tests.entities import ANSWERS, CLASSES, LEARN, TEXTS, encoder, model

__all__ = ["encoder", "model"]


def tagger(encoder: Encoder, texts=TEXTS, **settings) -> Tagger:
    config = LearnConfig(**{**LEARN, **settings})
    return Tagger(encoder, lambda ids: [texts[i] for i in ids], CLASSES, config, 7, ActivationCache(10))


def test_measures_go_by_length() -> None:
    likely = np.log([[0.81, 0.09], [0.81, 0.09], [0.5, 0.5], [1.0, 1e-300]])
    found = by_length(likely, np.array([1.0, 2.0, 3.0, 4.0]))
    margins = found[:, 0] - found[:, 1]
    assert np.allclose(found[:, 0], [0.81, 0.9, 0.5 ** (1 / 3), 1]) and np.allclose(margins, [0.72, 0.72**0.5, 0, 1])
    assert np.isfinite(by_length(np.array([[0.0, -np.inf], [-1e5, -1e5 - 1]]), np.array([1.0, 10.0]))).all()


def test_it_learns_in_increments_and_comes_back_from_a_folder(encoder: Encoder, tmp_path: Path) -> None:
    ids, held = np.arange(120), column(range(120, 160))
    taught = tagger(encoder)
    untaught = taught.predicted(held)
    assert (
        set(untaught.answers.tolist()) == {()}
        and np.ptp(untaught.probabilities[:, 0] - untaught.probabilities[:, 1]) < 1e-9
    )
    taught.fit(column(ids[:90]), spans_array(ANSWERS[:90]))
    taught.fit(column(ids), spans_array(ANSWERS[:120]))
    assert scores(taught.predict(held), spans_array(ANSWERS[120:]), list(CLASSES))["entity_f1"] > 0.8
    taught.calibrate(held[:20], spans_array(ANSWERS[120:140]))
    found = taught.predicted(held)
    assert taught.temperature != 1 and ((found.chances > 0) & (found.chances <= 1)).all()
    alone = taught.predicted(held[[7]])
    assert all(np.array_equal(one[[7]], other) for one, other in zip(found, alone, strict=True))

    registry.publish(tmp_path, "one", taught)
    again = registry.load(tmp_path / "one", tagger(encoder))
    for one in (taught, again):
        one.fit(column(range(130)), spans_array(ANSWERS[:130]))
    for one, other in zip(taught.predicted(held), again.predicted(held), strict=True):
        assert np.array_equal(one, other), "bit for bit"
    again.fit(column(ids[:3]), spans_array(ANSWERS[:3]))
    assert list(again.taught) and len(again.taught) == 3, "what is gone is unlearned"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("tags", ["B-person", "I-person", "B-creative-work", "I-creative-work"], "which lack 'O'"),
        ("tags", ["O", "B-person", "I-person"], "was made with tags"),
        ("classes", [["person", ""]], "for other classes"),
        ("encoder", "0123456789abcdef", "with encoder"),
        ("sha256", "0" * 64, "is damaged"),
    ],
)
def test_a_folder_made_for_something_else_gets_one_line(
    encoder: Encoder, tmp_path: Path, key: str, value: object, message: str
) -> None:
    fresh = tagger(encoder, epochs=1, steps=1)
    fresh.fit(column([0, 1]), spans_array(ANSWERS[:2]))
    registry.publish(tmp_path, "one", fresh)
    card = json.loads((tmp_path / "one" / "card.json").read_text(encoding="utf-8"))
    (tmp_path / "one" / "card.json").write_text(json.dumps(card | {key: value}), encoding="utf-8")
    with pytest.raises(DiscoverError, match=message) as error:
        registry.load(tmp_path / "one", tagger(encoder))
    assert "\n" not in str(error.value) and "learns it anew" in str(error.value)


@pytest.mark.parametrize("method", ["top", "lora"])
def test_less_of_the_encoder_can_be_trained(encoder: Encoder, method: str) -> None:
    taught = tagger(encoder, method=method, layers=1, learning_rate=5e-3, epochs=10)
    taught.fit(column(range(120)), spans_array(ANSWERS[:120]))
    found = scores(taught.predict(column(range(120, 160))), spans_array(ANSWERS[120:]), list(CLASSES))
    assert found["entity_f1"] > 0.5


def test_what_the_encoder_does_not_read_is_told(encoder: Encoder) -> None:
    text = "so " * 40 + "Ada"
    taught = tagger(encoder, [text, "Ada said so"], epochs=1, steps=1)
    taught.fit(column([0, 1]), spans_array([((120, 123, 0),), ((0, 3, 0),)]))
    assert taught.untold == 1
