"""Hyper-parameter search: settings of the learner under which the answers predict each other best.

No label is asked for. A trial's score is the mean -log p of answers that its models have not learned, under one
temperature for all of them: steadier than accuracy where answers are few. Optuna proposes by a tree of Parzen
estimators (Bergstra et al. 2011, "Algorithms for hyper-parameter optimization"), and a trial is given up after a fold
by which it is worse than the median of the others.

A search flatters what it finds. So the best trial and the settings of before are both tried on other partitions into
folds; only where the 95 % interval of the paired differences lies above 0 is it better. That takes away the luck of the
folds, not that of the answers, which are the same: of 30 searches among 30 settings, all equally good, 5 found a better
one (runs/LOG.md). The only file that imports optuna.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from discover.errors import DiscoverError
from discover.learn.calibration import fit_temperature, folds_of
from discover.learn.config import LearnConfig
from discover.learn.likelihood import Likelihood
from discover.pool.answers import agree
from discover.progress import progress
from discover.run import RunFolder

FEWEST = 10  # answers a fold
OTHERS = (1, 2)  # partitions on which the best trial is held against the settings of before; the search has 0
STARTUP = 5  # trials drawn at random, before the estimators, and before any trial is given up
CRITICAL = 1.96
JOURNAL = "journal.log"

Logits = Callable[[LearnConfig, NDArray[np.int64], NDArray[np.int64]], NDArray[np.float64]]


@dataclass(frozen=True)
class Objective:
    """What a trial is scored by: how well settings let some answers predict the others.

    Attributes:
        settings: of before; what is not searched stays as it is.
        y: the m answers, class indices or c times 0 or 1.
        count: of the classes, c.
        likelihood: of answers.
        logits: learns some answers from scratch and gives the logits of others: settings and positions, (l,) and (k,),
            to (k, c).
        folds: of each partition.
        seed: of partitions and proposals.
    """

    settings: LearnConfig
    y: NDArray[np.int64]
    count: int
    likelihood: Likelihood
    logits: Logits
    folds: int
    seed: int


class Score(NamedTuple):
    """What answers say of models that have not learned them: -log p, and how often these are right, (k,) each."""

    losses: NDArray[np.float64]
    right: NDArray[np.float64]


@dataclass(frozen=True)
class Finding:
    """What a search came to; figures are of partitions that it has not seen.

    Attributes:
        changed: settings of the best trial; empty where every trial failed.
        loss: mean -log p under the settings of before, and under the best trial's.
        accuracy: likewise.
        gain: by how much the loss is less, and half of the 95 % interval around it.
        trials: that are finished, those that were given up included.
    """

    changed: dict[str, Any]
    loss: tuple[float, float]
    accuracy: tuple[float, float]
    gain: tuple[float, float]
    trials: int

    @property
    def better(self) -> bool:
        """Whether the best trial is better by more than chance."""
        return self.gain[0] > self.gain[1]


def search(objective: Objective, folder: Path, purpose: str, trials: int, minutes: float | None = None) -> Finding:
    """Try settings until there are so many trials or the time is over, then judge the best; a killed search goes on.

    Args:
        objective: what a trial is scored by.
        folder: keeps what was tried.
        purpose: names the search; under another name it begins anew.
        trials: how many, those of earlier calls included.
        minutes: for new trials; none: as long as it takes.

    Raises:
        DiscoverError: there are too few answers, optuna is missing, the folder cannot be used, or another search is at
            work in it.
    """
    if len(objective.y) < FEWEST * objective.folds:
        raise DiscoverError(
            f"a search in {objective.folds} folds needs {FEWEST * objective.folds} answers that may be learned, found "
            f"{len(objective.y)}: label more, or lower --folds"
        )
    deadline = time.monotonic() + 60 * (np.inf if minutes is None else minutes)
    RunFolder(folder).create(folder)
    with RunFolder(folder).lock():  # of another search the running trial would look like a killed one
        study = _open(folder / JOURNAL, purpose)
        done = len(_finished(study))
        for number in progress(range(done, trials), max(0, trials - done), "search"):
            if time.monotonic() > deadline:
                break
            _try(study, objective, number)
        return _judged(study, objective)


def proposed(trial: Any, settings: LearnConfig) -> dict[str, Any]:
    """Settings that a trial of optuna's asks for: those that matter for the method."""
    if settings.method == "head":
        penalty = trial.suggest_float("head_penalty", 0.05, 50, log=True)
        return {"head_penalty": penalty, "propagate": trial.suggest_categorical("propagate", [True, False])}
    return {
        "learning_rate": trial.suggest_float("learning_rate", settings.rate / 5, settings.rate * 5, log=True),
        "epochs": trial.suggest_int("epochs", 4, 30, log=True),
        "contrast": trial.suggest_float("contrast", 0, 2),
        "layer_decay": trial.suggest_float("layer_decay", 0.6, 1),
        "dropout": trial.suggest_float("dropout", 0, 0.3),
    }


