"""Out of a run: labels, pool, decisions, a model, and predictions for a file."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from discover.campaign import Campaign
from discover.errors import DiscoverError
from discover.pool.files import export_rows, read_documents
from discover.progress import progress
from discover.run import publish

CHUNK = 2048


def export(campaign: Campaign, what: str, to: Path) -> None:
    """Write one of ``labels``, ``pool``, ``model``, ``decisions`` to ``to``.

    Raises:
        DiscoverError: the kind of file is unknown, it cannot be written, or there is no model yet.
    """
    if what == "model":
        _model(campaign, to)
    elif what == "decisions":
        if to.suffix != ".jsonl":
            raise DiscoverError(f"decisions are of two kinds, so they go to JSONL only: end {to.name} in .jsonl")
        from discover.query import decisions

        decisions.export(campaign.database, to, campaign.config.name)
    else:
        export_rows(_labels(campaign) if what == "labels" else _pool(campaign), to)
    print(f"{to} holds the {what} of {campaign.folder.root}")


def predict(campaign: Campaign, source: Path, to: Path) -> None:
    """Label the documents of a file; bad lines are skipped and counted.

    Raises:
        DiscoverError: the file cannot be read or written, or the run has no model.
    """
    bad: list[str] = []
    documents = list(read_documents(source, lambda line, reason: bad.append(f"line {line}: {reason}")))
    if not documents:
        raise DiscoverError(f"{source} holds no document with a `text`: there is nothing to predict")

    def rows() -> Iterator[dict[str, Any]]:
        starts = range(0, len(documents), CHUNK)
        for start in progress(starts, len(starts), "predicting"):
            chunk = documents[start : start + CHUNK]
            for document, probabilities in zip(chunk, campaign.predict([d.text for d in chunk]), strict=True):
                best = int(probabilities.argmax())
                yield {
                    "id": document.public_id,
                    "given_id": document.given_id,  # what the file itself calls it, for joining; may be empty
                    "text": document.text,
                    "label": campaign.classes[best],
                    "probability": round(float(probabilities[best]), 6),
                    "probabilities": {
                        name: round(float(p), 6) for name, p in zip(campaign.classes, probabilities, strict=True)
                    },
                }

    export_rows(rows(), to)
    skipped = f"; skipped {len(bad)}: {bad[0]}" + (" and others" if len(bad) > 1 else "") if bad else ""
    print(f"{len(documents)} predictions are in {to}{skipped}")


def _labels(campaign: Campaign) -> Iterator[dict[str, Any]]:
    for arm in campaign.arms:
        labelled = campaign.queue.labels(arm)
        found = campaign.pool.documents([answer.document_id for answer in labelled])
        for answer, document in zip(labelled, found, strict=True):
            yield {
                "id": document.public_id,
                "text": document.text,
                "label": answer.label,
                "url": document.sources[0] if document.sources else "",
                "arm": arm,
                "round": answer.round,
                "kind": answer.kind,
            }


def _pool(campaign: Campaign) -> Iterator[dict[str, Any]]:
    for document in campaign.documents(split=None):
        yield {
            "id": document.public_id,
            "text": document.text,
            "title": document.title,
            "language": document.language,
            "date": document.date,
            "url": document.sources[0] if document.sources else "",
            "split": document.split,
        }


def _model(campaign: Campaign, to: Path) -> None:
    to = to.resolve()
    if to.exists() and not (to / "card.json").is_file():
        raise DiscoverError(f"{to} exists and is no model folder, which could be replaced: choose another --to")
    version = campaign.latest_model(campaign.arms[0])
    if version is None:
        raise DiscoverError(f"{campaign.folder.root} has no model yet: run `discover run` on it first")
    try:
        with publish(to) as scratch:
            shutil.copytree(campaign.folder.models / version, scratch)
    except OSError as error:
        raise DiscoverError(f"the model cannot be written to {to}: {error.strerror or error}") from error
