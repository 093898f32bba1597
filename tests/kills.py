"""A small campaign, and what is compared of two runs of it: what the resume test and `make bench BENCH=kills` share."""

import gzip
import json
import random
from pathlib import Path

from discover.campaign import Campaign, open_run
from discover.config import load_config
from discover.embed.transformer import PACKAGED
from discover.loop import run_rounds
from discover.pool.files import import_files
from discover.start import start_run

CLASSES = {
    "recall": "a product is called back because it is dangerous",
    "weather": "rain, sun, storms and temperatures",
    "football": "matches, goals, players and clubs",
    "recipe": "how to cook a dish",
}
WORDS = {
    "recall": ["recall", "defect", "customers", "return", "refund", "brake", "battery", "fire", "risk", "model"],
    "weather": ["rain", "storm", "wind", "sunny", "cloud", "degrees", "forecast", "snow", "coast", "morning"],
    "football": ["goal", "striker", "league", "coach", "penalty", "half", "club", "fans", "score", "keeper"],
    "recipe": ["butter", "oven", "flour", "simmer", "garlic", "stir", "onion", "minutes", "pan", "sauce"],
}
FILLER = ["today", "people", "said", "near", "after", "several", "again", "quite", "local", "early", "new", "report"]


def write_inputs(folder: Path, documents: int = 260, method: str = "head", encoder: str | Path = PACKAGED) -> Path:
    """A small labelled file, drawn from overlapping vocabularies, and a config for a two-arm campaign on it."""
    rng = random.Random(7)
    names = list(CLASSES)
    with gzip.open(folder / "documents.jsonl.gz", "wt", encoding="utf-8") as lines:
        for number in range(documents):
            label = names[min(rng.randrange(6), 3)]
            own = rng.choices(WORDS[label], k=rng.randrange(2, 6))
            other = rng.choices(WORDS[rng.choice(names)], k=3)
            words = own + other + rng.choices(FILLER, k=rng.randrange(3, 30))
            rng.shuffle(words)
            row = {
                "text": f"{' '.join(words)} {number}",
                "label": label,
                "split": "test" if number % 5 == 0 else "train",
            }
            lines.write(json.dumps(row) + "\n")
    config = {
        "name": "kills",
        "encoder": {"model": str(encoder)},
        "label": {"classes": CLASSES, "oracle": "file_labels", "budget": 44, "seed": 12, "audit": 0.25},
        "query": {"strategy": "margin", "batch": 8, "candidates": {"count": 60}},
        "learn": {"method": method, "epochs": 3, "steps": 5},
        "loop": {"arms": ["margin", "random"]},
    }
    path = folder / "kills.yaml"
    path.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
    return path


def play_rounds(config: Path, root: Path, *rounds: int | None) -> Campaign:
    """A run by several commands, each of so many rounds."""
    campaign = start_run(load_config(config), root)
    import_files(campaign.pool, [config.parent / "documents.jsonl.gz"], campaign.labels)
    for count in rounds:
        campaign.close()
        campaign = open_run(root)
        run_rounds(campaign, count)
    return campaign


def metrics_without_times(run: Path) -> list[dict]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def curves_of(run: Path) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """What TensorBoard shows of each of its runs, without what depends on the clock."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = {}
    for file in sorted((run / "tensorboard").rglob("*tfevents*")):
        shown = EventAccumulator(str(file)).Reload()
        curves = [curve for curve in shown.Tags()["scalars"] if not curve.startswith("seconds/")]
        points = {curve: [(point.step, point.value) for point in shown.Scalars(curve)] for curve in curves}
        found[str(file.parent.relative_to(run / "tensorboard"))] = points
    return found


def decisions_of(run: Path) -> list[str]:
    return (run / "decisions.jsonl").read_text(encoding="utf-8").splitlines()
