"""Step 1: what the crawl or an import has found since the last round is taken in, embedded and indexed."""

import time
from collections.abc import Callable

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
    before = campaign.output("", round_ - 1, "intake") or {"lasts": [], "stored": 0}
    unanswerable = simulation.unanswerable(campaign)
    counts = campaign.pool.intake(unanswerable)
    while not before["stored"] and not campaign.pool.counts().get("pool") and crawling():
        time.sleep(POLL_SECONDS)  # a crawl in the background has not brought its first page yet
        counts += campaign.pool.intake(unanswerable)
    if round_ == 0 and campaign.config.loop.test:
        campaign.pool.hold_out(campaign.config.loop.test, campaign.config.seed)
    crashpoint("embed")
    complete = len(campaign.store) >= before["stored"]  # else the cache was lost, and all is embedded again
    known = max(before["lasts"], default=0)
    ids, public_ids = campaign.pool.ids(split=None, after=known if complete else 0)
    embed_new(campaign.encoder, campaign.store, ids, public_ids, campaign.pool.texts)
    campaign.index.update()
    if not len(campaign.store):
        raise DiscoverError(
            "the pool is empty, so there is nothing to learn from: `discover import` files, or check `crawl` "
            f"(`discover status --run {campaign.folder.root}` says what was rejected and why)"
        )

    def commit(connection: Connection) -> None:
        if simulation.oracle(campaign) is None:  # a simulated annotator is asked for these labels instead
            for arm in campaign.arms:
                campaign.queue.seed_imported(arm, connection, campaign.classes)

    lasts = [*before["lasts"], int(max(ids, default=known))]
    output = {"counts": dict(counts), "stored": len(campaign.store), "lasts": lasts}
    return Finished(output, commit)
