"""Step 4: the answers become a model."""

import shutil
import sys
from typing import Any

import numpy as np
from sqlalchemy import Connection, update

from discover import db, tables, tracking
from discover.campaign import Campaign
from discover.errors import DiscoverError
from discover.evaluate import audit
from discover.label.questions import Labelled
from discover.learn import estimators, registry
from discover.learn.estimators import OwnEstimator
from discover.learn.learner import Learner
from discover.learn.samples import column
from discover.learn.tagger import Tagger
from discover.query import candidates
from discover.query.view import OF_TRAINING
from discover.steps import Finished


def open_learner(campaign: Campaign, arm: str) -> Learner[OwnEstimator]:
    """The arm's learner as its newest model left it; without one, it knows the label descriptions alone.

    The answers are in the database, so a model that is damaged, no longer fits the config, or was taught a document
    that was removed since, costs a training and nothing else.
    """

    def untaught() -> OwnEstimator:
        settings, retriever = campaign.config, campaign.retriever
        return estimators.untaught(
            campaign.encoder,
            campaign.pool.texts,
            settings.label.classes,
            settings.learn,
            settings.seed,
            campaign.activations,
            retriever.store.vectors if retriever.encoder.version == campaign.encoder.version else None,
            settings.label.task,
        )

    version = campaign.latest_model(arm)
    if version is None:
        return Learner(untaught())
    published = campaign.folder.models / version
    try:
        learner = Learner(registry.load(published, untaught()))
        if not knows_removed(campaign, learner):
            _register_anew(campaign, version, registry.check(published)["sha256"])  # killed before it was, say
            return learner
        print(f"discover: the model {version} knows documents that were removed: it is learned anew", file=sys.stderr)
    except DiscoverError as error:
        print(f"discover: {error}, and does so now", file=sys.stderr)
    learner = Learner(untaught())
    _learn(campaign, arm, campaign.queue.labels(arm), learner)
    _register_anew(campaign, version, registry.publish(campaign.folder.models, version, learner.classifier))
    return learner


def _register_anew(campaign: Campaign, version: str, checksum: str) -> None:
    """Note the weights that a version has now, by which `judge_anew` tells what it has to measure again."""
    if campaign.checksum(version) != checksum:
        with campaign.database.write() as connection:
            connection.execute(update(tables.model).where(tables.model.c.version == version).values(checksum=checksum))


def keep_newest(campaign: Campaign) -> None:
    """Remove the models of each arm that `loop.keep_models` does not keep: no command reads any but the newest."""
    kept = campaign.config.loop.keep_models
    for arm in campaign.arms if kept else ():
        for version in campaign.models(arm)[kept:]:
            shutil.rmtree(campaign.folder.models / version, ignore_errors=True)


def knows_removed(campaign: Campaign, learner: Learner[OwnEstimator]) -> bool:
    """Whether it was taught a document that the last intake took out of the index."""
    store, taught = campaign.retriever.store, list(learner.classifier.taught)
    return bool((store.positions(taught) < 0).any() or np.isin(taught, store.removed).any())


def teach(campaign: Campaign, arm: str, round_: int, learner: Learner[OwnEstimator]) -> Finished:
    """Learn the answers as they now stand and publish the model; without a new or changed answer it stays as it is."""
    labelled = campaign.queue.labels(arm)
    output: dict[str, Any] = {"labels": len(labelled), "batch": _batch(labelled, learner)}
    digest = (campaign.output(arm, round_, "collect") or {})["digest"]
    if not labelled or digest == (campaign.output(arm, round_ - 1, "collect") or {}).get("digest"):
        return Finished(output)
    if _learn(campaign, arm, labelled, learner):  # else what the classifier says of its last training is an older one's
        output |= {name: getattr(learner.classifier, name) for name in OF_TRAINING}
        if curve := learner.classifier.curve:
            tracking.write(campaign.folder.tensorboard / arm / f"training-{round_:04d}", tracking.of_training(curve))
    if isinstance(learner.classifier, Tagger) and learner.classifier.untold:
        print(f"{arm}: {_untold(learner.classifier)}", flush=True)
    version = f"{arm}-{round_:04d}"
    checksum = registry.publish(campaign.folder.models, version, learner.classifier)

    def commit(connection: Connection) -> None:
        row = {"version": version, "arm": arm, "round": round_, "checksum": checksum, "created": db.now()}
        connection.execute(tables.model.insert().values(**row))

    return Finished(output, commit)


def _batch(labelled: list[Labelled], learner: Learner[OwnEstimator]) -> int | None:
    """The round whose answers this training is told of, and of no others; None where there is no such round."""
    told = learner.classifier.taught
    known, new = set[int](), set[int]()
    for row in labelled:
        if row.kind != "audit":
            (known if row.document_id in told else new).add(row.round)
    return new.pop() if len(new) == 1 and not new & known else None


def _untold(tagger: Tagger) -> str:
    return (
        f"{tagger.untold} spans of the answers lie beyond the {tagger.encoder.limit} tokens that the encoder reads, or "
        "begin or end inside of a word, and are never found as they are: raise encoder.max_tokens in a new run, or "
        "split the texts"
    )


def _learn(campaign: Campaign, arm: str, labelled: list[Labelled], learner: Learner[OwnEstimator]) -> bool:
    """Train on all but the audit answers; of these, the part that is kept for decisions helps to calibrate.

    Returns:
        Whether there was anything to train on that is new.
    """
    classifier = learner.classifier
    classifier.unlabelled = unlabelled(campaign, arm, classifier.looks_at, campaign.config.seed)
    trained = learner.learn(*arrays(campaign, [row for row in labelled if row.kind != "audit"]))
    held, truth = arrays(campaign, audit.answers(campaign.queue.audited(arm), audit.DECIDE))
    classifier.calibrate(column(held), truth)
    return trained


def unlabelled(campaign: Campaign, arm: str, count: int, seed: int) -> np.ndarray:
    """(u,) row ids of documents that an arm has not asked about, drawn uniformly: mostly the same ones each time."""
    seed = candidates.seed_of(seed, 0, "unlabelled")
    return candidates.draw_uniformly(campaign.retriever.store, campaign.off_limits(arm), count, seed)[0]


def arrays(campaign: Campaign, rows: list[Labelled]) -> tuple[np.ndarray, np.ndarray]:
    """(m,) row ids and their m answers."""
    ids = np.array([row.document_id for row in rows], np.int64)
    return ids, campaign.labels.array([row.label for row in rows])