def _open(journal: Path, purpose: str) -> Any:
    """The study of a name; a trial that was killed in it counts for nothing."""
    try:
        import optuna
    except ImportError as error:
        raise DiscoverError("a search needs optuna, which is not installed: pip install 'discover[search]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    _cut(journal)
    try:
        study = optuna.create_study(
            storage=optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(journal))),
            study_name=purpose,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP),
            load_if_exists=True,
        )
    except (ValueError, LookupError, TypeError) as error:  # no JSON, or none of optuna's
        raise DiscoverError(
            f"{journal} must hold the trials of earlier searches, but it is damaged ({error}): remove it, and the "
            "search begins anew"
        ) from error
    for killed in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
        study.tell(killed.number, state=optuna.trial.TrialState.FAIL)
    return study


def _cut(journal: Path) -> None:
    """Cut off a last line that was killed half written: optuna would append to it, and read neither."""
    if journal.is_file():
        with journal.open("r+b") as file:
            file.truncate(file.read().rfind(b"\n") + 1)


def _finished(study: Any) -> list[Any]:
    from optuna.trial import TrialState

    return list(study.get_trials(states=[TrialState.COMPLETE, TrialState.PRUNED]))


def _try(study: Any, objective: Objective, number: int) -> None:
    """Play one trial. What it proposes follows from the seed, its number, and the finished ones before it."""
    import optuna

    seed = int(np.random.default_rng([objective.seed, number]).integers(2**31))
    study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP)
    trial = study.ask()
    settings = objective.settings.model_copy(update=proposed(trial, objective.settings))
    loss, fold = np.inf, 0
    try:
        for fold, score in enumerate(_scores(objective, settings, 0), start=1):
            loss = float(score.losses.mean())
            trial.report(loss, fold)
            if fold < objective.folds and trial.should_prune():
                break
    except DiscoverError:  # it grew without bound
        fold = 0
    if fold == objective.folds:
        study.tell(trial, loss)
    else:
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)


def _scores(objective: Objective, settings: LearnConfig, partition: int) -> Iterator[Score]:
    """After each fold the score of the answers held out so far, by position; the last one is of all."""
    m = len(objective.y)
    order, fold = np.random.default_rng([objective.seed, partition]).permutation(m), np.empty(m, np.int64)
    fold[order] = folds_of(objective.y[order], objective.folds)
    logits, held = np.empty((m, objective.count)), np.zeros(m, bool)
    for number in range(objective.folds):
        now = fold == number
        logits[now] = objective.logits(settings, np.flatnonzero(~now), np.flatnonzero(now))
        held |= now
        truth = objective.y[held]
        calibrated = logits[held] / fit_temperature(logits[held], truth, objective.likelihood)
        likeliest = objective.likelihood.likeliest(objective.likelihood.probabilities(calibrated))
        yield Score(objective.likelihood.losses(calibrated, truth), agree(likeliest, truth).astype(np.float64))


def _judged(study: Any, objective: Objective) -> Finding:
    finished = _finished(study)
    complete = [trial for trial in finished if trial.value is not None]
    if not complete:
        return Finding({}, (np.nan, np.nan), (np.nan, np.nan), (np.nan, np.nan), len(finished))
    best = min(complete, key=lambda trial: (trial.value, trial.number)).params
    own, found = (
        _everywhere(objective, settings)
        for settings in (objective.settings, objective.settings.model_copy(update=best))
    )
    gain = own.losses - found.losses
    return Finding(
        best,
        (float(own.losses.mean()), float(found.losses.mean())),
        (float(own.right.mean()), float(found.right.mean())),
        (float(gain.mean()), float(CRITICAL * gain.std(ddof=1) / np.sqrt(len(gain)))),
        len(finished),
    )


def _everywhere(objective: Objective, settings: LearnConfig) -> Score:
    """The mean score of each answer over the other partitions: an answer is the unit, however often it is held out."""
    whole = [list(_scores(objective, settings, partition))[-1] for partition in OTHERS]
    return Score(np.mean([one.losses for one in whole], axis=0), np.mean([one.right for one in whole], axis=0))
