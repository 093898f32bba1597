"""A policy trained on labelled corpora, and a trained one judged on others."""

import contextlib
import hashlib
import itertools
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

import discover
from discover.child import side_by_side
from discover.config import read_settings, validate
from discover.embed.config import EncoderConfig
from discover.embed.encoder import Encoder
from discover.errors import DiscoverError
from discover.policy.config import CorpusFiles, EpisodeConfig, PolicyConfig
from discover.policy.corpus import Corpus, prepare
from discover.policy.features import schema
from discover.policy.learned import LEARNED
from discover.policy.saved import ADVICE, CARD, load_policy
from discover.policy.scorer import Scorer
from discover.policy.training import train
from discover.policy.trials import FIXED, Rows, judged, summary, table
from discover.pool.labelled import read_dataset, shortened
from discover.progress import progress
from discover.run import RunFolder, keep_settings, publish, read_cell
from discover.simulate import Arena

TESTED = 1500  # test documents of a corpus, at most
FORMAT = 3  # of a cell: raised when the same settings no longer give the same figures
FIRST_SEED = 5000  # reinforcement begins with the seed of the config, by default 0


def train_policy(path: Path, overrides: list[str] | None, root: Path | None) -> None:
    """Train the policy of a config file; the same command goes on after a kill.

    Raises:
        DiscoverError: the config, a file or a corpus does not fit, or the folder was begun with others or other
            settings.
    """
    settings = read_settings(path, overrides)
    settings.setdefault("name", path.stem)
    config = validate(PolicyConfig, settings, str(path))
    folder = RunFolder(root or Path("runs") / config.name)
    folder.create(folder.vectors)
    with folder.lock():
        folder.sweep()
        keep_settings(folder.root / "policy.json", config.model_dump(mode="json"))
        corpora = read_corpora(config.corpora, config.documents, folder)
        files = [file for one in config.corpora for file in (one.train, one.test)]  # which can be read
        content = {f"content of {file}": hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
        keep_settings(folder.root / "corpora.json", {"features": schema()} | content)
        train(corpora, config, folder.root)
    print(
        f"{folder.root / 'policy'}: use it with query.strategy learned, query.options.policy {folder.root / 'policy'}"
    )


def evaluate_policy(policy: Path, files: Sequence[CorpusFiles], seeds: int, root: Path, as_json: bool) -> None:
    """Play a trained policy and the baselines on corpora, with the same seeds each, and write the results.

    What one of them has played on one corpus is kept, so that the same command goes on after a kill.

    Raises:
        DiscoverError: the policy cannot be used, a file does not fit, or two corpora have one name.
    """
    if not seeds:
        raise DiscoverError("--seeds must be at least 1, found 0: each policy plays so many campaigns")
    scorer, card = load_policy(policy)
    trained = card.get("trained")
    if not isinstance(trained, dict) or not {"config", "corpora"} <= trained.keys():
        raise DiscoverError(f"{policy / CARD} must say what the policy was trained on, and does not: {ADVICE}")
    config = validate(PolicyConfig, trained["config"], str(policy / CARD))
    known = {one["name"] for one in trained["corpora"]}
    folder = RunFolder(root)
    folder.create(folder.vectors, folder.cells)
    with folder.lock():
        folder.sweep()
        policies: dict[str, str | Scorer] = {name: name for name in FIXED} | {LEARNED: scorer}
        corpora = read_corpora(files, config.documents, folder)
        names = [one.name for one in corpora]
        if len(set(names)) < len(names):
            raise DiscoverError(
                f"corpora must have names of their own, found {', '.join(names)}: rename a --train file"
            )
        for corpus in corpora:
            if corpus.name in known:
                said = f"{corpus.name}: the policy was trained on a corpus of this name"
                print(said, file=sys.stderr if as_json else sys.stdout, flush=True)
        rows = played(folder, corpora, policies, card["sha256"], seeds, config.episode)
        found = summary(rows, np.random.default_rng(0))
        with publish(folder.results) as scratch:
            scratch.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        with publish(folder.summary) as scratch:
            scratch.write_text(json.dumps(found, indent=1, allow_nan=False), encoding="utf-8")
    print(json.dumps(found) if as_json else "\n".join(table(found)))


def played(
    folder: RunFolder,
    corpora: Sequence[Corpus],
    policies: Mapping[str, str | Scorer],
    digest: str,
    seeds: int,
    episode: EpisodeConfig,
) -> Rows:
    """What `judged` says of policies on corpora, each by each kept in the folder's cells, or played now, on all cores.

    Args:
        folder: where the cells are.
        corpora: that they play on.
        policies: as for `judged`.
        digest: of the trained one's weights.
        seeds: campaigns of each.
        episode: the rules.
    """
    cells: list[tuple[Path, Corpus, str]] = []
    for corpus, name in itertools.product(corpora, policies):
        depends = {
            "format": FORMAT,
            "discover": discover.__version__,
            "corpus": [corpus.name, corpus.digest],
            "policy": [name, digest if isinstance(policies[name], Scorer) else ""],
            "seeds": [FIRST_SEED, seeds],
            "episode": episode.model_dump(mode="json"),
        }
        cells.append((folder.cell(f"{corpus.name}-{name}", depends), corpus, name))
    missing = [cell for cell in cells if read_cell(cell[0], "rows") is None]
    with contextlib.closing(side_by_side(_play, (policies, seeds, episode), missing)) as done:
        for _ in progress(done, len(missing), "judge"):
            pass
    return [row for path, _, _ in cells for row in (read_cell(path, "rows") or {})["rows"]]


def _play(shared: tuple[Mapping[str, str | Scorer], int, EpisodeConfig], cell: tuple[Path, Corpus, str]) -> None:
    """Play a policy on a corpus and keep what came of it, in a process of its own."""
    policies, seeds, episode = shared
    path, corpus, name = cell
    rows = judged(corpus, {name: policies[name]}, seeds, episode, FIRST_SEED)
    with publish(path) as scratch:
        scratch.write_text(json.dumps({"rows": rows}), encoding="utf-8")


def read_corpora(files: Sequence[CorpusFiles], documents: int, folder: RunFolder) -> list[Corpus]:
    """Read labelled files and embed what is used of them.

    Args:
        files: in pairs.
        documents: of each corpus to ask about, drawn uniformly.
        folder: whose vectors are kept.

    Raises:
        DiscoverError: a file does not fit, or what is drawn of one is of a single class.
    """
    encoder, found = Encoder(EncoderConfig()), []
    for one in files:
        dataset = shortened(read_dataset(one.train, one.test), documents, TESTED)
        if dataset.warning:
            print(dataset.warning, file=sys.stderr)
        arena = Arena(dataset, folder.vectors, encoder.version, encoder.dimension)
        arena.embed(encoder)
        pool, test = dataset.pool, dataset.test
        if len(np.unique(dataset.y[pool])) < 2:
            raise DiscoverError(
                f"{one.train}: all {len(pool)} documents drawn of it are {dataset.classes[dataset.y[pool[0]]]!r}, and "
                "one class is no task: raise documents, or leave the file out"
            )
        found.append(prepare(dataset.name, arena.vectors(pool), dataset.y[pool], arena.vectors(test), dataset.y[test]))
    return found
