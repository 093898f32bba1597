import json

import numpy as np
import pytest
import torch

from discover.embed.encoder import Encoder
from discover.errors import DiscoverError
from discover.learn import registry
from discover.learn.samples import column
from tests.conftest import room_for
from tests.test_classifier import CLASSES, ODD, TRUTH, cache, encoder, make

__all__ = ["cache", "encoder", "make"]


@pytest.fixture
def published(make, tmp_path):
    classifier = make("head")
    classifier.fit(column(ODD), TRUTH[ODD])
    checksum = registry.publish(tmp_path, "margin-0001", classifier)
    return tmp_path, checksum


def test_a_version_comes_back(make, published):
    folder, checksum = published
    loaded = registry.load(folder / "margin-0001", make("head"))
    assert len(loaded.taught) == len(ODD)
    assert registry.publish(folder, "margin-0002", loaded) == checksum, "the same model has the same bytes"
    assert sorted(path.name for path in (folder / "margin-0001").iterdir()) == ["card.json", "model.safetensors"]


def test_a_full_disk_gets_one_line(make, tmp_path):
    classifier = make("head")
    classifier.fit(column(ODD), TRUTH[ODD])
    with room_for(100), pytest.raises(DiscoverError, match=r"cannot be written .* make room") as caught:
        registry.publish(tmp_path, "margin-0001", classifier)
    assert "\n" not in str(caught.value) and not (tmp_path / "margin-0001").exists()
    registry.publish(tmp_path, "margin-0001", classifier)
    assert registry.load(tmp_path / "margin-0001", make("head")).taught == classifier.taught


@pytest.mark.parametrize("damage", ["flip", "cut", "weightless", "cardless", "card", "hollow", "foreign", "missing"])
def test_a_damaged_folder_gets_one_line(make, published, damage):
    folder = published[0] / "margin-0001"
    weights, card = folder / "model.safetensors", folder / "card.json"
    content = bytearray(weights.read_bytes())
    content[-3] ^= 1
    actions = {
        "flip": lambda: weights.write_bytes(content),
        "cut": lambda: weights.write_bytes(content[:-100]),
        "weightless": weights.unlink,
        "cardless": card.unlink,
        "card": lambda: card.write_text("{"),
        "hollow": lambda: card.write_text(json.dumps(json.loads(card.read_text()) | {"encoder": "x", "reads": None})),
        "foreign": lambda: card.write_text(json.dumps({"format": "something else"})),
        "missing": lambda: folder.rename(folder.with_name("moved")),
    }
    actions[damage]()
    with pytest.raises(DiscoverError) as caught:
        registry.load(folder, make("head"))
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)


def test_a_model_predicts_with_another_number_format_but_is_not_trained_on(make, published, monkeypatch):
    folder = published[0] / "margin-0001"
    here = make("head")
    likely = registry.load(folder, make("head")).predict_proba(column(ODD))
    other = "float32" if here.encoder.dtype != torch.float32 else "bfloat16"
    elsewhere = Encoder(here.encoder.config.model_copy(update={"dtype": other}))
    monkeypatch.setattr(here, "encoder", elsewhere)
    with pytest.raises(DiscoverError, match=f"made with an encoder of dtype '.*', here '{other}'.*: `discover run`"):
        registry.load(folder, here)
    found = registry.load(folder, here, exact=False).predict_proba(column(ODD))
    assert np.abs(found - likely).max() < 0.05
    monkeypatch.setitem(elsewhere.reads, "max_tokens", 7)
    with pytest.raises(DiscoverError, match=r"made with an encoder of max_tokens .*, here 7, dtype"):
        registry.load(folder, here, exact=False)


def test_a_model_made_for_something_else_is_refused(make, published, encoder, monkeypatch):
    folder = published[0] / "margin-0001"
    with pytest.raises(DiscoverError, match=r"made with method 'head', here it is 'top'.*discover run"):
        registry.load(folder, make("top"))
    registry.publish(published[0], "adapted", make("lora", rank=4))
    with pytest.raises(DiscoverError, match=r"made with adapter \['lora', 4\], here it is \['lora', 8\]"):
        registry.load(published[0] / "adapted", make("lora"))
    for classes in (CLASSES | {"weather": ""}, dict(reversed(CLASSES.items()))):
        with monkeypatch.context() as patch:
            patch.setattr("tests.test_classifier.CLASSES", classes)
            with pytest.raises(DiscoverError, match="made for other classes"):
                registry.load(folder, make("head"))
    other: Encoder = encoder
    monkeypatch.setattr(other, "version", "another")
    with pytest.raises(DiscoverError, match="made with encoder '"):
        registry.load(folder, make("head"))
