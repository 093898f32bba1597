"""The model registry: a folder a version, with what was trained and a card that says for what.

Published like every artefact: written aside, synced, renamed. What is read back is checked against the card first, and
nothing is unpickled.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from discover import run
from discover.embed.encoder import Encoder
from discover.errors import DiscoverError
from discover.learn.estimators import OwnEstimator
from discover.learn.tagger import Tagger
from discover.pool.spans import OUTSIDE

KIND = "discover-model-"
FORMAT = f"{KIND}7"
WEIGHTS = "model.safetensors"
CARD = "card.json"
ADVICE = "`discover run` learns it anew from the answers"

E = TypeVar("E", bound=OwnEstimator)


def publish(folder: Path, version: str, classifier: OwnEstimator) -> str:
    """Publish a classifier as ``folder/version``; returns the checksum of its weights.

    Raises:
        DiscoverError: there is no room, or no right to write.
    """
    try:
        with run.publish(folder / version) as scratch:
            return _write(scratch, classifier)
    except (OSError, SafetensorError) as error:
        raise DiscoverError(
            f"the model {folder / version} cannot be written ({str(error).splitlines()[0]}): "
            "make room there, then give the same command again"
        ) from error


def load(folder: Path, classifier: E, exact: bool = True) -> E:
    """Read a published version's folder into a classifier made with the same encoder, classes and method.

    Args:
        folder: of the version.
        classifier: untaught.
        exact: whether it must compute as the one that was published did, to the last digit, as training on does; else
            it may be of another number format or machine.

    Raises:
        DiscoverError: it is missing, damaged, or was made for something else.
    """
    card, encoder = check(folder), classifier.encoder
    for key, expected in _made_for(classifier).items():
        found = card.get(key)
        if key == "encoder" and not exact and card.get("reads") == encoder.reads:
            continue
        if found != expected:
            made = f"with {key} {found!r}, here it is {expected!r}"
            if key == "encoder" and (differences := _differences(card, encoder)):
                made = f"with an encoder of {differences}"
            elif key == "classes":
                made = "for other classes, descriptions or another order"
            elif key == "tags" and OUTSIDE not in (found or []):
                made = f"with tags {found!r}, which lack {OUTSIDE!r}, the one for what is in no span"
            raise DiscoverError(f"the model {folder} was made {made}: {ADVICE}")
    try:
        classifier.restore(load_file(folder / WEIGHTS))
    except (SafetensorError, RuntimeError, KeyError, ValueError) as error:
        raise DiscoverError(f"the model {folder} cannot be read ({str(error).splitlines()[0]}): {ADVICE}") from error
    return classifier


def _differences(card: dict[str, Any], encoder: Encoder) -> str:
    """In what the encoder of a card and this one differ, as far as an older card says it."""
    here = {**encoder.reads, **encoder.computes}
    there = {**card.get("reads", {}), **card.get("computes", {})}
    return ", ".join(f"{name} {there[name]!r}, here {here[name]!r}" for name in there if there[name] != here.get(name))


def _write(folder: Path, classifier: OwnEstimator) -> str:
    """Write weights and card into a folder; returns the checksum of the weights."""
    folder.mkdir(parents=True)
    (folder / WEIGHTS).write_bytes(save(classifier.state()))  # safetensors' own would let nobody else read it
    checksum = _checksum(folder / WEIGHTS)
    card = {
        "format": FORMAT,
        **_made_for(classifier),
        "encoder_model": classifier.encoder.config.model,
        "reads": classifier.encoder.reads,
        "computes": classifier.encoder.computes,
        "taught": len(classifier.taught),
        **({"untold": classifier.untold} if isinstance(classifier, Tagger) else {}),
        "sha256": checksum,
    }
    (folder / CARD).write_text(json.dumps(card, indent=1, ensure_ascii=False), encoding="utf-8")
    return checksum


def check(folder: Path) -> dict[str, Any]:
    """The card of a model folder whose weights are what it says.

    Raises:
        DiscoverError: a part is missing or damaged, or it is not ours.
    """
    if not folder.is_dir():
        raise DiscoverError(f"there is no model folder {folder}: {ADVICE}")
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DiscoverError(f"the model {folder} must hold a readable {CARD}, and does not: {ADVICE}") from error
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise DiscoverError(f"{folder / CARD} must be of format {FORMAT}: another version made it, or none; {ADVICE}")
    if not all(isinstance(card.get(part, {}), dict) for part in ("reads", "computes")):
        raise DiscoverError(f"{folder / CARD} must say in objects how the encoder reads and computes: {ADVICE}")
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise DiscoverError(f"the model {folder} must hold {WEIGHTS}, which is missing: {ADVICE}")
    if _checksum(weights) != card.get("sha256"):
        raise DiscoverError(f"the model {folder} is damaged: {WEIGHTS} is not what {CARD} says; {ADVICE}")
    return card


def is_model(folder: Path) -> bool:
    """Whether a folder says that it is a model, of whatever version and whether whole or not."""
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(card, dict) and str(card.get("format")).startswith(KIND)


def _made_for(classifier: OwnEstimator) -> dict[str, Any]:
    config = classifier.config
    return {
        "classes": [list(pair) for pair in classifier.classes.items()],  # in order: a class index is a position
        "task": classifier.task,
        "encoder": classifier.encoder.version,
        "method": config.method,
        "layer": classifier.representation.layer,
        **({"adapter": [config.adapter, config.rank]} if config.method == "lora" else {}),
        **({"tags": classifier.tags} if isinstance(classifier, Tagger) else {}),
    }


def _checksum(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
