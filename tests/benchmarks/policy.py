"""Is a learned policy worth it on corpora that it has not seen? Three folds of the English sets, related ones together.

For each fold a policy is trained on the other folds' corpora (and on made-up ones), frozen, and played on the fold's
against margin over the whole pool and other fixed policies, with the same seeds each: area under the macro-F1 curve
from 20 to 200 labels on the test documents. The same corpora are then played under a second encoder that no policy has
seen, tf-idf and its principal directions, against margin alone; and, likewise, with test documents of the pool's own
draw, as some sets' test documents were drawn from elsewhere (trec6's have other class shares), which no policy that
sees the pool can know. `BENCH_SEEDS` (48) and `BENCH_SETS` (names, by default all) make it shorter. Nothing is tuned on
the seeds played here.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

from discover.commands.policy import TESTED, played, read_corpora
from discover.policy.config import CorpusFiles, PolicyConfig
from discover.policy.corpus import Corpus, prepare
from discover.policy.learned import LEARNED
from discover.policy.saved import load_policy
from discover.policy.scorer import Scorer
from discover.policy.training import train
from discover.policy.trials import FIXED, REFERENCE, Rows, summary, table
from discover.pool.labelled import read_dataset, shortened
from discover.run import RunFolder
from tests.benchmarks._data import answerable, file_of
from tests.benchmarks._row import row

FOLDS = {
    "opinions": ("sst2", "mr", "imdb_5k", "mpqa", "financial_phrasebank_50"),
    "requests": ("trec6", "banking77", "clinc150_imbalanced", "clinc150_oos", "atis"),
    "news": ("ag_news_desc", "r8", "20newsgroups_stripped", "tweeteval_emotion", "sms_spam"),
}
DIRECTIONS = 256  # of the second encoder
SET_ASIDE = 5  # one document in so many, to test on what is drawn as the pool is
AS_THEY_ARE, BY_WORDS, OWN_DRAW = "on the sets' test documents", "under tf-idf", "on the pool's own draw"
SEEDS = int(os.environ.get("BENCH_SEEDS", "48"))
FOLDER = Path("runs/bench/policy")


def measure() -> list[dict[str, Any]]:
    """What the learned policy gains over margin, and over the best heuristic, with intervals over corpora."""
    wanted = os.environ.get("BENCH_SETS", "").split() or [name for names in FOLDS.values() for name in names]
    folder = RunFolder(FOLDER)
    folder.create(folder.vectors, folder.cells)
    corpora = read_all(folder)
    rows: dict[str, Rows] = {AS_THEY_ARE: [], BY_WORDS: [], OWN_DRAW: []}
    for fold, names in FOLDS.items():
        tested = [name for name in names if name in wanted]
        if not tested:
            continue
        scorer, card = load_policy(trained(fold, corpora, folder))
        both: dict[str, str | Scorer] = {REFERENCE: REFERENCE, LEARNED: scorer}
        for kind, policies, made in (
            (AS_THEY_ARE, {name: name for name in FIXED} | both, [corpora[name] for name in tested]),
            (BY_WORDS, both, [_by_words(name, folder) for name in tested]),
            (OWN_DRAW, both, [_set_aside(corpora[name]) for name in tested]),
        ):
            rows[kind] += played(folder, made, policies, card["sha256"], SEEDS, PolicyConfig().episode)
    found = {kind: summary(one, np.random.default_rng(0)) for kind, one in rows.items()}
    print("\n".join(line for kind, one in found.items() for line in (kind, *table(one))), flush=True)
    gains = {(kind, one["policy"], one["metric"]): one for kind in found for one in found[kind]["gains"]}
    mean = gains[AS_THEY_ARE, LEARNED, "macro_f1"]
    over = mean["mean"] - gains[AS_THEY_ARE, "clustered_density_margin", "macro_f1"]["mean"]
    low = mean["interval"][0] if mean["interval"] else float("nan")
    other = gains[BY_WORDS, LEARNED, "macro_f1"]["mean"]
    told = [
        row("learned over margin, macro-F1", mean["mean"], "area", 0.025, mean["mean"] >= 0.025),
        row("learned over margin, lower end over corpora", low, "area", 0.010, low >= 0.010),
        row("learned over clustered density margin", over, "area", 0.010, over >= 0.010),
        row(f"learned over margin, macro-F1, {BY_WORDS}", other, "area", 0, other > 0),
    ]
    for kind in (AS_THEY_ARE, OWN_DRAW):
        worst = min(gain for gain, _ in gains[kind, LEARNED, "accuracy"]["datasets"].values())
        saved = next(one["mean"] for one in found[kind]["savings"] if one["policy"] == LEARNED)
        told += [
            row(f"learned over margin, accuracy, worst corpus, {kind}", worst, "area", -0.010, worst >= -0.010),
            row(f"share of margin's labels that learned saves, {kind}", saved, "share", 0.2, saved >= 0.2),
        ]
    return told


def read_all(folder: RunFolder) -> dict[str, Corpus]:
    """The corpora of every fold, by name."""
    return {name: _corpus(name, folder) for names in FOLDS.values() for name in names}


def trained(fold: str, corpora: Mapping[str, Corpus], folder: RunFolder) -> Path:
    """The policy that has learned on the corpora of the other folds; trained where it is not yet there."""
    others = [corpus for name, corpus in corpora.items() if name not in FOLDS[fold]]
    train(others, PolicyConfig(name=fold), folder.root / fold)
    return folder.root / fold / "policy"


def _corpus(name: str, folder: RunFolder) -> Corpus:
    files = CorpusFiles(train=file_of(name, "train"), test=answerable(name, folder.root))
    return read_corpora([files], PolicyConfig().documents, folder)[0]


def _set_aside(corpus: Corpus) -> Corpus:
    """The corpus tested on a part of its own documents; they come as a uniform draw, so the first ones will do."""
    part = len(corpus) // SET_ASIDE
    left, tested = slice(part, None), slice(part)
    return replace(
        corpus,
        name=f"{corpus.name}, own draw",
        vectors=corpus.vectors[left],
        labels=corpus.labels[left],
        test_vectors=corpus.vectors[tested],
        test_labels=corpus.labels[tested],
        density=corpus.density[left],
        cluster=corpus.cluster[left],
    )


def _by_words(name: str, folder: RunFolder) -> Corpus:
    """What `_corpus` has under the second encoder, which is fitted to the pool alone (Deerwester et al. 1990)."""
    files = read_dataset(file_of(name, "train"), answerable(name, folder.root))
    files = shortened(files, PolicyConfig().documents, TESTED)
    weights = TfidfVectorizer(sublinear_tf=True, min_df=2)
    reduce = TruncatedSVD(DIRECTIONS, random_state=0)
    pool = normalize(reduce.fit_transform(weights.fit_transform(files.texts[: files.n]))).astype(np.float32)
    test = normalize(reduce.transform(weights.transform(files.texts[files.n :]))).astype(np.float32)
    return prepare(f"{name}, tf-idf", pool, files.y[files.pool], test, files.y[files.test])
