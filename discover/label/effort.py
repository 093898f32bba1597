"""How long an answer takes: seconds by the length of a text, from the answers that people have given.

``seconds = start + per_word * words``, fitted to the gaps between an annotator's answers, relative errors squared, and
drawn towards what silent reading of English takes: 238 words a minute (Brysbaert 2019, https://osf.io/xynwg) and three
seconds to decide. A gap of more than `PAUSE` seconds is a pause and says nothing.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sqlalchemy import func, select

from discover import tables
from discover.db import Database
from discover.label.simulate import ANNOTATOR as SIMULATED

START, PER_WORD = 3.0, 60 / 238
PAUSE, LATEST, STRENGTH = 300.0, 1000, 1.0  # seconds; answers that are looked at; pull towards the prior
CHARACTERS = 6.0  # of a word and its space
LEAST = 0.1  # of the prior, that either number must keep


def expected_seconds(characters: ArrayLike, gaps: ArrayLike = (), lengths: ArrayLike = ()) -> NDArray[np.float64]:
    """(n,) seconds that answers will take.

    Args:
        characters: (n,) lengths of the texts to be asked about.
        gaps: (k,) seconds that answers have taken.
        lengths: (k,) lengths of their texts, in characters.
    """
    took, prior = np.asarray(gaps, np.float64), np.array([START, PER_WORD])
    terms = np.stack([np.ones(len(took)), np.asarray(lengths, np.float64) / CHARACTERS], axis=1)
    weights = 1 / (terms @ prior)
    pull = np.sqrt(STRENGTH) / prior
    rows = np.concatenate([terms * weights[:, None], np.diag(pull)])
    found = np.linalg.lstsq(rows, np.concatenate([took * weights, pull * prior]), rcond=None)[0]
    start, per_word = np.maximum(found, LEAST * prior)
    return start + per_word * np.asarray(characters, np.float64) / CHARACTERS


def taken(database: Database, arm: str) -> tuple[list[float], list[int]]:
    """Seconds of people's latest answers and the lengths of their texts, in characters; pauses are left out."""
    answer, slot, document = tables.answer.c, tables.slot.c, tables.document.c
    latest = (
        select(answer.annotator, answer.created, func.length(document.text))
        .join(tables.slot, slot.id == answer.slot_id)
        .join(tables.document, document.id == slot.document_id)
        .where(slot.arm == arm, slot.state != tables.REMOVED, answer.action == "answer", answer.annotator != SIMULATED)
        .order_by(answer.id.desc())
        .limit(LATEST)
    )
    before: dict[str, float] = {}
    gaps, lengths = [], []
    with database.read() as connection:
        for annotator, created, length in reversed(connection.execute(latest).all()):
            gap = created - before.get(annotator, -PAUSE)
            before[annotator] = created
            if 0 < gap < PAUSE:
                gaps.append(gap)
                lengths.append(length)
    return gaps, lengths
