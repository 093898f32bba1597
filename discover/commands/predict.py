"""Labels for a file by the newest model, and how far they can be trusted."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from discover.campaign import Campaign
from discover.errors import DiscoverError
from discover.evaluate import audit
from discover.pool.answers import agree
from discover.pool.files import export_rows, read_documents
from discover.predictor import Predictor
from discover.progress import progress

if TYPE_CHECKING:
    from discover.learn.prediction import Prediction

CHUNK = 2048


def predict(campaign: Campaign, source: Path, to: Path, confidence: float = 0.0, explain: bool = False) -> None:
    """Label the documents of a file; lines without a text are skipped and counted, labels are not looked at.

    The file is read twice, first only to count, so that it need not fit into memory.

    Args:
        campaign: whose model predicts.
        source: a file with `text`.
        to: the file to write.
        confidence: of a document whose answer is less likely than this, the label stays empty.
        explain: add the likeliest label as `explained`, and its `words` and `neighbours`, as `Campaign.explain` gives
            them; with entities `explained` is a list, of each span.

    Raises:
        DiscoverError: a file cannot be read or written, or the run has no model.
    """
    if to.resolve() == source.resolve():
        raise DiscoverError(f"--output must not be --input, {source}, which would be lost: name another file")
    total, skipped = _counted(source)
    if not total:
        raise DiscoverError(
            f"{source} must hold documents with a `text`, but has none to predict{skipped or ': no rows'}"
        )
    labelled, spans, model = 0, campaign.config.label.task == "spans", campaign.predictor()

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal labelled
        documents = read_documents(source, lambda line, reason: None, None)
        for _ in range(0, total, CHUNK):
            chunk = list(islice(documents, CHUNK))
            found = model.predicted([d.text for d in chunk])
            labels = campaign.labels.kept(found.answers)
            said = zip(chunk, labels, found.chances.tolist(), found.probabilities.tolist(), strict=True)
            for document, label, chance, each in said:
                sure = chance >= confidence
                labelled += sure
                row = {
                    "id": document.public_id,
                    "given_id": document.given_id,  # what the file itself calls it, for joining; may be empty
                    "text": document.text,
                    "label": campaign.labels.value(label) if sure else campaign.labels.nothing,
                    "probability": round(chance, 6),
                }
                if not spans:  # of which only the whole answer has a probability
                    names = zip(campaign.classes, each, strict=True)
                    row["probabilities"] = {name: round(p, 6) for name, p in names}
                yield row | (_reasons(model, document.text) if explain else {})

    export_rows(progress(rows(), total, "predicting"), to)  # of documents, each of which may take long to explain
    print(f"{total} predictions are in {to}{skipped}")
    if confidence:
        covered = f"{labelled} of them ({labelled / total:.1%}) are at least {confidence:g} sure and have a label"
        print(f"{covered}; {_trust(campaign, model, confidence)}")


def _counted(source: Path) -> tuple[int, str]:
    """How many documents a file has, and what to say of the lines that are skipped, if any are."""
    bad, first = 0, ""

    def skip(line: int, reason: str) -> None:
        nonlocal bad, first
        bad, first = bad + 1, first or f"line {line}: {reason}"

    total = sum(1 for _ in read_documents(source, skip, None))
    return total, f"; skipped {bad}: {first}{' and others' if bad > 1 else ''}" if bad else ""


def _reasons(model: Predictor, text: str) -> dict[str, Any]:
    (found,) = model.explain([text])
    if "spans" in found:
        return {"explained": found["spans"]}
    return {"explained": found["label"], "words": found["words"], "neighbours": found["neighbours"]}


def _trust(campaign: Campaign, model: Predictor, confidence: float) -> str:
    """What answers that never trained the model say of predictions this sure."""
    held, truth = _held_out(campaign, model)
    sure = held.chances >= confidence
    found = audit.estimate(agree(held.answers[sure], truth[sure]))
    if found.value is None:
        return "no audit answer for the report is, so nothing can be said of how often they are right"
    return (
        f"of the {found.n} audit answers that are ({len(truth)} in all), {found.value:.1%} are right "
        f"(95% interval {found.low:.1%} to {found.high:.1%})"
    )


def _held_out(campaign: Campaign, model: Predictor) -> tuple["Prediction", NDArray[Any]]:
    """What is predicted of the documents of the k audit answers that are for reporting, and these answers."""
    rows = audit.answers(campaign.queue.audited(campaign.arms[0]), audit.REPORT)
    texts = campaign.pool.texts([row.document_id for row in rows])
    return model.predicted(texts), campaign.labels.array([row.label for row in rows])
