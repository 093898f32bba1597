"""Our own decision log as feedback: what a run logged, and any other policy's probabilities of the same picks.

In come ``decisions.jsonl`` and the arrays beside it; nothing else is needed, neither model nor text. A row is a pick of
the strategy (the audit sample is no decision, nor are the seed labels of round 0, which no policy chooses); its
probabilities are those given the picks before it in its batch. What has no reward (a skip, an answer that is still
awaited) is left out, and so are queries that do not know of each candidate what the target asks for.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import comb, log_softmax

from discover.errors import DiscoverError
from discover.ope.candidates import Candidates, Target, Unknown, load_target
from discover.ope.feedback import Feedback, Floats
from discover.query.decisions import read_arrays
from discover.query.propensity import set_log_propensity

CAMPAIGNS = 20  # so many, and they are the units; with fewer, queries are
CELLS = 20_000_000  # rows times candidates
Kinds = dict[str, tuple[type, ...]]  # of a line's values, by their keys
NUMBER = (int, float, NoneType)
QUERY: Kinds = {"query": (str,), "run": (str,), "arm": (str,), "round": (int,), "strategy": (str,), "reward": NUMBER}
QUERY["set_log_propensity"] = NUMBER
PICK: Kinds = {"query": (str,), "kind": (str,), "pick_reward": NUMBER}


@dataclass
class Query:
    """One line of a query with those of its picks by the strategy, and where they stand."""

    line: dict[str, Any]
    path: Path
    number: int
    picks: list[dict[str, Any]] = field(default_factory=list)

    @property
    def campaign(self) -> tuple[str, str, str]:
        """What it is a round of."""
        return str(self.path.parent), self.line["run"], self.line["arm"]

    def rewards(self, kind: str) -> list[float | None]:
        """Of each pick: its own, or the query's."""
        return [pick["pick_reward"] if kind == "pick" else self.line["reward"] for pick in self.picks]


def files_of(log: Path) -> list[Path]:
    """The decision logs that a path names: a file, a run folder, or a folder of such; none where it is another file."""
    if log.is_dir():
        found = [log / "decisions.jsonl"] if (log / "decisions.jsonl").is_file() else []
        return found or sorted(log.glob("*/decisions.jsonl"))
    if log.suffix != ".jsonl" or not log.is_file():
        return []
    with log.open("rb") as lines:
        first = next((line for line in lines if line.strip()), b"")
    return [log] if b'"candidates"' in first and b'"strategy"' in first else []


def read_log(files: list[Path], target: str, reward: str = "") -> tuple[Feedback, list[str]]:
    """Read decision logs for one target policy.

    Args:
        files: of `files_of`; each with its ``decisions`` folder beside it.
        target: ``name,option=value,…``.
        reward: pick or query; by default pick where any pick has a reward.

    Returns:
        The feedback, and notes of what was left out and what is taken as independent.

    Raises:
        DiscoverError: a line or array is missing or damaged, the target does not fit, or nothing has a reward.
    """
    policy = load_target(target)
    queries = [query for path in files for query in _queries(path)]
    kind = reward or ("pick" if any(r is not None for query in queries for r in query.rewards("pick")) else "query")
    parts, left_out = [], Counter[str]()
    for number, query in enumerate(queries):
        if not query.line["round"]:
            left_out["queries of seed labels"] += 1
            continue
        arrays, metadata = _arrays(query)
        if not query.picks:  # audits alone
            continue
        known = np.array([one is not None for one in query.rewards(kind)], bool)
        if not known.any():
            left_out["queries without a reward yet"] += 1
        try:
            parts.append(_part(query, number, policy, kind, arrays, metadata) | {"known": known})
        except Unknown:
            left_out["queries that lack what the target asks for"] += int(known.any())
        else:
            left_out["picks without a reward yet"] += int((~known).sum()) if known.any() else 0
    if not any(part["known"].any() for part in parts):
        raise DiscoverError(
            f"{files[0]} must hold picks with a reward, found {len(queries)} queries"
            f"{''.join(f', {count} {what}' for what, count in left_out.items() if count)}: let the run go on, or name "
            "a rule for the picks' rewards (query.reward)"
        )
    shared = kind == "query" and any(part["known"].sum() > 1 for part in parts)
    feedback, independent = _together(parts, shared)
    notes = [f"left out: {count} {what}" for what, count in left_out.items() if count]
    return feedback, [*notes, f"reward: that of each {kind}", f"taken as independent: {independent}"]


