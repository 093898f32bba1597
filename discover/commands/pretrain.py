"""An encoder for the run's pool, made before the loop begins, or while it rests, for the next run: it holds the run."""

import shutil
from collections.abc import Iterator, Sequence

from sqlalchemy import select

from discover.campaign import Campaign
from discover.commands.remove import forget_pretraining, read_and_removed
from discover.learn.pretrain.pretraining import pretrain
from discover.steps import simulation
from discover.steps.intake import draw_test
from discover.tables import slot


def pretrain_encoder(campaign: Campaign) -> None:
    """Pretrain on the pool; the same command goes on after a kill.

    Only training documents are read: what the run is to test on is left out, as the loop would draw it, and so are the
    documents of its audit sample, as far as they have been drawn; of later audit questions it has read the texts
    (an encoder may know any text of the pool), but no answer.

    Raises:
        DiscoverError: the pool is too small, the settings do not fit, or another process is at work in the folder.
    """
    folder, config = campaign.folder, campaign.config
    with folder.lock():
        folder.sweep()
        if folder.encoder.is_dir():
            print(f"{folder.encoder} is there already: remove it to pretrain on the pool as it is now")
        else:
            forget_pretraining(campaign)
            _take_in(campaign)
            ids = _read(campaign)
            pretrain(lambda: _texts(campaign, ids), config.encoder, config.pretrain, config.seed, folder, ids)
            print(f"{folder.encoder}: use it with encoder.model: {folder.encoder}")
            if gone := read_and_removed(campaign):
                print(
                    f"{gone} documents that it has read were removed meanwhile: for an encoder without them, remove "
                    f"{folder.encoder} and give the same command again"
                )
        shutil.rmtree(folder.pretraining, ignore_errors=True)


def _take_in(campaign: Campaign) -> None:
    """What the loop's first round would do; after that it is the loop's own business."""
    if not campaign.begun():
        simulation.look_again(campaign)
        campaign.pool.intake(simulation.unanswerable(campaign))


def _read(campaign: Campaign) -> list[int]:
    """Row ids of what is read, by public id."""
    with campaign.database.read() as connection:
        measures = set(connection.execute(select(slot.c.document_id).where(slot.c.kind == "audit")).scalars())
    if not campaign.begun():
        measures.update(draw_test(campaign))
    ids, _ = campaign.pool.ids()
    return [row for row in ids.tolist() if row not in measures]


def _texts(campaign: Campaign, ids: Sequence[int]) -> Iterator[str]:
    return (found.text for found in campaign.pool.documents(ids))
