"""Runs in an environment of its own: a campaign of scikit-activeml, with scikit-learn's logistic regression."""

import numpy as np
from _campaign import Campaign
from skactiveml.classifier import SklearnClassifier
from skactiveml.pool import Badge, UncertaintySampling
from skactiveml.utils import MISSING_LABEL
from sklearn.linear_model import LogisticRegression

played = Campaign()
estimator = LogisticRegression(C=played.job["C"], max_iter=1000)
classifier = SklearnClassifier(estimator, classes=range(played.classes), random_state=played.seed)
strategies = {
    "margin": lambda: UncertaintySampling("margin_sampling", random_state=played.seed),
    "badge": lambda: Badge(random_state=played.seed),
}
strategy = strategies[played.job["strategy"]]()
told = np.full(len(played.y), MISSING_LABEL)
at = played.first
while True:
    told[at] = played.y[at]
    labels = int(np.sum(~np.isnan(told)))
    classifier.fit(played.vectors, told)
    played.tested_with(labels, classifier.predict(played.tested))
    if not played.left(labels):
        break
    at = strategy.query(played.vectors, told, classifier, batch_size=played.left(labels), fit_clf=False)
played.tell("scikit-activeml", "scikit-learn")
