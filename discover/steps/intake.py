"""Step 1: what the crawl or an import has found since the last round is taken in, embedded and indexed."""

import itertools
import sys
import time
from collections.abc import Callable, Sequence

from sqlalchemy import Connection

from discover.campaign import Campaign
from discover.embed.embedding import embed_new
from discover.errors import DiscoverError
from discover.run import crashpoint
from discover.steps import Finished, simulation

POLL_SECONDS = 0.5
ENCODER = "encoder"  # the note in the database: which model the learner fine-tunes, by its files


def intake(campaign: Campaign, round_: int, crawling: Callable[[], bool]) -> Finished:
    """Decide on each new document, embed those that stay, drop removed ones; imported labels seed every arm.

    Another retrieval encoder takes over here, once it has embedded the pool. The output counts what came in, names the
    model and version of the vectors, and remembers each round's last row id, so that the next one looks only at what
    is new.

    Raises:
        DiscoverError: there is still nothing in the pool, and nothing more is being crawled; or nothing that a
            simulated annotator could answer; or too few documents beside the test ones.
    """
    check_encoder(campaign)
    lasts = (campaign.output("", round_ - 1, "intake") or {"lasts": []})["lasts"]
    unanswerable = simulation.unanswerable(campaign)
    counts = campaign.pool.intake(unanswerable)
    enough = campaign.config.query.batch
    if round_ == 0:
        enough = _to_ask_about(campaign) + campaign.config.loop.test
    while crawling() and campaign.unasked(campaign.arms[0], enough) < enough:
        time.sleep(POLL_SECONDS)  # a crawl in the background has not brought so much yet
        counts += campaign.pool.intake(unanswerable)
    drawn = draw_test(campaign) if round_ == 0 else []
    # Before removing more: until the models are taught without a document they ask for its vector.
    campaign.retriever.index.compact()
    _take_over(campaign, lasts)
    crashpoint("embed")
    last = _embed(campaign, max(lasts, default=0))
    campaign.retriever.index.update()
    drop_removed(campaign)
    if not campaign.retriever.store.alive:
        if campaign.pool.count("aside", 1):
            raise DiscoverError(
                f"label.oracle {campaign.config.label.oracle} must know the answer of some documents, but it has no "
                "single one for any, so that all are set aside: import others, or these with labels into another --run"
            )
        raise DiscoverError(
            "the pool is empty, so there is nothing to learn from: `discover import` files, or check `crawl` "
            f"(`discover status --run {campaign.folder.root}` says what was rejected and why)"
        )

    def commit(connection: Connection) -> None:
        campaign.pool.hold_out(connection, drawn)
        if campaign.oracle is None:  # a simulated annotator is asked for these labels instead
            for arm in campaign.arms:
                campaign.queue.seed_imported(arm, connection)

    output = {"counts": dict(counts), "stored": campaign.retriever.store.alive, "lasts": [*lasts, last]}
    encoder = campaign.retriever.encoder
    output |= {"retrieval": encoder.config.model, "version": encoder.version, "weights": encoder.weights}
    return Finished(output, commit)


def draw_test(campaign: Campaign) -> list[int]:
    """Row ids of the documents that the first round holds out.

    Raises:
        DiscoverError: too few others would stay to be asked about.
    """
    n = campaign.config.loop.test
    return campaign.pool.draw_test(n, campaign.config.seed, _to_ask_about(campaign)) if n else []


def _to_ask_about(campaign: Campaign) -> int:
    """Documents of the first two rounds."""
    label = campaign.config.label
    return min(label.seed + campaign.config.query.batch, label.budget)


def drop_removed(campaign: Campaign) -> None:
    """Take out of the index what was removed from the pool."""
    campaign.retriever.index.remove(list(campaign.pool.removed()))


def check_encoder(campaign: Campaign) -> None:
    """See that the learner's encoder is the one that the run was begun with, whatever became of its folder.

    Raises:
        DiscoverError: it is another.
    """
    campaign.encoder.check()
    begun, now = campaign.database.noted(ENCODER), campaign.encoder.weights
    if begun != now and begun is not None and campaign.begun():
        raise DiscoverError(
            f"{campaign.folder.root} was begun with another model in {campaign.encoder.folder} ({begun[:12]}…, now "
            f"{now[:12]}…): put that back, or start a new run with --run"
        )
    if begun != now:
        campaign.database.note(ENCODER, now)


def restore(campaign: Campaign) -> None:
    """Embed again what finished rounds had embedded, where the vectors were lost or are another encoder version's."""
    last = campaign.last_intake()
    if last is None:
        return
    retriever = campaign.retriever
    weights = retriever.encoder.weights
    if last.get("weights", weights) != weights:
        name = campaign.retrieval_model
        print(f"discover: the encoder {name} has been made anew, so it embeds the pool again", file=sys.stderr)
    if retriever.store.alive < last["stored"]:
        embed_rounds(campaign, last["lasts"])
        retriever.index.update()


def embed_rounds(campaign: Campaign, lasts: Sequence[int]) -> None:
    """Embed what the store lacks, round by round, as it came: what is newest, and the index, are then as they were.

    Args:
        campaign: whose pool, and whose retriever.
        lasts: the last row id of each round.
    """
    for low, high in itertools.pairwise([0, *lasts]):
        _embed(campaign, low, high)


def _embed(campaign: Campaign, after: int, until: int | None = None) -> int:
    """Embed what the store lacks of the documents found since; returns the last row id."""
    ids, public_ids = campaign.pool.ids(split=None, after=after, until=until)
    embed_new(campaign.retriever.encoder, campaign.retriever.store, ids, public_ids, campaign.pool.texts)
    return int(max(ids, default=after))


def _take_over(campaign: Campaign, lasts: Sequence[int]) -> None:
    """Retrieve by the model that the config names from now on, if that has embedded the pool."""
    wanted = campaign.config.encoder.retriever
    if wanted != campaign.retrieval_model and campaign.embedded_by() == wanted:
        campaign.retrieve_by(wanted)
        embed_rounds(campaign, lasts)
        print(f"the index now holds vectors of {wanted}", flush=True)
