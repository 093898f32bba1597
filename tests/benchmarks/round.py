"""A whole round against the pool's size: intake, choosing, answers, training, measuring; all but embedding what is new.

The real loop on a made-up pool that grows by some documents a round: their random vectors lie in the store already, so
that nothing is embedded.
The head alone is trained, the quickest method, since training would hide growth elsewhere.
"""

import hashlib
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from discover.campaign import Campaign
from discover.config import load_config
from discover.embed.vectors import key_of
from discover.loop import run_rounds
from discover.start import start_run
from discover.tables import document
from tests.benchmarks._data import made_up

SIZES = (10_000, 100_000, 1_000_000)
ROUNDS, BATCH, NEW, CLASSES = 10, 50, 200, 24
CHUNK = 4_096
GOAL = 1.3


def measure() -> list[dict[str, Any]]:
    """The rounds of each larger pool against the smallest one's, which are played in turn."""
    with tempfile.TemporaryDirectory() as name:
        campaigns = {size: _campaign(Path(name) / str(size), size) for size in SIZES}
        for _ in range(ROUNDS):
            for campaign in campaigns.values():
                _add(campaign, NEW)
                run_rounds(campaign, rounds=1)
        seconds = {size: _seconds(campaign) for size, campaign in campaigns.items()}
        for campaign in campaigns.values():
            campaign.close()
    smallest = seconds[SIZES[0]]
    rows = []
    for size in SIZES[1:]:
        ratio = statistics.median(mine / least for mine, least in zip(seconds[size], smallest, strict=True))
        rows.append(
            {
                "name": f"round, pool of {size:,}",
                "value": round(statistics.median(seconds[size]), 3),
                "unit": "s",
                "peer": f"pool of {SIZES[0]:,}",
                "peer_value": round(statistics.median(smallest), 3),
                "ratio": round(ratio, 3),
                "goal": GOAL,
                "holds": ratio <= GOAL,
            }
        )
    return rows


def _campaign(folder: Path, size: int) -> Campaign:
    folder.mkdir()
    config = {
        "name": "round",
        "label": {
            "classes": [f"class {i}" for i in range(CLASSES)],
            "oracle": "file_labels",
            "budget": 10**6,
            "seed": 50,
        },
        "query": {"strategy": "margin", "batch": BATCH, "candidates": {"count": 1000}},
        "learn": {"method": "head"},
    }
    (folder / "round.yaml").write_text(json.dumps(config))
    campaign = start_run(load_config(folder / "round.yaml"), folder / "run")
    _add(campaign, size)
    return campaign


def _seconds(campaign: Campaign) -> list[float]:
    """Of each round after the first two, which load code and pages."""
    return [sum(row["seconds"].values()) for row in campaign.metrics() if row["round"] >= 2]


def _add(campaign: Campaign, count: int) -> None:
    """Documents in the pool, and their vectors in the store."""
    known = len(campaign.retriever.store)
    for start in range(known, known + count, CHUNK):
        numbers = range(start + 1, min(start + CHUNK, known + count) + 1)
        vectors, classes = made_up(start, len(numbers), CLASSES)
        public_ids = [hashlib.sha256(b"%d" % number).hexdigest()[:32] for number in numbers]
        rows = [
            {"id": i, "public_id": p, "text": f"Document {i}.", "label": f"class {c}", "state": "pool", "found": 0.0}
            for i, p, c in zip(numbers, public_ids, classes.tolist(), strict=True)
        ]
        with campaign.database.write() as connection:
            connection.execute(document.insert(), rows)
        keys = np.array([key_of(public_id) for public_id in public_ids], np.uint64)
        campaign.retriever.store.append(np.array(numbers), keys, vectors)
