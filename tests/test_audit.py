"""The audit sample measures by what was said before the model's guess was seen."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from discover import loop
from discover.campaign import Campaign, open_run
from discover.commands import predict
from discover.db import Database
from discover.evaluate.audit import DECIDE
from discover.evaluate.verdict import single_line
from discover.label.queue import Queue
from discover.pool.labels import Labels, Multilabel, Spans
from discover.steps.choose import progress_of
from discover.tables import slot
from tests.kills import play_rounds, write_inputs
from tests.labeling import CLASSES, add_documents, filled


def audit_queue(database: Database, labels: Labels | None = None) -> Queue:
    """A queue with three audit questions."""
    queue, _ = filled(database, 0)
    queue = Queue(database, 30, labels) if labels else queue
    rows = [
        {"document_id": row, "kind": "audit", "part": "report", "position": at}
        for at, row in enumerate(add_documents(database, 3))
    ]
    with database.write() as connection:
        queue.put(connection, "margin", 1, rows)
    return queue


def said(rows: list) -> list[str]:
    return sorted(row.label for row in rows)


def test_the_first_answer_measures_whatever_becomes_of_it(either_database: Database) -> None:
    queue = audit_queue(either_database)
    first, second, third = queue.claim("margin", "ada", 3)
    queue.answer(first.slot, first.token, "ada", "calm")
    queue.undo("ada", "margin")
    assert said(queue.audited("margin")) == ["calm"] and queue.labels("margin") == []
    (again, *_) = [one for one in queue.claim("margin", "ada", 3) if one.slot == first.slot]
    queue.answer(again.slot, again.token, "ada", "storm")
    queue.answer(second.slot, second.token, "ada", "fog")
    queue.correct(second.slot, "bob", "storm")
    assert said(queue.audited("margin")) == ["calm", "fog"] and said(queue.labels("margin")) == ["storm", "storm"]
    queue.undo("ada", "margin")
    first, third = queue.claim("margin", "ada", 3)
    queue.skip(first.slot, first.token, "ada")
    assert said(queue.audited("margin")) == ["calm", "fog"], "nor does it matter that it is skipped afterwards"
    queue.skip(third.slot, third.token, "ada")
    assert len(queue.audited("margin")) == 2
    queue.correct(third.slot, "ada", "calm")  # after a skip no guess is shown
    assert said(queue.audited("margin")) == ["calm", "calm", "fog"]
    assert {(row.kind, row.part, row.round) for row in queue.audited("margin")} == {("audit", "report", 1)}
    assert queue.audited("random") == []


def test_questions_that_nobody_would_answer_are_told(database: Database) -> None:
    queue = audit_queue(database)
    first, second, third = queue.claim("margin", "ada", 3)
    queue.answer(first.slot, first.token, "ada", "calm")
    queue.skip(second.slot, second.token, "ada")
    queue.skip(third.slot, third.token, "ada")
    assert queue.passed_over("margin", "report") == 2 and queue.passed_over("margin", "decide") == 0
    queue.correct(third.slot, "ada", "calm")
    assert queue.passed_over("margin", "report") == 1 and queue.passed_over("random", "report") == 0
    audit = {"n": 2, "accuracy": 1.0, "low": 0.34, "high": 1.0, "skipped": 1}
    row = {"strategy": "margin", "labels": 9, "source": "audit", "audit": audit}
    assert single_line(row).endswith("1 more were skipped: of such documents it says nothing.")
    audit["skipped"] = 0
    assert "skipped" not in single_line(row)


@pytest.mark.parametrize(
    ("labels", "before", "after"),
    [
        (Multilabel(tuple(CLASSES)), ["calm"], ["calm", "fog"]),
        (Spans(tuple(CLASSES)), [], [{"start": 0, "end": 4, "label": "calm"}]),
    ],
)
def test_sets_of_labels_and_spans_too(database: Database, labels: Labels, before: list, after: list) -> None:
    queue = audit_queue(database, labels)
    (one,) = queue.claim("margin", "ada")
    given, changed = (labels.read(said, one.document.text) for said in (before, after))
    queue.answer(one.slot, one.token, "ada", given)
    queue.correct(one.slot, "ada", changed)
    assert said(queue.audited("margin")) == [given] != said(queue.labels("margin")) == [changed]


@pytest.fixture
def played(tmp_path: Path, small_encoder: Path) -> Path:
    config = write_inputs(tmp_path, documents=120, encoder=small_encoder)
    settings = json.loads(config.read_text())
    settings["loop"] = {}
    config.write_text(json.dumps(settings))
    play_rounds(config, tmp_path / "run", 2).close()
    return tmp_path / "run"


def test_a_changed_mind_does_not_move_the_estimate(played: Path) -> None:
    def flatter(campaign: Campaign) -> None:
        """Every audit answer is changed to what the model thought."""
        with campaign.database.read() as connection:
            rows = connection.execute(select(slot).where(slot.c.kind == "audit", slot.c.state == "answered")).all()
        assert rows and any(row.label != campaign.suggestion(row.document_id)[0] for row in rows)
        for row in rows:
            campaign.queue.correct(row.id, "simulated", campaign.suggestion(row.document_id)[0])

    def measured(name: str, before: Callable[[Campaign], None]) -> tuple:
        shutil.copytree(played, played.parent / name)
        campaign = open_run(played.parent / name)
        before(campaign)
        loop.run_rounds(campaign, 1)
        arm = campaign.arms[0]
        held, truth = predict._held_out(campaign, campaign.predictor())
        found = campaign.metrics()[-1]["audit"], campaign.outputs(arm, "evaluate", "decide"), truth.tolist()
        campaign.close()
        return *found, held.probabilities.tolist()

    assert measured("as it was", lambda _: None) == measured("flattered", flatter)


def test_decisions_know_which_answers_of_their_part_a_model_was_right_about(played: Path) -> None:
    campaign = open_run(played)
    (arm, *_), last = campaign.arms, campaign.metrics()[-1]["round"]
    deciding = {row.document_id for row in campaign.queue.audited(arm) if row.part == DECIDE}
    *_, past = progress_of(campaign, arm, last + 1).rounds
    campaign.close()
    assert deciding and deciding == past.right | past.wrong and not past.right & past.wrong
    assert past.score == len(past.right) / len(deciding)
