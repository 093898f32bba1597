"""Choosing 50 from a million documents: time and memory against modAL's own query over the whole pool.

The pool is made up as in `round`; each side is a process of its own, whose resident memory is its peak. Ours draws
candidates through the index and lets the heaviest strategy choose among them, with the packaged encoder loaded;
modAL's margin sampling goes through all vectors with scikit-learn's logistic regression. Besides: documents a second
that the index takes in while another thread searches, what it finds of the ten nearest, and BADGE on 20,000 candidates.
"""

import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover.embed.config import EncoderConfig
from discover.embed.encoder import Encoder
from discover.embed.index import Index
from discover.embed.vectors import VectorStore
from discover.learn.classifier import TextClassifier
from discover.learn.config import LearnConfig
from discover.learn.learner import Learner
from discover.query import candidates
from discover.query.config import CandidateConfig
from discover.query.strategy import load_strategy
from discover.query.view import View
from tests.benchmarks._data import made_up, made_up_classes

SIZE, GROWN, CLASSES, LABELS, BATCH = 1_000_000, 20_000, 77, 500, 50
TURNS, STOCK_TURNS, STRATEGY = 40, 3, "clustered_density_margin"
VERSION, DIMENSION, CHUNK = "made-up", 384, 50_000
SECONDS, GIGABYTES, TIMES, RECALL, PER_SECOND = 1.0, 2.5, 20.0, 0.95, 2_000


def measure() -> list[dict[str, Any]]:
    """Rows of time, memory, and the index."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _fill(_store(folder), SIZE)
        Index(_store(folder), folder)  # built once, and saved
        ours, stock = (_in_a_process(side, folder) for side in ("ours", "stock"))
        found = _recall(folder)
        taken_in = _grown(folder)
    worst, usual = float(np.percentile(ours["seconds"], 95)), float(np.median(ours["seconds"]))
    theirs = float(np.median(stock["seconds"]))
    badge = _badge()
    return [
        _row("choose 50 of 1,000,000, 95th percentile", worst, "s", None, None, SECONDS, worst <= SECONDS),
        _row("choose 50 of 1,000,000, median", usual, "s", "modAL, whole pool", theirs, TIMES, theirs / usual >= TIMES),
        _row(
            "choose, resident", ours["gb"], "GB", "modAL, whole pool", stock["gb"], GIGABYTES, ours["gb"] <= GIGABYTES
        ),
        _row("index, found of the ten nearest", found, "share", "exact", 1.0, RECALL, found >= RECALL),
        _row("index, added while searched", taken_in, "docs/s", None, None, PER_SECOND, taken_in >= PER_SECOND),
        _row("BADGE, 50 of 20,000, 77 classes", badge, "s", None, None, SECONDS, badge <= SECONDS),
    ]


def ours(folder: Path) -> dict[str, Any]:
    """Seconds of each choice, as a round makes it."""
    store = _store(folder)
    index = Index(store, folder)
    encoder = Encoder(EncoderConfig())
    rng = np.random.default_rng(0)
    answered = np.sort(rng.choice(SIZE, LABELS, replace=False))
    names = {f"class {one}": "" for one in range(CLASSES)}
    classifier = TextClassifier(
        encoder,
        lambda ids: [f"Document {i}." for i in ids],
        names,
        LearnConfig(method="head"),
        0,
        vectors=store.vectors,
    )
    learner, strategy = Learner(classifier), load_strategy(STRATEGY)
    learner.teach(answered, _class_of(answered))
    asked, uncertain, seconds = answered, np.empty(0, np.int64), []
    for turn in range(TURNS):
        started = time.perf_counter()
        drawn = candidates.draw(
            index,
            excluded=asked,
            labelled=asked[::-1],
            classes=_class_of(asked[::-1]),
            uncertain=uncertain,
            config=CandidateConfig(),
            seed=turn,
        )
        view = View(
            ids=drawn.ids,
            generator=drawn.generator,
            age=np.zeros(len(drawn)),
            costs=np.ones(len(drawn)),
            temperature=0.05,
            floor=0.1,
            make_vectors=lambda ids=drawn.ids: store.vectors(ids),
            make_probabilities=lambda ids=drawn.ids: learner.predict_proba(ids),
            make_crowd=lambda ids=drawn.crowd: (ids, store.vectors(ids)),
            make_labelled_vectors=lambda: store.vectors(answered),
            make_labels=lambda: _class_of(answered),
        )
        picks = learner.query(view.ids, strategy(view, BATCH, np.random.default_rng(turn)))
        seconds.append(time.perf_counter() - started)
        uncertain = candidates.most_uncertain(view)
        asked = np.concatenate([asked, view.ids[picks.indices]])
    return {"seconds": seconds, "gb": _peak()}


def stock(folder: Path) -> dict[str, Any]:
    """Seconds of modAL's margin sampling over the whole pool."""
    from modAL.models import ActiveLearner
    from modAL.uncertainty import margin_sampling
    from sklearn.linear_model import LogisticRegression

    store = _store(folder)
    pool = store.rows(0, SIZE)
    answered = np.sort(np.random.default_rng(0).choice(SIZE, LABELS, replace=False))
    estimator = LogisticRegression().fit(pool[answered], _class_of(answered))
    learner, seconds = ActiveLearner(estimator, query_strategy=margin_sampling), []
    for _ in range(STOCK_TURNS):
        started = time.perf_counter()
        learner.query(pool, n_instances=BATCH)
        seconds.append(time.perf_counter() - started)
    return {"seconds": seconds, "gb": _peak()}


