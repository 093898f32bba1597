"""Step 3: the answers. People are kept one batch ahead, so that labeling never waits for training."""

import hashlib
import time
from typing import Any

from discover.campaign import Campaign
from discover.steps import Finished, simulation

POLL_SECONDS = 0.5
REMIND_SECONDS = 60.0


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
    if campaign.oracle is not None:
        simulation.answer(campaign, arm)
    return campaign.queue.waiting(arm)


def answers_of(campaign: Campaign, arm: str) -> dict[str, Any]:
    """The answers as they now stand: what they cost, and a digest that changes with any of them."""
    standing = [(row.document_id, row.label) for row in campaign.queue.labels(arm)]
    return {"spent": campaign.queue.spent(arm), "digest": hashlib.sha256(repr(standing).encode()).hexdigest()}
