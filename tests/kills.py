"""Runs `discover` many times and kills it: what the resume test and `make bench BENCH=kills` share.

A server process imports everything once and forks for each attempt, so that an attempt costs tenths of a second and not
the seconds that importing torch takes. The attempt itself is the real command.
"""

import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

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


def write_inputs(folder: Path, documents: int = 260, method: str = "head") -> Path:
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
        "label": {"classes": CLASSES, "oracle": "file_labels", "budget": 44, "seed": 12, "audit": 0.25},
        "query": {"strategy": "margin", "batch": 8, "candidates": {"count": 60}},
        "learn": {"method": method, "epochs": 3, "steps": 5},
        "loop": {"arms": ["margin", "random"]},
    }
    path = folder / "kills.yaml"
    path.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
    return path


class Server:
    """The forking server."""

    def __enter__(self) -> "Server":
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "2"}
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        return self

    def __exit__(self, *_exception: object) -> None:
        with self.process:  # closes its pipes, which ends it
            pass

    def run(self, arguments: list[str], crash_at: str = "", kill_after: float | None = None, signal_: int = 9) -> dict:
        """One attempt; ``status`` is negative when a signal ended it, as in `subprocess`."""
        request = {"arguments": arguments, "crash_at": crash_at, "kill_after": kill_after, "signal": signal_}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


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


def _serve() -> None:
    import discover.cli
    import discover.loop

    for line in sys.stdin:
        request = json.loads(line)
        started = time.monotonic()
        child = os.fork()
        if child == 0:
            os.environ["DISCOVER_CRASH_AT"] = request["crash_at"]
            log = os.open(
                os.devnull if not os.environ.get("KILLS_LOG") else os.environ["KILLS_LOG"], 0o2001 | os.O_CREAT
            )
            os.dup2(log, 1)
            os.dup2(log, 2)
            os._exit(discover.cli.main(request["arguments"]))
        status = _wait(child, request["kill_after"], request["signal"], started)
        answer = {"status": os.waitstatus_to_exitcode(status), "seconds": time.monotonic() - started}
        print(json.dumps(answer), flush=True)


def _wait(child: int, kill_after: float | None, signal_: int, started: float) -> int:
    while kill_after is not None:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        if time.monotonic() - started >= kill_after:
            os.kill(child, signal.Signals(signal_))
            break
        time.sleep(0.005)
    return os.waitpid(child, 0)[1]


if __name__ == "__main__":
    _serve()
