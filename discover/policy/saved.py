"""A trained policy as a folder: safetensors weights, and a card of what it sees and what it was trained on."""

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from discover.errors import DiscoverError
from discover.policy.features import schema
from discover.policy.scorer import Scorer
from discover.run import publish

FORMAT = "discover-policy-1"
WEIGHTS, CARD = "policy.safetensors", "card.json"
ADVICE = "train it with `discover policy train`"


def save_policy(folder: Path, scorer: Scorer, trained: dict[str, Any]) -> None:
    """Publish a policy.

    Args:
        folder: to be made, or replaced.
        scorer: its network.
        trained: what it was trained on, and how, for the card.

    Raises:
        DiscoverError: its weights are no numbers any more.
    """
    if not _finite(scorer):
        raise DiscoverError(
            "training must end in finite weights, but they grew without bound: lower imitation.learning_rate and "
            "reinforcement.learning_rate, and begin in another folder (--run)"
        )
    weights = save(scorer.state_dict())
    card = {
        "format": FORMAT,
        "features": schema(),
        "hidden": scorer.hidden,
        "sha256": hashlib.sha256(weights).hexdigest(),
        "trained": trained,
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    with publish(folder) as scratch:
        scratch.mkdir()
        (scratch / WEIGHTS).write_bytes(weights)
        (scratch / CARD).write_text(json.dumps(card, indent=1, ensure_ascii=False), encoding="utf-8")


def load_policy(folder: Path) -> tuple[Scorer, dict[str, Any]]:
    """The network of a policy folder, and its card.

    Raises:
        DiscoverError: it is missing or damaged, or sees other features than are computed here.
    """
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        weights = (folder / WEIGHTS).read_bytes()
    except (OSError, ValueError, RecursionError) as error:
        raise DiscoverError(f"{folder} must hold a policy, {CARD} and {WEIGHTS}, and does not: {ADVICE}") from error
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise DiscoverError(f"{folder / CARD} must be of format {FORMAT}: another version made it, or none; {ADVICE}")
    if hashlib.sha256(weights).hexdigest() != card.get("sha256"):
        raise DiscoverError(f"the policy {folder} is damaged: {WEIGHTS} is not what {CARD} says; {ADVICE}")
    _check_features(folder, card.get("features"))
    try:
        scorer = Scorer(int(card["hidden"]))
        scorer.load_state_dict(load_file(folder / WEIGHTS))
    except (SafetensorError, RuntimeError, KeyError, TypeError, ValueError, OverflowError) as error:
        said = " ".join(str(error).split())
        raise DiscoverError(f"the policy {folder} cannot be read ({said}): {ADVICE}") from error
    if not _finite(scorer):
        raise DiscoverError(f"the policy {folder} must have finite weights, found others: {ADVICE}")
    return scorer, card


def _finite(scorer: Scorer) -> bool:
    return all(bool(weights.isfinite().all()) for weights in scorer.state_dict().values())


def _check_features(folder: Path, found: Any) -> None:
    """Refuse a policy that was trained on other columns, and name the first that differs."""
    for kind, expected in schema().items():
        names = found.get(kind) if isinstance(found, dict) else None
        if names == expected:
            continue
        names = names if isinstance(names, list) else []
        place = next((i for i, pair in enumerate(zip(names, expected, strict=False)) if pair[0] != pair[1]), None)
        place = min(len(names), len(expected)) if place is None else place
        theirs = names[place] if place < len(names) else "nothing"
        ours = expected[place] if place < len(expected) else "nothing"
        raise DiscoverError(
            f"the policy {folder} sees other features than this version computes: its {kind} column {place} is "
            f"{theirs!r}, here it is {ours!r}; {ADVICE}"
        )
