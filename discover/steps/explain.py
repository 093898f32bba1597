"""After step 2: why the model guesses what it does of each question. The queue shows it after the answer, as the guess.

It is computed here, when people have their questions already, so that a page never touches a model.
"""

import sys

import numpy as np
from numpy.typing import NDArray

from discover.campaign import Campaign
from discover.errors import DiscoverError
from discover.evaluate import audit
from discover.learn.estimators import OwnEstimator
from discover.learn.explain import explainer_of
from discover.learn.learner import Learner
from discover.learn.prediction import Prediction
from discover.learn.samples import column
from discover.pool.answers import agree
from discover.predictor import told
from discover.steps import Finished

WRONG, RIGHT = 4, 2  # predictions that a report explains
SPANS = 3  # of a document that are explained to people


def explain(campaign: Campaign, arm: str, round_: int, learner: Learner[OwnEstimator]) -> Finished:
    """Explain what the model, once it has learned any answer, thinks of the questions just chosen, audit ones too."""
    questions = list((campaign.output(arm, round_, "query") or {})["suggestions"])
    if not learner.classifier.taught or not questions:
        return Finished({"explanations": {}})
    try:
        explainer = explainer_of(learner.classifier, SPANS)
        explanations = explainer.explain(column([int(row_id) for row_id in questions]))
    except DiscoverError as error:  # the encoder is of a kind that cannot be explained: the run does without
        print(f"discover: nothing is explained: {error}", file=sys.stderr)
        return Finished({"explanations": {}})
    plain = told(explanations, campaign.pool, campaign.labels)
    return Finished({"explanations": dict(zip(questions, plain, strict=True))})


def examples(campaign: Campaign) -> list[dict[str, object]]:
    """Predictions of the first arm's newest model, explained: of audit answers, which it never learned.

    They are those of which it is surest, wrong ones first, each with its `text`, what was `predicted` (with several
    labels all that were given: the explanation is of the likeliest; of entities it is of the first few), how `likely`
    that is, its `answer`, and whether both are the same (`right`). Without a model that can be read, or an answer to
    hold against it, there are none.
    """
    rows = audit.answers(campaign.queue.audited(campaign.arms[0]), audit.REPORT)
    if not rows or campaign.latest_model(campaign.arms[0]) is None:
        return []
    texts = campaign.pool.texts([row.document_id for row in rows])
    try:
        found = campaign.predicted(texts)
        right = agree(found.answers, campaign.labels.array([row.label for row in rows]))
        shown = _surest(found, right)
        explained = campaign.explain([texts[at] for at in shown], spans=SPANS)
    except DiscoverError:
        return []
    predicted = campaign.labels.kept(found.answers)
    return [
        {
            **one,
            "text": texts[at],
            "predicted": campaign.labels.value(predicted[at]),
            "likely": float(found.chances[at]),
            "answer": campaign.labels.value(rows[at].label),
            "right": bool(right[at]),
        }
        for one, at in zip(explained, shown, strict=True)
    ]


def _surest(found: Prediction, right: NDArray[np.bool_]) -> list[int]:
    """Places of the surest predictions: wrong ones, then right ones, which, of entities, are to have any."""
    surest = np.argsort(-found.chances, kind="stable")
    telling = right if found.answers.dtype != object else right & np.array([len(one) > 0 for one in found.answers])
    return [*surest[~right[surest]][:WRONG].tolist(), *surest[telling[surest]][:RIGHT].tolist()]
