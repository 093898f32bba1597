"""The decision log: what each query could have asked, what it asked, and with what probability.

A query's candidates lie in ``decisions/<query>.safetensors``, once; its picks are rows of the database. Together they
give any other policy's probability of the same picks later, with no model and no text. The file is published before
the rows are committed: a killed process leaves at worst a file that the next attempt replaces.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from sqlalchemy import Connection, select

from discover.db import Database, insert_new
from discover.errors import DiscoverError
from discover.pool.labels import Labels
from discover.query import uncertainty
from discover.query.acquire import Picks
from discover.query.view import View
from discover.run import RunFolder, crashpoint, publish
from discover.tables import document, pick, query, slot

FEATURES = ("margin", "entropy", "max_probability", "age", "cost")
CHUNK = 500  # parameters of one SQL statement
ARRAYS: dict[str, tuple[str, tuple[str | int, ...]]] = {  # kind and shape: n candidates, f features, k picks
    "mask": ("b", ("n",)),
    "public_ids": ("u", ("n", 16)),
    "features": ("f", ("n", "f")),
    "generator": ("u", ("n",)),
    "picked": ("i", ("k",)),
    "log_propensities": ("f", ("k",)),
    "logits": ("f", ("n",)),
}
METADATA = ("features", "generators", "temperature", "floor")


@dataclass(frozen=True, eq=False)
class Audit:
    """A round's audit sample, which need not lie among the candidates.

    Attributes:
        ids: (a,) int64 row ids in the order of the draw.
        log_propensities: (a,) float64, log-probability of each given those before it.
    """

    ids: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    log_propensities: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    def first(self, k: int) -> "Audit":
        """The first k of the draw, as if no more had been drawn."""
        return Audit(self.ids[:k], self.log_propensities[:k])


NO_AUDIT = Audit()


def prepare(view: View) -> None:
    """Have the model say of the candidates what `record` writes down: in there, whoever answers would wait for it."""
    _features(view)


def record(
    connection: Connection, folder: RunFolder, row: dict[str, Any], view: View, picks: Picks, audit: Audit = NO_AUDIT
) -> None:
    """Log one query; doing it again changes nothing.

    Args:
        connection: the caller's write transaction, which commits the rows.
        folder: the run's; the arrays are published there at once.
        row: of the table `query`: id, arm, round, strategy, policy, model, seed.
        view: the candidates, prepared.
        picks: what the strategy chose of them, and the temperature of the draw; logged in this order, then the audit
            sample.
        audit: what was drawn blindly besides.

    Raises:
        DiscoverError: there is no room for the arrays, or no right to write.
    """
    path = folder.decision_arrays / f"{row['id']}.safetensors"
    if path.is_file() and connection.execute(select(query.c.id).where(query.c.id == row["id"])).first():
        return
    _write_arrays(path, row, view, picks, _public_ids(connection, view.ids))
    crashpoint("decision-arrays")
    drawn = {"candidates": len(view), "set_log_propensity": picks.set_log_propensity, "temperature": picks.temperature}
    insert_new(connection, query, [{**row, **drawn}])
    insert_new(connection, pick, list(_pick_rows(row["id"], view, picks, audit)))


def set_reward(connection: Connection, query_id: str, reward: float, source: str) -> None:
    """Note what a query turned out to be worth; `source` is ``test`` or ``audit``."""
    connection.execute(query.update().where(query.c.id == query_id).values(reward=reward, reward_source=source))


def read_arrays(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Read one query's candidates.

    Returns:
        The arrays: ``public_ids`` (n, 16) uint8; ``features`` (n, F) float32, NaN where unknown; ``mask`` (n,) bool,
        what could be picked; ``generator`` (n,) uint8; ``picked`` (k,) int64, rows in the order of the draw; their
        ``utilities`` and ``log_propensities`` (k,) float64; ``probabilities`` (k, c) float32, the model's of the picks,
        where there was one; and of a one-shot draw ``logits`` (n,) float64.
        The metadata: ``features`` and ``generators``, names joined by commas; ``query``, ``strategy``, ``temperature``,
        ``floor``, ``seed``; temperature and floor as drawn, 0 where nothing was.

    Raises:
        DiscoverError: the file is missing or damaged.
    """
    try:
        with safe_open(path, framework="np") as opened:
            arrays, metadata = {name: opened.get_tensor(name) for name in opened.keys()}, opened.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise DiscoverError(
            f"the decision log needs {path}, which cannot be read ({error}): export the log of the run again"
        ) from error
    wrong = _damage(arrays, metadata)
    if wrong:
        raise DiscoverError(f"{path} must hold the candidates of a query, {wrong}: export the log of the run again")
    return arrays, metadata


