"""Kill -9 at 100 random moments: every run must end as the unkilled one."""

import random
import shutil
import tempfile
from pathlib import Path
from typing import Any

from tests.commands import attempt
from tests.kills import decisions_of, metrics_without_times, write_inputs

KILLS = 100


def measure() -> list[dict[str, Any]]:
    """One row: how many kills were survived, over runs that are killed ten times each."""
    rng = random.Random(1)
    survived = kills = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = str(write_inputs(folder))
        attempt(["import", config, str(folder / "documents.jsonl.gz"), "--run", str(folder / "imported")])
        shutil.copytree(folder / "imported", folder / "unkilled")
        seconds = attempt(["run", config, "--run", str(folder / "unkilled")])["seconds"]
        for number in range(KILLS // 10):
            run = folder / f"killed-{number}"
            shutil.copytree(folder / "imported", run)
            statuses = [
                attempt(["run", config, "--run", str(run)], kill_after=rng.uniform(0.05, 0.4) * seconds)["status"]
                for _ in range(10)
            ]
            kills += sum(status == -9 for status in statuses)
            attempt(["run", config, "--run", str(run)])
            same = metrics_without_times(run) == metrics_without_times(folder / "unkilled")
            same = same and decisions_of(run) == decisions_of(folder / "unkilled")
            survived += sum(status == -9 for status in statuses) if same else 0
    row = {"name": "kills survived", "value": survived, "unit": "kills", "peer": "kills", "peer_value": kills}
    return [{**row, "ratio": survived / max(1, kills), "goal": 1.0, "holds": survived == kills and kills > 0}]
