"""Small labelled files, and what plays on them quickly: for the tests of simulated campaigns."""

import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import HashingVectorizer

from discover.pool.labelled import read_dataset
from discover.simulate import Arena
from tests.kills import CLASSES, FILLER, WORDS

LEARNER = '''
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

def hashed(*, C: float = 10.0):
    return make_pipeline(HashingVectorizer(n_features=256), LogisticRegression(C=C, max_iter=200))

class Surest:
    """Knows nothing, whatever it is told."""
    def fit(self, texts, labels):
        self.labels = sorted(set(labels))
    def predict_proba(self, texts):
        return [[1 / len(self.labels)] * len(self.labels) for _ in texts]

class Random(Surest):
    """No two fits are alike."""
    def predict_proba(self, texts):
        import numpy
        return numpy.random.default_rng().dirichlet([0.1] * len(self.labels), len(texts))

class Broken(Surest):
    def fit(self, texts, labels):
        raise ValueError("no such luck")

class Renamed(Surest):
    classes_ = [0, 1, 2, 3]

class Wide(Surest):
    def predict_proba(self, texts):
        return [[0.5] * 9 for _ in texts]

class Percent(Surest):
    def predict_proba(self, texts):
        return [[100 / len(self.labels)] * len(self.labels) for _ in texts]

number = 7
'''


class Hashed:
    """An encoder that takes no time: hashed words, of length one."""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        return HashingVectorizer(n_features=32).transform(texts).toarray().astype(np.float32)


def rows(count: int, seed: int) -> list[dict[str, str]]:
    """Texts of overlapping vocabularies, skewed towards the last class; no two of them alike, whatever the seed."""
    rng, names, made = random.Random(seed), list(CLASSES), []
    for number in range(count):
        label = names[min(rng.randrange(6), 3)]
        words = rng.choices(WORDS[label], k=rng.randrange(1, 4)) + rng.choices(WORDS[rng.choice(names)], k=2)
        words += rng.choices(FILLER, k=rng.randrange(3, 12))
        rng.shuffle(words)
        made.append({"text": f"{' '.join(words)} {seed}x{number}", "label": label})
    return made


def write(path: Path, content: Sequence[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
    return path


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_pair(folder: Path, train: int = 150, test: int = 60, name: str = "words") -> tuple[Path, Path]:
    return write(folder / f"{name}.train.jsonl", rows(train, 1)), write(folder / f"{name}.test.jsonl", rows(test, 2))


def arena_of(folder: Path, train: Path, test: Path) -> Arena:
    arena = Arena(read_dataset(train, test), folder / "vectors", "hashed", 32)
    arena.embed(Hashed())
    return arena
