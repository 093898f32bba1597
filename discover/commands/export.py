"""Out of a run: labels, pool, decisions, a model."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from discover.campaign import Campaign
from discover.errors import DiscoverError
from discover.pool.files import export_rows
from discover.run import publish

LABELS = ("id", "given_id", "text", "label", "url", "arm", "round", "kind", "annotator")
POOL = ("id", "given_id", "text", "title", "language", "date", "url", "split")


def export(campaign: Campaign, what: str, to: Path) -> None:
    """Write one of ``labels``, ``pool``, ``model``, ``decisions`` to ``to``.

    Raises:
        DiscoverError: the kind of file is unknown, it cannot be written, or there is no model yet.
    """
    held = f"the {what} of {campaign.folder.root}"
    if what == "model":
        _model(campaign, to)
    elif what == "decisions":
        if to.suffix != ".jsonl":
            raise DiscoverError(f"decisions are of two kinds, so they go to JSONL only: end {to.name} in .jsonl")
        from discover.query import decisions

        decisions.export(campaign.database, to, campaign.labels, campaign.config.name)
    else:
        rows, columns = (_labels(campaign), LABELS) if what == "labels" else (_pool(campaign), POOL)
        held += f", {export_rows(rows, to, columns):,} rows"
    print(f"{to} holds {held}")
    if what == "pool" and (waiting := campaign.pool.counts()["found"]):
        print(f"not in the pool yet: {waiting:,} documents that were found, which the next `discover run` takes in")


def _labels(campaign: Campaign) -> Iterator[dict[str, Any]]:
    for arm in campaign.arms:
        labelled = campaign.queue.labels(arm)
        found = campaign.pool.documents([answer.document_id for answer in labelled])
        for answer, document in zip(labelled, found, strict=True):
            yield {
                "id": document.public_id,
                "given_id": document.given_id,
                "text": document.text,
                "label": campaign.labels.value(answer.label),
                "url": document.sources[0] if document.sources else "",
                "arm": arm,
                "round": answer.round,
                "kind": answer.kind,
                "annotator": answer.annotator,
            }


def _pool(campaign: Campaign) -> Iterator[dict[str, Any]]:
    for document in campaign.documents(split=None):
        yield {
            "id": document.public_id,
            "given_id": document.given_id,
            "text": document.text,
            "title": document.title,
            "language": document.language,
            "date": document.date,
            "url": document.sources[0] if document.sources else "",
            "split": document.split,
        }


def _model(campaign: Campaign, to: Path) -> None:
    from discover.learn import registry

    to = to.resolve()
    if to.exists() and not registry.is_model(to):
        raise DiscoverError(f"{to} exists and is no model folder, which could be replaced: choose another --to")
    version = campaign.latest_model(campaign.arms[0])
    if version is None:
        raise DiscoverError(f"{campaign.folder.root} has no model yet: run `discover run` on it first")
    registry.check(campaign.folder.models / version)
    try:
        with publish(to) as scratch:
            shutil.copytree(campaign.folder.models / version, scratch)
    except OSError as error:
        raise DiscoverError(f"the model cannot be written to {to}: {error.strerror or error}") from error
