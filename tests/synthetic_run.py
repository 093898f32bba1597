"""A made-up run in a real database, of the size of the demo: what the report's tests draw, and what one can look at.

`python -m tests.synthetic_run FOLDER` writes its report there.
"""

import hashlib
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from discover.config import Config
from discover.db import Database
from discover.evaluate import audit, metrics, report
from discover.run import RunFolder
from discover.tables import document, metric, pick, query, rejection, slot, source, step, url

CLASSES = {
    "Text Processing Services": "strings, regular expressions, diffs, wrapping",
    "Data Types": "dates, collections, heaps, enumerations, copies",
    "Numeric and Mathematical Modules": "numbers, fractions, statistics, random",
    "Functional Programming Modules": "iterators, operators, higher-order functions",
    "File and Directory Access": "paths, temporary files, globbing",
    "Data Persistence": "pickles, shelves, SQLite",
    "Concurrent Execution": "threads, processes, queues",
    "Networking": "sockets, event loops, TLS",
    "Internet Protocols": "HTTP, URLs, mail and FTP clients",
    "Development Tools": "tests, doctests, documentation",
    "Tk": "windows, widgets, turtles",
    "Cryptographic Services": "hashes, secrets",
}
TEXTS = (
    "Return a copy of the string with all occurrences of substring old replaced by new, as many as count says.",
    "Remove and return the smallest item of the heap; raise IndexError where it is empty. The invariant holds after.",
    "Wait until the event is set or the timeout, in seconds, has run out; tell which by the value that is returned.",
    "Open a connection to the address (host, port) and return the socket object, trying each family in turn.",
    "Bind a function to an event of this widget: <b>Key</b>, Button & Motion; the callable is given the event.",
    "Make an iterator that yields overlapping pairs taken from the input, one shorter than the input itself.",
)


def make(root: Path, arms=("margin", "random"), rounds=9, test=800, people=False, sick="", documents=4700) -> tuple:
    """Returns (RunFolder, Database, Config); ``sick`` is put into every text that a page could have brought."""
    run = RunFolder(root)
    run.create()
    database = Database(f"sqlite:///{run.database}")
    rng = np.random.default_rng(4)
    config = Config.model_validate(
        {
            "name": f"synthetic{sick}".replace("/", ""),
            "label": {
                "classes": {name + sick: text for name, text in CLASSES.items()},
                "question": f"To which chapter of the Python Library Reference does this entry belong?{sick}",
                "oracle": "people" if people else "page_table",
                "budget": 500,
                "seed": 60,
            },
            "loop": {"arms": list(arms) if len(arms) > 1 else [], "test": 0 if people else test},
            "query": {"strategy": arms[0]},
            "pool": {"url": "postgresql+psycopg://ada:hunter2@db.example/discover"},
        }
    )
    public_ids = _documents(database, rng, sick, documents)
    shares = rng.dirichlet(np.linspace(3, 0.25, len(CLASSES)))
    truth = rng.choice(len(CLASSES), test, p=shares)
    difficulty = rng.uniform(size=test)
    for arm in arms:
        for round_ in range(rounds):
            _round(run, database, rng, arm, round_, public_ids, (truth, difficulty), people, list(CLASSES), sick)
    return run, database, config


def _documents(database, rng, sick, n):
    texts = [f"{TEXTS[i % len(TEXTS)]} Entry {i}.{sick}" for i in range(n)]
    public_ids = [hashlib.sha256(text.encode()).hexdigest()[:32] for text in texts]
    states = rng.choice(["pool", "duplicate", "aside"], len(texts), p=[0.82, 0.12, 0.06])
    rows = [
        {
            "id": i + 1,
            "public_id": public_id,
            "text": text,
            "title": f"entry_{i}",
            "state": str(state),
            "split": "test" if i % 5 == 0 else "train",
            "reason": "no single answer" if state == "aside" else "",
            "found": 1.0,
        }
        for i, (public_id, text, state) in enumerate(zip(public_ids, texts, states, strict=True))
    ]
    with database.write() as connection:
        connection.execute(document.insert(), rows)
        connection.execute(
            source.insert(), [{"document_id": row["id"], "address": f"http://127.0.0.1/{row['id']}"} for row in rows]
        )
        bad = [("short", 210), ("long", 3), (f"not text{sick}", 14), ("language", 37)]
        connection.execute(
            rejection.insert(),
            [{"address": f"a{i}", "reason": why, "found": 1.0} for why, n in bad for i in range(n)],
        )
        pages = [("done", 446), ("failed", 4)]
        connection.execute(
            url.insert(),
            [{"address": f"{state}{i}", "host": "127.0.0.1", "state": state} for state, n in pages for i in range(n)],
        )
    return public_ids


