"""Documents leave a run: its pool, its queue, and with the next round its index and what the models have learned."""

import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection, select, update

from discover.campaign import Campaign
from discover.errors import DiscoverError
from discover.label import slots
from discover.pool import removal
from discover.tables import step

PATIENCE = 5.0  # seconds that readers of the database may take to end


def remove(campaign: Campaign, words: Sequence[str]) -> None:
    """Remove documents, in one transaction, while the loop runs or not.

    Args:
        campaign: of whose pool.
        words: public ids or addresses; a document's near-duplicates leave with it.

    Raises:
        DiscoverError: a word names no document; then none is removed.
    """
    with campaign.database.write() as connection:
        named = removal.named(connection, words, campaign.config.pool.near_duplicate)
        gone = removal.remove(connection, named)
        withdrawn = slots.withdraw(connection)
        _forget_explanations(connection, gone)
    folded = campaign.database.fold(PATIENCE)  # else a loop or a queue that is running would keep the texts in the file
    print(
        f"{len(gone)} documents removed, {withdrawn['open']} open questions withdrawn, {withdrawn['answered']} answers "
        "no longer learned"
    )
    if not folded:
        print(
            "the texts are still readable in the database's files, which another process is reading, or whose disk is "
            "full: give the same command again when that is over"
        )
    if gone and campaign.begun():
        print(
            "the next round, or the next `discover run`, takes them out of the index, and learns the newest models "
            "anew where they knew them; exports, reports and models from before know them for as long as you keep these"
        )
    with suppress(DiscoverError), campaign.folder.lock():  # held: `discover pretrain` looks itself
        forget_pretraining(campaign)


def forget_pretraining(campaign: Campaign) -> None:
    """Drop what a pretraining that was stopped has read, if a document of that was removed since; the run is held.

    Raises:
        DiscoverError: what it has read is not known.
    """
    if gone := read_and_removed(campaign):
        kept = campaign.folder.pretrained_on
        kept.unlink()  # first, so that a kill in between leaves nothing that is gone on with
        shutil.rmtree(kept.parent)
        print(f"the pretraining under way has read {gone} documents that are removed: it begins anew")


def read_and_removed(campaign: Campaign) -> int:
    """How many documents the pretraining under way has read, if there is one, that are removed by now.

    Raises:
        DiscoverError: what it has read is not known.
    """
    kept = campaign.folder.pretrained_on
    if not kept.is_file():
        return 0
    try:
        read = set(json.loads(kept.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise DiscoverError(
            f"{kept} must hold the row ids that were read, but it is damaged ({error}): remove {kept.parent}, to begin "
            "anew"
        ) from error
    return len(read & campaign.pool.removed())


def _forget_explanations(connection: Connection, gone: dict[int, str]) -> None:
    """What the queue shows of a question cites the answers that are nearest to it, in their own words."""
    for row in connection.execute(select(step).where(step.c.step == "explain")).all():
        left = _without(row.output["explanations"], gone)
        if left != row.output["explanations"]:
            mine = (step.c.arm == row.arm, step.c.round == row.round, step.c.step == row.step)
            connection.execute(update(step).where(*mine).values(output={**row.output, "explanations": left}))


def _without(explanations: dict[str, Any], gone: dict[int, str]) -> dict[str, Any]:
    cited = set(gone.values())

    def uncited(one: dict[str, Any]) -> dict[str, Any]:
        if "spans" in one:
            return {"spans": [uncited(span) for span in one["spans"]]}
        return {**one, "neighbours": [near for near in one["neighbours"] if near["id"] not in cited]}

    return {question: uncited(one) for question, one in explanations.items() if int(question) not in gone}
