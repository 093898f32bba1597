"""After step 2: why the model guesses what it does of each question. The queue shows it after the answer, as the guess.

It is computed here, when people have their questions already, so that a page never touches a model.
"""

import sys

import numpy as np

from discover.campaign import Campaign
from discover.errors import DiscoverError
from discover.evaluate import audit
from discover.learn.classifier import TextClassifier, column
from discover.learn.explain import Explainer
from discover.learn.learner import Learner
from discover.pool.labels import agree
from discover.predictor import told
from discover.query.uncertainty import probability_of
from discover.steps import Finished

WRONG, RIGHT = 4, 2  # predictions that a report explains


def explain(campaign: Campaign, arm: str, round_: int, learner: Learner[TextClassifier]) -> Finished:
    """Explain what the model, once it has learned any answer, thinks of the questions just chosen, audit ones too."""
    questions = list((campaign.output(arm, round_, "query") or {})["suggestions"])
    if not learner.classifier.taught or not questions:
        return Finished({"explanations": {}})
    try:
        explanations = Explainer(learner.classifier).explain(column([int(row_id) for row_id in questions]))
    except DiscoverError as error:  # the encoder is of a kind that cannot be explained: the run does without
        print(f"discover: nothing is explained: {error}", file=sys.stderr)
        return Finished({"explanations": {}})
    plain = told(explanations, campaign.pool, campaign.labels)
    return Finished({"explanations": dict(zip(questions, plain, strict=True))})


def examples(campaign: Campaign) -> list[dict[str, object]]:
    """Predictions of the first arm's newest model, explained: of audit answers, which it never learned.

    They are those of which it is surest, wrong ones first, each with its `text`, what was
    `predicted` (with several labels all that were given: the explanation is of the likeliest), how `likely` that is,
    its `answer`, and whether both are the same (`right`). Without a model that can be read, or an answer to hold
    against it, there are none.
    """
    if campaign.config.label.task == "spans":
        return []
    rows = audit.answers(campaign.queue.labels(campaign.arms[0]), audit.REPORT)
    if not rows or campaign.latest_model(campaign.arms[0]) is None:
        return []
    texts = campaign.pool.texts([row.document_id for row in rows])
    try:
        likely = campaign.predict(texts)
        decided = campaign.decide(likely)
        right = agree(decided, campaign.labels.array([row.label for row in rows]))
        chances, predicted = probability_of(decided, likely), campaign.labels.kept(decided)
        surest = np.argsort(-chances, kind="stable")
        shown = [*surest[~right[surest]][:WRONG].tolist(), *surest[right[surest]][:RIGHT].tolist()]
        explained = campaign.explain([texts[at] for at in shown])
    except DiscoverError:
        return []
    return [
        {
            **one,
            "text": texts[at],
            "predicted": campaign.labels.value(predicted[at]),
            "likely": float(chances[at]),
            "answer": campaign.labels.value(rows[at].label),
            "right": bool(right[at]),
        }
        for one, at in zip(explained, shown, strict=True)
    ]