def _queries(path: Path) -> Iterator[Query]:
    """The queries of one file, in its order, with the strategy's picks."""
    found: dict[str, Query] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            row = json.loads(line)
        except ValueError as error:  # UTF-8 that is none is one of them
            raise DiscoverError(f"{path}, line {number}: JSON is expected ({error}): export the log again") from error
        if not isinstance(row, dict):
            raise DiscoverError(f"{path}, line {number}: an object is expected, found {row!r}: export the log again")
        needed = PICK if "document" in row else QUERY
        missing = next((key for key in needed if key not in row), None)
        if missing is not None:
            raise DiscoverError(
                f"{path}, line {number}: a {'pick' if needed is PICK else 'query'} must have {missing!r}, found "
                f"{', '.join(row)}: export the log again, and do not mix it with other files"
            )
        bad = next((key for key, kind in needed.items() if not _is(row[key], kind)), None)
        if bad is not None:
            raise DiscoverError(f"{path}, line {number}: {bad!r} cannot be {row[bad]!r:.80}: export the log again")
        if needed is QUERY and row["query"] in found:
            raise DiscoverError(
                f"{path}, line {number}: the query {row['query']!r} stands there twice: export it again"
            )
        if needed is QUERY:
            found[row["query"]] = Query(row, path, number)
        elif row["query"] not in found:
            raise DiscoverError(f"{path}, line {number}: its query {row['query']!r} must come first: export it again")
        elif row["kind"] == "policy":
            found[row["query"]].picks.append(row)
    yield from found.values()


def _is(value: Any, kind: tuple[type, ...]) -> bool:
    """Whether it is of the kind, and a number finite; JSON's true is no number."""
    return isinstance(value, kind) and not isinstance(value, bool) and (not isinstance(value, float) or isfinite(value))


def _arrays(query: Query) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """What was kept of a query beside its lines, which it must fit."""
    path = query.path.parent / "decisions" / f"{query.line['query']}.safetensors"
    if not path.is_file():
        raise DiscoverError(
            f"the decision log needs {path}, which is missing: {query.path} has the picks, and `decisions` of the run "
            "folder the candidates: name the run folder, or copy that folder beside the file"
        )
    arrays, metadata = read_arrays(path)
    if len(arrays["picked"]) != len(query.picks):
        raise DiscoverError(
            f"{query.path}, line {query.number}: query {query.line['query']!r} has {len(query.picks)} picks there, "
            f"its arrays {len(arrays['picked'])}: export the log of the same run again"
        )
    drawn = [bytes(arrays["public_ids"][row]).hex() for row in arrays["picked"].tolist()]
    if drawn != [pick["document"] for pick in query.picks]:
        raise DiscoverError(
            f"{query.path}, line {query.number}: the picks of query {query.line['query']!r} must be those of its "
            "arrays, in the order of the draw, found others: export the log of the same run again"
        )
    return arrays, metadata


def _part(
    query: Query, number: int, policy: Target, kind: str, arrays: dict[str, NDArray[Any]], metadata: dict[str, str]
) -> dict[str, Any]:
    """One query's rows (j picks, n candidates): fields of the feedback, still of the query's own number of slots."""
    allowed = np.flatnonzero(arrays["mask"])
    picked = np.searchsorted(allowed, arrays["picked"])
    candidates = _candidates(query, arrays, metadata, allowed)
    wanted = policy(candidates)
    j = len(picked)
    return {
        "actions": picked,
        "rewards": np.array(query.rewards(kind), np.float64),  # None becomes NaN
        "propensities": np.exp(arrays["log_propensities"]),
        "target": _draw_by_draw(wanted, picked),
        "behaviour": _behaviour(candidates, picked, certain=not arrays["log_propensities"].any()),
        "features": np.broadcast_to(candidates.features, (j, *candidates.features.shape)),
        "batch": np.full(j, number),
        "step": np.full(j, query.line["round"]),
        "campaign": query.campaign,
        "set_log_propensities": np.full(j, _or_nan(query.line["set_log_propensity"])),
        "set_log_targets": np.full(j, _set_log_target(wanted, picked)),
    }


def _candidates(
    query: Query, arrays: dict[str, NDArray[Any]], metadata: dict[str, str], allowed: NDArray[np.int64]
) -> Candidates:
    return Candidates(
        query=query.line["query"],
        strategy=query.line["strategy"],
        names=tuple(metadata["features"].split(",")),
        features=arrays["features"][allowed].astype(np.float64),
        generator=np.array(metadata["generators"].split(","))[arrays["generator"][allowed]],
        logits=arrays["logits"][allowed] if "logits" in arrays else None,
        temperature=float(metadata["temperature"]),
        floor=float(metadata["floor"]),
    )


def _draw_by_draw(log_probabilities: Floats, picked: NDArray[np.int64]) -> Floats:
    """(j, n) probabilities of each draw, given the picks before it; even among what is left where that has none."""
    left = np.repeat(log_probabilities[None], len(picked), axis=0)
    for draw in range(1, len(picked)):
        left[draw:, picked[draw - 1]] = -np.inf
    stuck = ~np.isfinite(left).any(axis=1)
    for draw in np.flatnonzero(stuck).tolist():
        left[draw] = 0.0
        left[draw, picked[:draw]] = -np.inf
    return np.asarray(np.exp(log_softmax(left, axis=1)), np.float64)


