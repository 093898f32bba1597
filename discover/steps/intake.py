"""Step 1: what the crawl or an import has found since the last round is taken in, embedded and indexed."""

import itertools
import time
from collections.abc import Callable, Sequence

from sqlalchemy import Connection

from discover.campaign import Campaign
from discover.embed.vectors import embed_new
from discover.errors import DiscoverError
from discover.run import crashpoint
from discover.steps import Finished, simulation

POLL_SECONDS = 0.5


def intake(campaign: Campaign, round_: int, crawling: Callable[[], bool]) -> Finished:
    """Decide on each new document, then embed those that stay; imported labels seed every arm.

    The output counts what came in, and remembers each round's last row id, so that the next one looks only at what is
    new.

    Raises:
        DiscoverError: there is still nothing in the pool, and nothing more is being crawled.
    """
    lasts = (campaign.output("", round_ - 1, "intake") or {"lasts": []})["lasts"]
    unanswerable = simulation.unanswerable(campaign)
    counts = campaign.pool.intake(unanswerable)
    enough = campaign.config.query.batch
    if round_ == 0:
        enough = max(enough, campaign.config.label.seed) + campaign.config.loop.test
    while crawling() and campaign.unasked(campaign.arms[0], enough) < enough:
        time.sleep(POLL_SECONDS)  # a crawl in the background has not brought so much yet
        counts += campaign.pool.intake(unanswerable)
    if round_ == 0 and campaign.config.loop.test:
        campaign.pool.hold_out(campaign.config.loop.test, campaign.config.seed)
    wanted = campaign.config.encoder.retriever
    if wanted != campaign.retrieval and campaign.renewed() == wanted:
        campaign.retrieve_by(wanted)
        embed_rounds(campaign, lasts, campaign.pool.texts)
        print(f"the index now holds vectors of {wanted}", flush=True)
    crashpoint("embed")
    known = max(lasts, default=0)
    ids, public_ids = campaign.pool.ids(split=None, after=known)
    embed_new(campaign.retriever, campaign.store, ids, public_ids, campaign.pool.texts)
    campaign.index.update()
    if not len(campaign.store):
        raise DiscoverError(
            "the pool is empty, so there is nothing to learn from: `discover import` files, or check `crawl` "
            f"(`discover status --run {campaign.folder.root}` says what was rejected and why)"
        )

    def commit(connection: Connection) -> None:
        if campaign.oracle is None:  # a simulated annotator is asked for these labels instead
            for arm in campaign.arms:
                campaign.queue.seed_imported(arm, connection, campaign.classes)

    output = {"counts": dict(counts), "stored": len(campaign.store), "lasts": [*lasts, int(max(ids, default=known))]}
    output |= {"retrieval": campaign.retriever.config.model, "version": campaign.retriever.version}
    return Finished(output, commit)


def restore(campaign: Campaign) -> None:
    """Embed again what finished rounds had embedded, where the vectors were lost or are another encoder version's."""
    last = campaign.last_intake()
    if last is not None and len(campaign.store) < last["stored"]:
        embed_rounds(campaign, last["lasts"], campaign.pool.texts)
        campaign.index.update()


def embed_rounds(campaign: Campaign, lasts: Sequence[int], texts: Callable[[Sequence[int]], list[str]]) -> None:
    """Embed what the store lacks, round by round, as it came: what is newest, and the index, are then as they were.

    Args:
        campaign: whose pool and store.
        lasts: the last row id of each round.
        texts: gives the texts of row ids.
    """
    for low, high in itertools.pairwise([0, *lasts]):
        ids, public_ids = campaign.pool.ids(split=None, after=low, until=high)
        embed_new(campaign.retriever, campaign.store, ids, public_ids, texts)
