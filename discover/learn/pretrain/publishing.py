"""A pretrained encoder as a folder: safetensors weights, configuration, tokenizer, and a card of how it was made."""

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors.torch import save

from discover.embed.transformer import CARD, ENCODER_FORMAT
from discover.run import publish


def publish_encoder(folder: Path, transformer: Any, tokenizer: Any, pooling: str, trained: dict[str, Any]) -> None:
    """Publish an encoder, which `encoder.model` can name from then on.

    Args:
        folder: to be made.
        transformer: its network.
        tokenizer: that fits it.
        pooling: ``mean`` or ``cls``.
        trained: what it was trained on, and how it went, for the card.
    """
    with publish(folder) as scratch:
        scratch.mkdir()
        weights = {name: one.cpu().contiguous() for name, one in transformer.state_dict().items()}
        (scratch / "model.safetensors").write_bytes(save(weights, {"format": "pt"}))
        transformer.config.save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
        if pooling != "mean":
            (scratch / "1_Pooling").mkdir()
            (scratch / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": pooling}), encoding="utf-8")
        files = sorted(path for path in scratch.iterdir() if path.is_file())
        sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
        card = {"format": ENCODER_FORMAT, "sha256": sums, "trained": trained}
        (scratch / CARD).write_text(json.dumps(card, indent=1, ensure_ascii=False), encoding="utf-8")