def _behaviour(candidates: Candidates, picked: NDArray[np.int64], certain: bool) -> Floats | None:
    """(j, n) of the logged draw; certain where nothing was drawn, None where only the picks' own are known."""
    if candidates.logits is not None:
        return _draw_by_draw(candidates.logits, picked)
    return np.eye(len(candidates))[picked] if certain else None


def _set_log_target(log_probabilities: Floats, picked: NDArray[np.int64]) -> float:
    """Of the picks in any order; what a target that has too few for a batch lacks is drawn evenly from the rest."""
    possible = np.isfinite(log_probabilities)
    lacking = len(picked) - int(possible.sum())
    if lacking > 0:
        if possible[picked].sum() < possible.sum():
            return -np.inf
        return -float(np.log(comb(int((~possible).sum()), lacking)))
    if not possible[picked].all():
        return -np.inf
    return set_log_propensity(log_probabilities[possible], (np.cumsum(possible) - 1)[picked])


def _of(known: NDArray[np.bool_], found: Any) -> Any:
    """The rows (j, …) of the picks with a reward; what is no array is of the query as a whole."""
    return found[known] if isinstance(found, np.ndarray) else found


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else value


def _together(parts: list[dict[str, Any]], shared: bool) -> tuple[Feedback, str]:
    """What has a reward as one feedback, its slots filled up to the longest; and what its units are."""
    kept = [part for part in parts if part["known"].any()]
    names = dict.fromkeys(part["campaign"] for part in kept)
    missing = _without_reward(parts, through=len(names) >= CAMPAIGNS)
    # Each draw has the probability that it had given all before it, those without a reward included.
    parts = [{name: _of(part["known"], found) for name, found in part.items()} for part in kept]
    rows, k = sum(len(part["actions"]) for part in parts), max(part["target"].shape[1] for part in parts)
    if rows * k > CELLS:
        raise DiscoverError(
            f"{rows} picks of up to {k} candidates are {rows * k:,} cells, at most {CELLS:,} fit in memory: judge a "
            "part of the log"
        )
    fields: dict[str, Any] = {"shared": shared} | {
        name: np.concatenate([part[name] for part in parts])
        for name in ("actions", "rewards", "propensities", "batch", "step")
    }
    fields["carried"], fields["skipped"] = np.repeat(missing, [len(part["actions"]) for part in parts], axis=0).T
    for name in ("target", "features"):
        fields[name] = np.concatenate([_filled(part[name], k) for part in parts])
    fields["mask"] = np.concatenate([_filled(np.ones(part["target"].shape, bool), k) for part in parts])
    if all(part["behaviour"] is not None for part in parts):
        fields["behaviour"] = np.concatenate([_filled(part["behaviour"], k) for part in parts])
    if any(np.isfinite(part["set_log_propensities"]).all() for part in parts):
        for name in ("set_log_propensities", "set_log_targets"):
            fields[name] = np.concatenate([part[name] for part in parts])
    if len(names) >= CAMPAIGNS:
        campaigns = {name: code for code, name in enumerate(names)}
        codes = [np.full(len(part["actions"]), campaigns[part["campaign"]]) for part in parts]
        return Feedback(**fields, unit=np.concatenate(codes)), f"{len(campaigns)} campaigns"
    return Feedback(**fields), f"{len(parts)} queries"


def _without_reward(parts: list[dict[str, Any]], through: bool) -> Floats:
    """Of each query with a reward, (q, 2) log ratios: of what came since the last such query, and of its own picks.

    Where the ratio of its set is known, that is of all its picks.

    Args:
        parts: all queries, in order.
        through: whether campaigns are judged as wholes; else a query answers for itself alone.
    """
    found: list[tuple[float, float]] = []
    pending: dict[tuple[str, str, str], float] = {}
    for part in parts:
        rows, known = np.arange(len(part["actions"])), part["known"]
        with np.errstate(divide="ignore"):  # what the target never draws
            logs = np.log(part["target"][rows, part["actions"]]) - np.log(part["propensities"])
        (of_set, *_) = part["set_log_targets"] - part["set_log_propensities"]
        before = pending.pop(part["campaign"], 0.0) if through else 0.0
        if known.any():
            found.append((before, float(logs[~known].sum()) if np.isnan(of_set) else 0.0))
        else:
            pending[part["campaign"]] = before + float(logs.sum() if np.isnan(of_set) else of_set)
    return np.array(found)


def _filled(table: NDArray[Any], k: int) -> NDArray[Any]:
    """The (j, n, …) table with slots up to k that hold 0, False or NaN."""
    empty = np.nan if table.ndim == 3 else 0
    width = [(0, 0), (0, k - table.shape[1]), *[(0, 0)] * (table.ndim - 2)]
    return np.pad(table, width, constant_values=empty)
