"""A new retrieval encoder: a child process embeds the pool with it, while the loop goes on with the one before.

It writes a store and an index of their own, says in the database when they hold all that the loop had taken in, and
ends; the loop's next intake then adds the rest and goes over to them.
"""

import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from discover.campaign import Campaign, open_run
from discover.commands.crawl import end
from discover.errors import DiscoverError
from discover.steps.intake import embed_rounds

PATIENCE = 10  # added to the niceness: the loop comes first


@contextmanager
def alongside(campaign: Campaign) -> Iterator[None]:
    """Embed while the body runs, where the config names another retrieval encoder than the run has.

    What is not finished when the body ends is gone on with next time.

    Raises:
        DiscoverError: there is no such model.
    """
    wanted = campaign.config.encoder.retriever
    if wanted == campaign.retrieval or campaign.renewed() == wanted:
        yield
        return
    from discover.embed.transformer import find

    find(wanted)
    log = campaign.folder.renewal_log
    with log.open("wb") as said:
        command = [sys.executable, "-m", "discover.commands.renew", str(campaign.folder.root)]
        child = subprocess.Popen(command, start_new_session=True, stdout=said, stderr=said)
    trouble = (
        f"discover: the vectors of {wanted} could not be made (see {log}): the index keeps those of "
        f"{campaign.retrieval}, and the next start tries again"
    )
    threading.Thread(target=_tell_failure, args=(child, trouble), daemon=True).start()
    try:
        yield
    finally:
        end(child)


def _tell_failure(child: subprocess.Popen[bytes], trouble: str) -> None:
    """Say so when it happens: the loop may go on for months."""
    if child.wait() > 0:
        print(trouble, file=sys.stderr, flush=True)


def renew(campaign: Campaign) -> None:
    """Embed what the loop has taken in, with the retrieval encoder that the config names."""
    wanted, starter = campaign.config.encoder.retriever, os.getppid()

    def texts(ids: Sequence[int]) -> list[str]:
        if os.getppid() != starter:
            sys.exit("the loop is gone: its next start goes on with this")
        return campaign.pool.texts(ids)

    with (campaign.folder.vectors / "renewal.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one that a killed loop left behind ends soon
        if campaign.renewed() == wanted:
            return
        campaign.retrieve_by(wanted)
        embedded = -1
        while (taken_in := campaign.last_intake()) and taken_in["lasts"][-1] > embedded:
            if taken_in["version"] == campaign.retriever.version:
                break  # the same model under another name: the loop writes there
            embed_rounds(campaign, taken_in["lasts"], texts)
            embedded = taken_in["lasts"][-1]
            campaign.index.update()
        campaign.database.note("renewed", wanted)


if __name__ == "__main__":
    os.nice(PATIENCE)
    try:
        renew(open_run(sys.argv[1]))
    except DiscoverError as error:
        sys.exit(f"discover: {error}")
