"""Step 3: the answers. People are kept one batch ahead, so that labeling never waits for training."""

import hashlib
import sys
import time
from typing import Any

from discover.campaign import Campaign
from discover.errors import Unavailable
from discover.steps import Finished, simulation

POLL_SECONDS = 0.5
REMIND_SECONDS = 60.0
PATIENCE_MINUTES = 10  # with a database whose server is started anew, or out of reach


def collect(campaign: Campaign, arm: str, round_: int) -> Finished:
    """Let the simulated annotator answer, or wait until at most the newest batch is still open.

    In the last round all answers are waited for.
    """
    chosen = campaign.output(arm, round_, "query") or {}
    last = not chosen.get("asked") or round_ == campaign.config.loop.rounds
    ahead = 0 if last else campaign.config.query.batch
    reminded = -REMIND_SECONDS
    while (waiting := _waiting(campaign, arm)) > ahead:
        if time.monotonic() - reminded >= REMIND_SECONDS:
            print(f"waiting for {waiting - ahead} answers; `discover serve` asks for them", flush=True)
            reminded = time.monotonic()
        time.sleep(POLL_SECONDS)
    return Finished(answers_of(campaign, arm))


def _waiting(campaign: Campaign, arm: str) -> int:
    """How many questions are open; what somebody has leased from a simulated annotator is free again one day."""
    if campaign.oracle is None:
        return _waiting_for_people(campaign, arm)
    simulation.answer(campaign, arm)
    return campaign.queue.waiting(arm)


def _waiting_for_people(campaign: Campaign, arm: str) -> int:
    """The same of people, who may take days: the database may be gone for some minutes of them."""
    gone = None
    while True:
        try:
            waiting = campaign.queue.waiting(arm)
        except Unavailable as error:
            if gone is None:
                gone = time.monotonic()
                print(
                    f"discover: {error}; it is tried again for {PATIENCE_MINUTES} minutes", file=sys.stderr, flush=True
                )
            elif time.monotonic() - gone > 60 * PATIENCE_MINUTES:
                raise
            time.sleep(POLL_SECONDS)
        else:
            if gone is not None:
                print("discover: the database can be used again", file=sys.stderr, flush=True)
            return waiting


def answers_of(campaign: Campaign, arm: str) -> dict[str, Any]:
    """The answers as they now stand: what they cost, and a digest that changes with any of them."""
    standing = [(row.document_id, row.label) for row in campaign.queue.labels(arm)]
    return {"spent": campaign.queue.spent(arm), "digest": hashlib.sha256(repr(standing).encode()).hexdigest()}
