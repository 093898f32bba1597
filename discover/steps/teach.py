"""Step 4: the answers become a model, by incremental fine-tuning with replay."""

import numpy as np
from sqlalchemy import Connection

from discover import db
from discover.campaign import Campaign
from discover.evaluate import audit
from discover.learn import registry
from discover.learn.classifier import TextClassifier
from discover.learn.learner import Learner
from discover.steps import Finished

CALIBRATION_MINIMUM = 10  # audit answers below which a temperature would be noise


def open_learner(campaign: Campaign, arm: str) -> Learner:
    """The arm's learner as its newest model left it, or a new one that knows the label descriptions alone."""
    classifier = TextClassifier(
        campaign.encoder,
        campaign.pool.texts,
        campaign.config.label.classes,
        campaign.config.learn,
        campaign.config.seed,
        campaign.activations,
    )
    version = campaign.latest_model(arm)
    if version is not None:
        registry.load(campaign.folder.models / version, classifier)
    return Learner(classifier)


def teach(campaign: Campaign, arm: str, round_: int, learner: Learner) -> Finished:
    """Teach what is new, calibrate on the audit answers kept for decisions, and publish the model.

    New answers go through modAL's ``teach``, which only appends; once an old answer was corrected or taken back, all
    answers as they now stand go through ``fit``. Audit answers never train.
    """
    labelled = campaign.queue.labels(arm)
    index = {name: number for number, name in enumerate(campaign.classes)}
    standing = {row.document_id: index[row.label] for row in labelled if row.kind != "audit"}
    taught = learner.classifier.taught
    new = {key: label for key, label in standing.items() if key not in taught}
    changed = any(standing.get(key) != label for key, label in taught.items())
    if not new and not changed:
        return Finished({"version": campaign.latest_model(arm), "taught": len(taught)})
    answers = standing if changed else new
    ids, y = np.array(list(answers), np.int64), np.array(list(answers.values()), np.int64)
    (learner.fit if changed else learner.teach)(ids, y)
    held = [row for row in labelled if row.kind == "audit" and row.part == audit.DECIDE]
    if len(held) >= CALIBRATION_MINIMUM:
        learner.calibrate(np.array([row.document_id for row in held]), np.array([index[row.label] for row in held]))
    version = f"{arm}-{round_:04d}"
    checksum = registry.publish(campaign.folder.models, version, learner.classifier)

    def commit(connection: Connection) -> None:
        row = {"version": version, "arm": arm, "round": round_, "checksum": checksum, "created": db.now()}
        connection.execute(db.model.insert().values(**row))

    return Finished({"version": version, "taught": len(standing)}, commit)