def _round(run, database, rng, arm, round_, public_ids, test, people, classes, sick):
    labels, batch, start = 60 + 55 * round_, (55 if round_ else 60), (0 if arm != "random" else len(public_ids) // 2)
    gain = 0.35 if arm != "random" else 0.31
    chance = 0.36 + gain * (1 - np.exp(-labels / 190))
    truth, difficulty = test
    right = difficulty + rng.normal(0, 0.06, len(truth)) < chance
    predicted = np.where(right, truth, (truth + 1 + rng.geometric(0.55, len(truth))) % len(classes))
    confidence = np.clip(0.25 + 0.6 * (1 - difficulty) + rng.normal(0, 0.1, len(truth)), 1 / len(classes), 1)
    answered = audit.estimate(rng.uniform(size=3 * round_) < chance)
    audited = {"n": answered.n, "accuracy": answered.value, "low": answered.low, "high": answered.high}
    low, high = metrics.wilson(int((predicted == truth).sum()), len(truth))
    row = {"round": round_, "arm": arm, "strategy": arm, "labels": labels, "pool": 3080, "model": f"{arm}-{round_:04d}"}
    row |= {"source": "test", "accuracy": metrics.accuracy(predicted, truth), "low": low, "high": high}
    row |= {"macro_f1": metrics.macro_f1(predicted, truth), "ece": float(0.19 - 0.011 * round_ + rng.normal(0, 0.008))}
    row |= {"audit": audited if answered.n else None, "asked": batch}
    row["per_class"] = metrics.per_class(predicted, truth, [name + sick for name in classes])
    times = (("query", 1.1), ("answer", 0.2), ("teach", 5.5), ("evaluate", 2.2))
    row["seconds"] = {stage: float(rng.gamma(20, scale / 20)) for stage, scale in times}
    row["seconds"] |= {"intake": 4.2, "embed": 31.0} if round_ == 0 and arm != "random" else {}
    output = {"predictions": predicted.tolist(), "truth": truth.tolist(), "confidence": confidence.tolist()}
    if people:
        row |= {"source": "audit", "per_class": None, "macro_f1": None, "ece": None}
        row |= {key: audited[key] if answered.n else None for key in ("accuracy", "low", "high")}
        output = {}
    n = 2000
    name = f"{arm}-{round_:04d}"
    chosen = [start + 70 * round_ + i for i in range(batch)]
    margins = np.sort(rng.beta(1, 3, batch)).astype(np.float32)
    save_file(
        {
            "public_ids": np.array([list(bytes.fromhex(public_ids[i])) for i in chosen], np.uint8),
            "features": np.stack([margins, rng.uniform(size=batch)], 1).astype(np.float32),
            "mask": np.ones(batch, bool),
            "generator": np.zeros(batch, np.uint8),
            "picked": np.arange(batch),
            "log_propensities": np.full(batch, -np.log(n)),
        },
        run.decision_arrays / f"{name}.safetensors",
        {"features": "margin,entropy", "generators": "uniform", "temperature": "0.0", "floor": "0.0"},
    )
    kinds = ["audit" if round_ and i % 10 == 9 else "policy" for i in range(batch)]
    with database.write() as connection:
        connection.execute(metric.insert().values(arm=arm, round=round_, row=row))
        connection.execute(step.insert().values(arm=arm, round=round_, step="evaluate", output=output, seconds=1))
        connection.execute(
            query.insert().values(
                id=name,
                arm=arm,
                round=round_,
                candidates=n,
                strategy=arm if round_ else "random",
                model=f"{arm}-{round_ - 1:04d}" if round_ else None,
                temperature=0.05,
                seed=7,
            )
        )
        generators = rng.choice(["uniform", "neighbours", "uncertain", "newest"], batch)
        connection.execute(
            pick.insert(),
            [
                {
                    "query_id": name,
                    "position": i,
                    "document_id": chosen[i] + 1,
                    "kind": kinds[i],
                    "generator": str(generators[i]) if kinds[i] == "policy" else "",
                    "utility": float(1 - margins[i]) if kinds[i] == "policy" else None,
                    "log_propensity": float(np.log((1 + 9 * (1 - margins[i]) ** 4) / n)),
                }
                for i in range(batch)
            ],
        )
        connection.execute(
            slot.insert(),
            [
                {
                    "arm": arm,
                    "round": round_,
                    "position": i,
                    "document_id": chosen[i] + 1,
                    "kind": kinds[i],
                    "state": "skipped" if i == 3 else "answered",
                    "label": None if i == 3 else classes[chosen[i] % len(classes)] + sick,
                    "cost": 0.0 if i == 3 else 1.0,
                }
                for i in range(batch)
            ],
        )


if __name__ == "__main__":
    folder, opened, settings = make(Path(sys.argv[1]))
    print(report.write(folder, opened, settings))
    print(report.verdict(opened, settings))
