"""Runs whose decision log is real (recorded and exported as the loop does it) and whose rewards are made up."""

import json
from pathlib import Path

import numpy as np

from discover.db import Database, now
from discover.pool.document import Document
from discover.pool.labels import Multiclass
from discover.query.decisions import Audit, export, record, set_reward
from discover.query.strategy import load_strategy
from discover.query.view import View
from discover.run import RunFolder
from discover.tables import document, pick

N, CLASSES = 12, 3


def make_run(
    root: Path, *, rounds=3, batch=2, strategy="margin", temperature=0.5, seed=0, rewarded="pick"
) -> RunFolder:
    """A run folder with its decision log: the seed labels, which are never rewarded, and the rounds after them."""
    folder = RunFolder(root)
    folder.create()
    database = Database(f"sqlite:///{folder.database}")
    ids = _documents(database, seed)
    for round_ in range(rounds + 1):
        _round(database, folder, ids, (round_, batch, strategy, temperature, seed), rewarded)
    export(database, folder.decisions, Multiclass(), root.name)
    database.close()
    return folder


def lines_of(folder: RunFolder) -> list[dict]:
    """The lines of the exported log."""
    return [json.loads(line) for line in folder.decisions.read_text().splitlines()]


def rewrite(folder: RunFolder, change) -> None:
    """Pass each line through a function; None drops it."""
    changed = [change(dict(line)) for line in lines_of(folder)]
    folder.decisions.write_text("".join(json.dumps(line) + "\n" for line in changed if line is not None))


def _documents(database: Database, seed: int) -> np.ndarray:
    made = sorted((Document(f"run {seed}, a text about number {i}") for i in range(N + 2)), key=lambda d: d.public_id)
    with database.write() as connection:
        return np.array(
            [
                connection.execute(
                    document.insert().values(public_id=one.public_id, text=one.text, state="pool", found=now())
                ).inserted_primary_key[0]
                for one in made
            ]
        )


def _round(database, folder, ids, drawn, rewarded):
    round_, batch, strategy, temperature, seed = drawn
    rng = np.random.default_rng([seed, round_])
    probabilities = rng.dirichlet(np.ones(CLASSES), N)
    view = View(
        ids=ids[:N],
        generator=np.array(["uniform", "newest"] * (N // 2)),
        age=np.arange(N, dtype=float),
        costs=np.ones(N),
        temperature=temperature,
        floor=0.1 if temperature else 0.0,
        make_vectors=lambda: rng.normal(size=(N, 4)).astype(np.float32),
        make_probabilities=lambda: probabilities,
    )
    word = strategy if round_ else "random"
    picks = load_strategy(word)(view, batch, rng)
    name = f"{strategy}-{round_:04d}"
    row = {"id": name, "arm": strategy, "round": round_, "strategy": word, "policy": None, "model": None, "seed": seed}
    with database.write() as connection:
        record(connection, folder, row, view, picks, Audit(ids[N:][:1], np.array([-1.0])))
        if not round_:
            return
        set_reward(connection, name, float(rng.normal()), "test")
        if rewarded == "pick":
            for position, index in enumerate(picks.indices):
                worth = 1 - probabilities[index].max() + 0.1 * rng.normal()
                chosen = (pick.c.query_id == name) & (pick.c.position == position)
                connection.execute(pick.update().where(chosen).values(pick_reward=float(worth)))
