"""Runs in an environment of its own: a campaign of stock modAL, with scikit-learn's logistic regression."""

import numpy as np
from _campaign import Campaign
from modAL.models import ActiveLearner
from modAL.uncertainty import margin_sampling
from sklearn.linear_model import LogisticRegression

played = Campaign()
estimator = LogisticRegression(C=played.job["C"], max_iter=1000)
known = played.first
learner = ActiveLearner(estimator, margin_sampling, played.vectors[known], played.y[known])
rest = np.setdiff1d(np.arange(len(played.y)), known)
while True:
    labels = len(played.y) - len(rest)
    played.tested_with(labels, learner.predict(played.tested))
    if not played.left(labels):
        break
    at, _ = learner.query(played.vectors[rest], n_instances=played.left(labels))
    learner.teach(played.vectors[rest[at]], played.y[rest[at]])
    rest = np.delete(rest, at)
played.tell("modAL-python", "scikit-learn")
