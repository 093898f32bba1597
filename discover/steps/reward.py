"""Step 5, its other half: what the picks that have been answered were worth, by the rule of the config.

A pick has its reward from the round that first knows its answer, and keeps it when the answer is corrected later: what
was decided by it (`discover.policy.safety`) can then be told from the log at any time.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
from sqlalchemy import Connection, Row, bindparam, select

from discover.campaign import Campaign
from discover.errors import DiscoverError
from discover.policy.reward import Answered, Rule, load_reward
from discover.query.config import QueryConfig
from discover.query.decisions import read_arrays
from discover.tables import pick, query, slot


@dataclass
class Rewarded:
    """Rewards that became known, and what to write of them.

    Attributes:
        rows: of each, the parameters of `UPDATE`.
        by: the rewards by who chose: policy, auto; in the order of queries and draws.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    by: dict[str, list[float]] = field(default_factory=lambda: {"policy": [], "auto": []})

    def commit(self, connection: Connection) -> None:
        """Write them."""
        if self.rows:
            connection.execute(UPDATE, self.rows)


UPDATE = (
    pick.update()
    .where(pick.c.query_id == bindparam("of"), pick.c.position == bindparam("at"))
    .values(pick_reward=bindparam("reward"))
)


def rule_of(settings: QueryConfig) -> Rule | None:
    """The rule of a config.

    Raises:
        DiscoverError: there is no such rule, or an option is not its own.
    """
    return load_reward(settings.reward, settings.reward_options)


def reward(campaign: Campaign, arm: str) -> Rewarded:
    """Of every pick of an arm's models whose answer is known and whose reward is not.

    None of spans: the log keeps how likely the two best answers were, not what was likely of any other.
    """
    found, newest = Rewarded(), _newest_policy(campaign, arm)
    rule = None if campaign.config.label.task == "spans" else rule_of(campaign.config.query)
    for rows in _queries(campaign, arm) if rule else ():
        answered = _answered(campaign, arm, rows)
        if rule is None or answered is None:
            continue
        for row, worth in zip(rows, rule(answered).tolist(), strict=True):
            if row.pick_reward is None:
                found.rows.append({"of": row.query_id, "at": row.position, "reward": worth})
                if row.chooser and row.policy == newest:  # one from before it is judged no more
                    found.by[row.chooser].append(worth)
    return found


def _newest_policy(campaign: Campaign, arm: str) -> str | None:
    """The trained policy that chose last."""
    newest = select(query.c.policy).where(query.c.arm == arm).order_by(query.c.round.desc()).limit(1)
    with campaign.database.read() as connection:
        return connection.execute(newest).scalar()


def _queries(campaign: Campaign, arm: str) -> Iterator[list[Row[Any]]]:
    """The answered picks of each query that a model chose, where one of them has no reward yet."""
    wanted = (
        select(pick, query.c.round, query.c.policy, slot.c.label)
        .join(query, query.c.id == pick.c.query_id)
        .join(slot, (slot.c.document_id == pick.c.document_id) & (slot.c.arm == query.c.arm))
        .where(query.c.arm == arm, query.c.model.is_not(None), pick.c.kind == "policy", slot.c.state == "answered")
        .order_by(query.c.round, pick.c.position)
    )
    with campaign.database.read() as connection:
        rows = connection.execute(wanted).all()
    for _, group in groupby(rows, key=lambda row: row.query_id):
        of_query = list(group)
        if any(row.pick_reward is None for row in of_query):
            yield of_query


def _answered(campaign: Campaign, arm: str, rows: list[Row[Any]]) -> Answered | None:
    """One query's answered picks as arrays; None where the log's arrays are lost, so that nothing can be said."""
    try:
        arrays, _ = read_arrays(campaign.folder.decision_arrays / f"{rows[0].query_id}.safetensors")
    except DiscoverError:
        return None
    if "probabilities" not in arrays:
        return None
    before = [one for one in campaign.queue.labels(arm) if one.kind != "audit" and one.round < rows[0].round]
    # A class that was added since had no probability then.
    likely = arrays["probabilities"][[row.position for row in rows]]
    likely = np.pad(likely, [(0, 0), (0, len(campaign.classes) - likely.shape[1])])
    picked = np.array([row.document_id for row in rows], np.int64)
    labelled = np.array([one.document_id for one in before], np.int64)
    store = campaign.retriever.store
    return Answered(
        campaign.labels.array([row.label for row in rows]),
        likely,
        lambda: store.vectors(picked),
        lambda: store.vectors(labelled),
        campaign.labels.array([one.label for one in before]),
    )
