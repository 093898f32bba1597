"""A round's time against the pool's size: candidates, probabilities, strategy, log, queue and training; not embedding.

Real database, store, index, strategy, log and frozen-head learner, in a temporary folder; vectors are random, of 32
dimensions turned into 384, as a text encoder's lie near a thin sheet. Every timed round follows an append, so that
nothing cached from the round before makes it look faster. 1,000 candidates, so that the smallest pool has as many.
`choosing` is the part before training: it holds all that can grow with the pool.
"""

import hashlib
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from discover.db import Database, document
from discover.embed.config import EncoderConfig
from discover.embed.encoder import Encoder
from discover.embed.index import Index
from discover.embed.vectors import VectorStore, key_of
from discover.label.queue import Queue
from discover.learn.classifier import TextClassifier
from discover.learn.config import LearnConfig
from discover.learn.learner import Learner
from discover.query import candidates, decisions
from discover.query.config import CandidateConfig
from discover.query.strategy import load_strategy
from discover.query.view import View
from discover.run import RunFolder

SIZES = (2_000, 20_000, 200_000)
ROUNDS, BATCH, NEW, CLASSES = 9, 50, 20, 24
LATENT, DIMENSION, CHUNK = 32, 384, 2_048
GOAL = 1.3
SETTINGS = CandidateConfig(count=1_000)


class Pool:
    """A made-up run with a pool of some size."""

    def __init__(self, root: Path, size: int, encoder: Encoder):
        self.folder = RunFolder(root)
        self.folder.create()
        self.database = Database(f"sqlite:///{self.folder.database}")
        self.queue = Queue(self.database, lease_minutes=30)
        self.rng = np.random.default_rng(size)
        self.teacher = np.random.default_rng(1).normal(size=(DIMENSION, CLASSES))
        self.sheet = np.random.default_rng(0).normal(size=(LATENT, DIMENSION)).astype(np.float32)
        self.store = VectorStore(self.folder.vectors, "bench", DIMENSION)
        for start in range(0, size, CHUNK):
            self.grow(min(CHUNK, size - start))
        self.index = Index(self.store, self.folder.vectors)
        self.round = 0
        classes = {f"class {number}": "" for number in range(CLASSES)}
        texts = TextClassifier(encoder, _texts, classes, LearnConfig(method="head"), seed=0, vectors=self.store.vectors)
        self.learner = Learner(texts)

    def grow(self, n: int) -> None:
        """Add n documents to the database and their vectors to the store."""
        first = len(self.store) + 1
        public_ids = [hashlib.sha256(b"%d" % number).hexdigest()[:32] for number in range(first, first + n)]
        vectors = self.rng.normal(size=(n, LATENT)).astype(np.float32) @ self.sheet
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        rows = [
            {"id": first + i, "public_id": public_id, "text": _text(first + i), "state": "pool", "found": 0.0}
            for i, public_id in enumerate(public_ids)
        ]
        with self.database.write() as connection:
            connection.execute(document.insert(), rows)
        keys = np.array([key_of(public_id) for public_id in public_ids], np.uint64)
        self.store.append(np.arange(first, first + n), keys, vectors)

    def learn(self) -> None:
        """Train on what was asked so far, answered by a linear rule."""
        ids = np.array(sorted(self.queue.asked("margin")), np.int64)
        self.learner.learn(ids, (self.store.vectors(ids) @ self.teacher).argmax(axis=1))

    def choose(self) -> None:
        """Choose a batch as the loop does, log it and put it on the queue."""
        name, seed = f"margin-{self.round:04d}", self.round
        asked = self.queue.asked("margin")
        audited = decisions.Audit(*candidates.draw_uniformly(self.store, asked, BATCH // 10, seed))
        drawn = candidates.draw(
            self.index,
            excluded=asked.union(audited.ids.tolist()),
            labelled=sorted(asked),
            uncertain=decisions.most_uncertain(
                self.database, self.folder, f"margin-{self.round - 1:04d}", SETTINGS.count
            ),
            config=SETTINGS,
            seed=seed,
        )
        view = View(
            ids=drawn.ids,
            generator=drawn.generator,
            age=np.zeros(len(drawn)),
            costs=np.ones(len(drawn)),
            temperature=0.05,
            floor=0.1,
            make_vectors=lambda: self.store.vectors(drawn.ids),
            make_probabilities=lambda: self.learner.predict_proba(drawn.ids),
        )
        picks = load_strategy("margin")(view, BATCH - len(audited.ids), np.random.default_rng(seed))
        row = {
            "id": name,
            "arm": "margin",
            "round": self.round,
            "strategy": "margin",
            "temperature": 0.05,
            "seed": seed,
        }
        asking = [*view.ids[picks.indices].tolist(), *audited.ids.tolist()]
        slots = [
            {"document_id": id_, "kind": "policy", "part": "", "position": place} for place, id_ in enumerate(asking)
        ]
        with self.database.write() as connection:
            decisions.record(connection, self.folder, {**row, "seed": seed}, view, picks, audited)
            self.queue.put(connection, "margin", self.round, slots)
        self.round += 1


def measure() -> list[dict[str, Any]]:
    """The median round of each larger pool against the smallest one's."""
    encoder = Encoder(EncoderConfig())
    with tempfile.TemporaryDirectory() as name:
        pools = {size: Pool(Path(name) / str(size), size, encoder) for size in SIZES}
        times: dict[int, list[tuple[float, float]]] = {size: [] for size in SIZES}
        for round_ in range(ROUNDS + 2):
            for size, pool in pools.items():  # in turn, so that a slow moment of the machine meets all of them
                pool.grow(NEW)
                pool.index.update()
                started = time.perf_counter()
                pool.choose()
                chosen = time.perf_counter()
                pool.learn()
                if round_ >= 2:  # the first ones load code and pages
                    times[size].append((chosen - started, time.perf_counter() - started))
        for pool in pools.values():
            pool.database.close()
    choosing, whole = ({size: statistics.median(column) for size, column in _columns(times, i)} for i in (0, 1))
    smallest = SIZES[0]
    return [
        {
            "name": f"round, pool of {size:,}",
            "value": round(whole[size], 4),
            "unit": "s",
            "peer": f"pool of {smallest:,}",
            "peer_value": round(whole[smallest], 4),
            "ratio": round(whole[size] / whole[smallest], 3),
            "goal": GOAL,
            "holds": whole[size] / whole[smallest] <= GOAL,
            "choosing": round(choosing[size], 4),
            "peer_choosing": round(choosing[smallest], 4),
        }
        for size in SIZES[1:]
    ]


def _columns(times: dict[int, list[tuple[float, float]]], which: int) -> Iterator[tuple[int, list[float]]]:
    for size, rows in times.items():
        yield size, [row[which] for row in rows]


def _text(number: int) -> str:
    return f"Document {number}."


def _texts(ids: Sequence[int]) -> list[str]:
    return [_text(number) for number in ids]
