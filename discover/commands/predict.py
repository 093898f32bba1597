"""Labels for a file by the newest model, and how far they can be trusted."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover.campaign import Campaign
from discover.errors import DiscoverError
from discover.evaluate import audit
from discover.pool.files import export_rows, read_documents
from discover.pool.labels import Multiclass, agree
from discover.progress import progress
from discover.query.uncertainty import probability_of

CHUNK = 2048


class _Unread(Multiclass):
    """What a file says of its documents, whatever that is: only their texts matter."""

    def read(self, value: Any) -> None:
        """Nothing."""


def predict(campaign: Campaign, source: Path, to: Path, confidence: float = 0.0, explain: bool = False) -> None:
    """Label the documents of a file; lines without a text are skipped and counted, labels are not looked at.

    Args:
        campaign: whose model predicts.
        source: a file with `text`.
        to: the file to write.
        confidence: of a document whose answer is less likely than this, the label stays empty.
        explain: add the likeliest label as `explained`, and its `words` and `neighbours`, as `Campaign.explain` gives
            them.

    Raises:
        DiscoverError: a file cannot be read or written, or the run has no model.
    """
    if to.resolve() == source.resolve():
        raise DiscoverError(f"--output must not be --input, {source}, which would be lost: name another file")
    bad: list[str] = []
    documents = list(read_documents(source, lambda line, reason: bad.append(f"line {line}: {reason}"), _Unread()))
    if not documents:
        raise DiscoverError(f"{source} holds no document with a `text`: there is nothing to predict")
    labelled = 0

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal labelled
        starts = range(0, len(documents), CHUNK)
        for start in progress(starts, len(starts), "predicting"):
            chunk = documents[start : start + CHUNK]
            likely = campaign.predict([d.text for d in chunk])
            decided = campaign.decide(likely)
            labels, chances = campaign.labels.kept(decided), probability_of(decided, likely).tolist()
            for document, label, chance, each in zip(chunk, labels, chances, likely.tolist(), strict=True):
                sure = chance >= confidence
                labelled += sure
                row = {
                    "id": document.public_id,
                    "given_id": document.given_id,  # what the file itself calls it, for joining; may be empty
                    "text": document.text,
                    "label": campaign.labels.value(label) if sure else campaign.labels.nothing,
                    "probability": round(chance, 6),
                    "probabilities": {name: round(p, 6) for name, p in zip(campaign.classes, each, strict=True)},
                }
                yield row | (_reasons(campaign, document.text) if explain else {})

    export_rows(rows(), to)
    skipped = f"; skipped {len(bad)}: {bad[0]}" + (" and others" if len(bad) > 1 else "") if bad else ""
    print(f"{len(documents)} predictions are in {to}{skipped}")
    if confidence:
        covered = (
            f"{labelled} of them ({labelled / len(documents):.1%}) are at least {confidence:g} sure and have a label"
        )
        print(f"{covered}; {_trust(campaign, confidence)}")


def _reasons(campaign: Campaign, text: str) -> dict[str, Any]:
    (found,) = campaign.explain([text])
    return {"explained": found["label"], "words": found["words"], "neighbours": found["neighbours"]}


def _trust(campaign: Campaign, confidence: float) -> str:
    """What answers that never trained the model say of predictions this sure."""
    likely, truth = _held_out(campaign)
    decided = campaign.decide(likely)
    sure = probability_of(decided, likely) >= confidence
    found = audit.estimate(agree(decided[sure], truth[sure]))
    if found.value is None:
        return "no audit answer is, so nothing can be said of how often they are right"
    return (
        f"of the {found.n} audit answers that are ({len(truth)} in all), {found.value:.1%} are right "
        f"(95% interval {found.low:.1%} to {found.high:.1%})"
    )


def _held_out(campaign: Campaign) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Probabilities (k, c) of the documents of the k audit answers that are for reporting, and these answers."""
    rows = audit.answers(campaign.queue.labels(campaign.arms[0]), audit.REPORT)
    texts = campaign.pool.texts([row.document_id for row in rows])
    likely = campaign.predict(texts) if texts else np.empty((0, len(campaign.classes)))
    return likely, campaign.labels.array([row.label for row in rows])
