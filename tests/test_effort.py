"""How long an answer takes: what reading takes at first, then what it took."""

import numpy as np
import pytest
from sqlalchemy import update

from discover import tables
from discover.db import Database
from discover.label.effort import PAUSE, PER_WORD, START, expected_seconds, taken
from discover.label.simulate import ANNOTATOR
from tests.labeling import CLASSES, filled


def test_without_answers_it_is_what_reading_takes():
    assert expected_seconds([0, 600]) == pytest.approx([START, START + 100 * PER_WORD])


def test_answers_correct_it_by_and_by():
    rng = np.random.default_rng(0)
    lengths = rng.integers(20, 3000, 400)
    gaps = (10 + 0.1 * lengths / 6) * rng.lognormal(0, 0.3, 400)
    few, many = (expected_seconds([60, 3000], gaps[:n], lengths[:n]) for n in (5, 400))
    truth = (10 + 0.1 * np.array([60, 3000]) / 6) * np.exp(0.3**2 / 2)
    assert many == pytest.approx(truth, rel=0.2)
    assert np.abs(few - truth).max() > np.abs(many - truth).max()
    assert (expected_seconds([0, 6000], [0.001] * 1000, [3000] * 1000) > 0).all()


def test_gaps_are_a_persons_and_pauses_are_none(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'queue.db'}")
    queue, _ = filled(database, 5)
    for annotator in ("ada", "ada", "ada", ANNOTATOR, ANNOTATOR):
        (question,) = queue.claim("margin", annotator)
        queue.answer(question.slot, question.token, annotator, CLASSES[0])
    with database.write() as connection:
        for row, at in ((1, 100.0), (2, 107.0), (3, 107.0 + PAUSE), (4, 108.0), (5, 109.0)):
            connection.execute(update(tables.answer).where(tables.answer.c.id == row).values(created=at))
    gaps, lengths = taken(database, "margin")
    assert gaps == [7.0] and lengths == [len("text 1 {}")]
    assert taken(database, "random") == ([], [])
    database.close()
