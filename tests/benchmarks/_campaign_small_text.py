"""Runs in an environment of its own: a campaign of small-text, with scikit-learn's logistic regression on the vectors.

Or, where the job has texts, with its fine-tuning of the encoder and the job's learning rate.
"""

import random

import numpy as np
import torch
from _campaign import Campaign
from sklearn.linear_model import LogisticRegression
from small_text import (
    BreakingTies,
    PoolBasedActiveLearner,
    SklearnClassifierFactory,
    SklearnDataset,
    TransformerBasedClassificationFactory,
    TransformerModelArguments,
    TransformersDataset,
)
from transformers import AutoTokenizer

played = Campaign()
random.seed(played.seed)
np.random.seed(played.seed)  # noqa: NPY002 - the generator that small-text draws from
torch.manual_seed(played.seed)
labels, texts, encoder = np.arange(played.classes), played.job.get("texts"), played.job.get("encoder")
if texts:
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    longest = min(256, max(map(len, tokenizer(texts + played.job["tested_texts"])["input_ids"])))
    pool, tested = (
        TransformersDataset.from_arrays(some, y, tokenizer, target_labels=labels, max_length=longest)
        for some, y in ((texts, played.y), (played.job["tested_texts"], played.truth))
    )
    factory = TransformerBasedClassificationFactory(
        TransformerModelArguments(encoder), played.classes, kwargs={"lr": played.job["learning_rate"], "device": "cpu"}
    )
else:
    pool, tested = (
        SklearnDataset(*some, labels) for some in ((played.vectors, played.y), (played.tested, played.truth))
    )
    factory = SklearnClassifierFactory(LogisticRegression(C=played.job["C"], max_iter=1000), played.classes)
learner = PoolBasedActiveLearner(factory, BreakingTies(), pool)
learner.initialize_data(played.first, played.y[played.first])


def predicted():
    if texts:
        return learner.classifier.predict(tested)
    # Its own `predict` takes a column for a class, which is wrong while one has no label; scikit-learn's is not.
    return learner.classifier.model.predict(played.tested)


while True:
    known = len(learner.indices_labeled)
    played.tested_with(known, predicted())
    if not played.left(known):
        break
    learner.update(played.y[learner.query(num_samples=played.left(known))])
played.tell("small-text", "scikit-learn", "transformers", "torch")
