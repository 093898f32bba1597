"""Other settings of the learner, searched on the answers of a run; what is better is written as a config."""

import hashlib
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover import values
from discover.campaign import Campaign
from discover.config import Config
from discover.errors import DiscoverError
from discover.learn.activations import ActivationCache
from discover.learn.classifier import OF_MANY, TextClassifier
from discover.learn.config import LearnConfig
from discover.learn.likelihood import likelihood_of
from discover.learn.samples import column
from discover.learn.search import Finding, Objective, search
from discover.run import publish
from discover.steps.teach import arrays, unlabelled


def search_settings(campaign: Campaign, config: Config, trials: int, folds: int, minutes: float | None) -> None:
    """Search on the answers that the first arm learns, never on audit or test documents, and say what was found.

    Args:
        campaign: whose answers.
        config: whose `learn` is to be bettered.
        trials: how many, those of earlier calls included.
        folds: in which the answers are held out.
        minutes: for new trials.
    """
    if campaign.config.label.task == "spans":
        raise DiscoverError(
            "discover search compares settings by the class probabilities of answers, which label.task spans has none "
            "of: set learn.learning_rate and learn.epochs by hand, and compare runs with loop.test"
        )
    rows = [row for row in campaign.queue.labels(campaign.arms[0]) if row.kind != "audit"]
    ids, y = arrays(campaign, rows)
    learner, likelihood = _Learner(campaign, config, ids, y), likelihood_of(campaign.config.label.task)
    objective = Objective(config.learn, y, len(campaign.classes), likelihood, learner.logits, folds, config.seed)
    folder = campaign.folder.search
    purpose = _purpose(campaign, config, rows, learner.unlabelled, folds)
    finding = search(objective, folder, purpose, trials, minutes)
    print("\n".join(_told(finding, len(rows))))
    path = folder / "config.yaml"
    path.unlink(missing_ok=True)  # what an earlier search found is judged by what is known now
    if finding.better:
        found = config.model_copy(update={"learn": config.learn.model_copy(update=finding.changed)})
        with publish(path) as scratch:
            scratch.write_text(values.render(found.model_dump(mode="json")), encoding="utf-8")
        print(f"{path}: a config with these settings, for `discover run`")


class _Learner:
    """Learns some of the answers, as `discover run` would learn them from scratch."""

    def __init__(self, campaign: Campaign, config: Config, ids: NDArray[np.int64], y: NDArray[np.int64]):
        self._campaign, self._config, self._ids, self._y = campaign, config, ids, y
        self._activations = ActivationCache(config.learn.cache_megabytes)
        most = max(config.learn.unlabelled or 0, OF_MANY)
        self.unlabelled = unlabelled(campaign, campaign.arms[0], most, config.seed)

    def logits(self, settings: LearnConfig, learned: NDArray[np.int64], held: NDArray[np.int64]) -> NDArray[np.float64]:
        """See `discover.learn.search.Objective`."""
        campaign, config = self._campaign, self._config
        classifier = TextClassifier(
            campaign.encoder,
            campaign.pool.texts,
            campaign.config.label.classes,
            settings.model_copy(update={"folds": 0}),
            config.seed,
            self._activations,
            task=campaign.config.label.task,
        )
        classifier.unlabelled = self.unlabelled[: classifier.looks_at]
        classifier.fit(column(self._ids[learned]), self._y[learned])
        return classifier.logits(column(self._ids[held]))


def _purpose(campaign: Campaign, config: Config, rows: list[Any], unlabelled: NDArray[np.int64], folds: int) -> str:
    """A name for all that trials depend on: where any of it is another, so is the search."""
    documents = [[(row.document_id, row.label) for row in rows], unlabelled.tolist()]
    classes, settings = list(campaign.config.label.classes.items()), config.learn.model_dump(mode="json")
    described = json.dumps([*documents, classes, settings, campaign.encoder.version, folds, config.seed])
    return hashlib.sha256(described.encode()).hexdigest()[:16]


def _told(finding: Finding, answers: int) -> list[str]:
    if not finding.changed:
        return [f"none of {finding.trials} trials came to an end: nothing was found"]
    changed = ", ".join(
        f"learn.{key} " + (f"{value:.3g}" if isinstance(value, float) else json.dumps(value))
        for key, value in finding.changed.items()
    )
    (own, best), (right, better), (gain, half) = finding.loss, finding.accuracy, finding.gain
    verdict = "better by more than chance" if finding.better else "no better than chance would have it: nothing changes"
    return [
        f"the best of {finding.trials} trials: {changed}",
        f"on other folds of the {answers} answers: -log p {own:.4f} before, {best:.4f} now, {-gain:+.4f} "
        f"(95% interval {-gain - half:+.4f} to {-gain + half:+.4f}); accuracy {right:.1%} before, {better:.1%} now",
        verdict,
    ]