def most_uncertain(database: Database, folder: RunFolder, query_id: str, n: int) -> list[int]:
    """Row ids of the candidates of a past query with the smallest margin, at most n, smallest first.

    Empty when there was no such query, or its arrays are lost or damaged: the caller's other shares fill the room.
    """
    try:
        arrays, _ = read_arrays(folder.decision_arrays / f"{query_id}.safetensors")
    except DiscoverError:
        return []
    margin = arrays["features"][:, FEATURES.index("margin")]
    rows = np.argsort(margin, kind="stable")[:n]
    public_ids = [bytes(arrays["public_ids"][row]).hex() for row in rows]
    found: dict[str, int] = {}
    with database.read() as connection:
        for start in range(0, len(public_ids), CHUNK):
            wanted = document.c.public_id.in_(public_ids[start : start + CHUNK])
            known = connection.execute(select(document.c.public_id, document.c.id).where(wanted))
            found.update((row.public_id, row.id) for row in known)
    return [found[public_id] for public_id in public_ids if public_id in found]


def export(database: Database, path: Path, labels: Labels, run: str = "") -> None:
    """Write ``decisions.jsonl``: a line a query, each followed by a line for each of its picks.

    Args:
        database: the run's.
        path: the file to replace.
        labels: what the answers are.
        run: the run's name; by default that of the folder that `path` lies in.

    Raises:
        DiscoverError: the file cannot be written.
    """
    try:
        with publish(path) as scratch, scratch.open("w", encoding="utf-8") as lines, database.read() as connection:
            for line in _lines(connection, labels, run or path.resolve().parent.name):
                lines.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
    except OSError as error:
        raise DiscoverError(
            f"{path} must be writable, but {error.strerror or error}: choose another with --to"
        ) from error


def _write_arrays(path: Path, row: dict[str, Any], view: View, picks: Picks, public_ids: list[str]) -> None:
    generators, codes = np.unique(view.generator, return_inverse=True)
    arrays: dict[str, NDArray[Any]] = {
        "public_ids": np.frombuffer(bytes.fromhex("".join(public_ids)), np.uint8).reshape(-1, 16),
        "features": _features(view),
        "mask": np.ones(len(view), np.bool_),
        "generator": codes.astype(np.uint8),
        "picked": np.asarray(picks.indices, np.int64),
        "utilities": np.asarray(picks.utilities, np.float64),
        "log_propensities": np.asarray(picks.log_propensities, np.float64),
    }
    if view.make_probabilities is not None and len(view):
        arrays["probabilities"] = view.probabilities[picks.indices].astype(np.float32)
    if picks.logits is not None:
        arrays["logits"] = np.asarray(picks.logits, np.float64)
    metadata = {
        "features": ",".join(FEATURES),
        "generators": ",".join(generators),
        "query": row["id"],
        "strategy": row["strategy"],
        "seed": str(row["seed"]),
        "temperature": repr(float(picks.temperature)),
        "floor": repr(float(picks.floor)),
    }
    try:
        with publish(path) as scratch:
            # Not `save_file`, whose files nobody else can read.
            scratch.write_bytes(save({name: np.ascontiguousarray(one) for name, one in arrays.items()}, metadata))
    except (OSError, SafetensorError) as error:
        raise DiscoverError(
            f"the decision log {path} cannot be written ({error}): make room there, then give the same command again"
        ) from error


