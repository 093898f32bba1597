"""A new retrieval encoder: a child process embeds the pool with it, while the loop goes on with the one before.

It writes a store and an index of their own, says in the database when they hold all that the loop had taken in, and
ends; the loop's next intake then adds the rest and goes over to them.
"""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from discover.campaign import Campaign, open_run
from discover.child import end, end_with_parent, watch
from discover.errors import DiscoverError
from discover.steps.intake import embed_rounds

NICENESS = 10  # added to the loop's: it comes first


@contextmanager
def alongside(campaign: Campaign) -> Iterator[None]:
    """Embed while the body runs, where the config names another retrieval encoder than the run has.

    What is not finished when the body ends is gone on with next time. Where the run's own encoder cannot be found any
    more there is nothing for the loop to go on with, so that the pool is embedded before the body.
    """
    wanted, had = campaign.config.encoder.retriever, campaign.retrieval_model
    if wanted == had:
        yield
        return
    if _is_gone(had):
        print(f"discover: the encoder {had} is gone, so {wanted} embeds the pool now", file=sys.stderr, flush=True)
        reembed(campaign)
    if campaign.embedded_by() == wanted:
        yield
        return
    with campaign.folder.reembedding_log.open("ab") as log:
        command = [sys.executable, "-m", "discover.commands.reembed", str(campaign.folder.root), str(os.getpid())]
        child = subprocess.Popen(command, start_new_session=True, stdout=log, stderr=log)
    trouble = (
        f"discover: the vectors of {wanted} could not be made (see {log.name}): the index keeps those of {had}, and "
        "the next start tries again"
    )
    watching = watch(child, lambda status: print(trouble, file=sys.stderr, flush=True))
    try:
        yield
    finally:
        end(child)
        watching.join()  # it may have failed just now


def _is_gone(model: str) -> bool:
    from discover.embed.transformer import find

    try:
        find(model)
    except DiscoverError:
        return True
    return False


def reembed(campaign: Campaign) -> None:
    """Embed what the loop has taken in, with the retrieval encoder that the config names."""
    wanted = campaign.config.encoder.retriever
    with (campaign.folder.vectors / "reembedding.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one that a killed loop left behind ends soon
        campaign.retrieve_by(wanted)
        if campaign.embedded_by() == wanted:
            return
        embedded = -1
        while (taken_in := campaign.last_intake()) and taken_in["lasts"][-1] > embedded:
            if taken_in.get("version") == campaign.retriever.encoder.version:
                break  # the same model under another name: the loop writes there
            embed_rounds(campaign, taken_in["lasts"])
            embedded = taken_in["lasts"][-1]
            campaign.retriever.index.update()
        campaign.database.note("embedded_by", wanted)


if __name__ == "__main__":
    end_with_parent(int(sys.argv[2]))
    os.nice(NICENESS)
    try:
        reembed(open_run(sys.argv[1]))
    except DiscoverError as error:
        sys.exit(f"discover: {error}")