def _grown(folder: Path) -> float:
    """Documents a second that the index takes in while another thread searches without pause."""
    store = _store(folder)
    index, queries, ended = Index(store, folder), store.rows(0, 16), threading.Event()
    _fill(store, GROWN)

    def search() -> None:
        while not ended.is_set():
            index.search(queries, 100)

    searching = threading.Thread(target=search)
    searching.start()
    started = time.perf_counter()
    added = index.update()
    took = time.perf_counter() - started
    ended.set()
    searching.join()
    return added / took


def _recall(folder: Path) -> float:
    """Share of the ten nearest that are found of new documents."""
    store, queries = _store(folder), made_up(SIZE, 100, CLASSES)[0]
    best = np.empty((len(queries), 0), np.float32)
    for start in range(0, len(store), CHUNK):
        found = queries @ store.rows(start, min(start + CHUNK, len(store))).T
        best = -np.partition(-np.concatenate([best, found], axis=1), 9, axis=1)[:, :10]
    return float((Index(store, folder).search(queries, 10)[0] >= best.min(axis=1, keepdims=True) - 1e-5).mean())


def _badge() -> float:
    rng = np.random.default_rng(0)
    vectors, n = made_up(0, 20_000, CLASSES)[0], 20_000
    likely = rng.dirichlet(np.full(CLASSES, 0.1), n)
    view = View(
        ids=np.arange(n),
        generator=np.full(n, "uniform"),
        age=np.zeros(n),
        costs=np.ones(n),
        temperature=0.05,
        floor=0.1,
        make_vectors=lambda: vectors,
        make_probabilities=lambda: likely,
    )
    badge, seconds = load_strategy("badge"), []
    for turn in range(5):
        started = time.perf_counter()
        badge(view, BATCH, np.random.default_rng(turn))
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds))


def _store(folder: Path) -> VectorStore:
    return VectorStore(folder, VERSION, DIMENSION)


def _fill(store: VectorStore, count: int) -> None:
    for start in range(len(store), len(store) + count, CHUNK):
        ids = np.arange(start, start + min(CHUNK, count))
        keys = np.random.default_rng(start).integers(2**64, size=len(ids), dtype=np.uint64)
        store.append(ids, keys, made_up(start, len(ids), CLASSES)[0])


def _class_of(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Classes of row ids, as `_fill` made them."""
    blocks = {start: made_up_classes(start, CHUNK, CLASSES) for start in np.unique(ids // CHUNK * CHUNK).tolist()}
    return np.array([blocks[row // CHUNK * CHUNK][row % CHUNK] for row in ids.tolist()], np.int64)


def _in_a_process(side: str, folder: Path) -> dict[str, Any]:
    code = f"import json, pathlib, sys; from tests.benchmarks.choose import {side}; "
    code += f"print(json.dumps({side}(pathlib.Path(sys.argv[1]))))"
    ended = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(f"{side} must exit with 0, but: {ended.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


def _peak() -> float:
    """The most memory that was resident, in GB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2)


def _row(
    name: str, value: float, unit: str, peer: str | None, peer_value: float | None, goal: float, holds: bool
) -> dict[str, Any]:
    ratio = None if peer_value is None else round(peer_value / value, 3)
    found = {"name": name, "value": round(value, 4), "unit": unit, "peer": peer, "peer_value": peer_value}
    return found | {"ratio": ratio, "goal": goal, "holds": holds}