def _damage(arrays: dict[str, NDArray[Any]], metadata: dict[str, str]) -> str:
    """What of a query's arrays is not as `_write_arrays` has it; '' where all is."""
    missing = [name for name in ARRAYS if name not in (*arrays, "logits")]
    missing += [name for name in METADATA if name not in metadata]
    if missing:
        return f"found no {missing[0]!r}"
    sizes = {"n": arrays["mask"].size, "k": arrays["picked"].size, "f": len(metadata["features"].split(","))}
    for name, (kind, shape) in ARRAYS.items():
        expected = tuple(sizes[size] if isinstance(size, str) else size for size in shape)
        if name in arrays and (arrays[name].dtype.kind != kind or arrays[name].shape != expected):
            return f"found {name!r} of the shape {arrays[name].shape} and {arrays[name].dtype} instead of {expected}"
    if not np.isfinite(arrays.get("logits", np.empty(0))).all():
        return "found logits that are not finite"
    try:
        _ = [float(metadata[name]) for name in ("temperature", "floor")]
    except ValueError as error:
        return f"found a temperature or a floor that is no number ({error})"
    if not np.isin(arrays["picked"], np.flatnonzero(arrays["mask"])).all():
        return "found picks that are none of them"
    return "" if (arrays["generator"] < metadata["generators"].count(",") + 1).all() else "found unnamed generators"


def _features(view: View) -> NDArray[np.float32]:
    """(n, F) float32; what the model says of the candidates is NaN where the view has no model."""
    features = np.full((len(view), len(FEATURES)), np.nan, np.float32)
    if view.make_probabilities is not None and len(view):
        features[:, 0] = uncertainty.margin(view)
        features[:, 1] = uncertainty.entropy(view)
        features[:, 2] = 1 - uncertainty.doubt(view)
    features[:, 3] = view.age
    features[:, 4] = view.costs
    return features


def _public_ids(connection: Connection, ids: NDArray[np.int64]) -> list[str]:
    found: dict[int, str] = {}
    for start in range(0, len(ids), CHUNK):
        wanted = select(document.c.id, document.c.public_id).where(
            document.c.id.in_(ids[start : start + CHUNK].tolist())
        )
        found.update((row.id, row.public_id) for row in connection.execute(wanted))
    return [found[id_] for id_ in ids.tolist()]


def _pick_rows(query_id: str, view: View, picks: Picks, audit: Audit) -> Iterator[dict[str, Any]]:
    for position, index in enumerate(picks.indices.tolist()):
        yield {
            "query_id": query_id,
            "position": position,
            "document_id": int(view.ids[index]),
            "kind": "policy",
            "generator": str(view.generator[index]),
            "utility": float(picks.utilities[position]),
            "log_propensity": float(picks.log_propensities[position]),
            "chooser": None if picks.choosers is None else str(picks.choosers[position]),
        }
    for position, document_id in enumerate(audit.ids.tolist()):
        yield {
            "query_id": query_id,
            "position": len(picks.indices) + position,
            "document_id": document_id,
            "kind": "audit",
            "generator": "uniform",
            "utility": None,
            "log_propensity": float(audit.log_propensities[position]),
            "chooser": None,
        }


def _lines(connection: Connection, labels: Labels, run: str) -> Iterator[dict[str, Any]]:
    for row in connection.execute(select(query).order_by(query.c.round, query.c.arm)).mappings().all():
        yield {
            "query": row["id"],
            "run": run,
            "arm": row["arm"],
            "round": row["round"],
            "candidates": row["candidates"],
            "strategy": row["strategy"],
            "policy": row["policy"],
            "model": row["model"],
            "temperature": row["temperature"],
            "seed": row["seed"],
            "set_log_propensity": row["set_log_propensity"],
            "reward": row["reward"],
            "reward_source": row["reward_source"],
        }
        wanted = (
            select(pick, document.c.public_id, slot.c.label)
            .join(document, document.c.id == pick.c.document_id)
            .outerjoin(slot, (slot.c.document_id == pick.c.document_id) & (slot.c.arm == row["arm"]))
            .where(pick.c.query_id == row["id"])
            .order_by(pick.c.position)
        )
        for picked in connection.execute(wanted).mappings():
            yield {
                "query": row["id"],
                "document": picked["public_id"],
                "kind": picked["kind"],
                "utility": picked["utility"],
                "log_propensity": picked["log_propensity"],
                "label": None if picked["label"] is None else labels.value(picked["label"]),
                "pick_reward": picked["pick_reward"],
                "chooser": picked["chooser"],
            }
