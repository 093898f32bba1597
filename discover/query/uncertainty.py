"""How sure a model is of its answer about each candidate: the measures that strategies, candidates and the log share.

Of one class they are modAL's. Of several labels they are the same measures of the distribution over *answers*, that is
over all sets of labels, which the model takes to be independent: the likeliest set has the probability ``prod_j
max(p_j, 1 - p_j)``, the second likeliest differs from it in the least certain label (so the margin generalises binary
minimum: Brinker 2006, "On active learning in multi-label classification"), and the entropy of a set is the sum of its
labels' entropies. Settles 2009, section 3.1, has the measures of distributions over structured answers.
"""

import numpy as np
from modAL.uncertainty import classifier_entropy, classifier_margin, classifier_uncertainty
from numpy.typing import NDArray
from scipy.special import entr

from discover.pool.labels import Task
from discover.query.view import View

Floats = NDArray[np.float64]


def margin(view: View) -> Floats:
    """(n,) how much likelier the likeliest answer is than the second likeliest."""
    if not view.multilabel:
        return np.asarray(classifier_margin(view, view.X), np.float64)
    sure = np.maximum(view.probabilities, 1 - view.probabilities)
    least = sure.min(axis=1)
    return np.asarray(sure.prod(axis=1) * (1 - (1 - least) / least), np.float64)


def entropy(view: View) -> Floats:
    """(n,) entropy of the answer, in nats."""
    if not view.multilabel:
        return np.asarray(classifier_entropy(view, view.X), np.float64)
    return np.asarray((entr(view.probabilities) + entr(1 - view.probabilities)).sum(axis=1), np.float64)


def doubt(view: View) -> Floats:
    """(n,) one less the probability of the likeliest answer."""
    if not view.multilabel:
        return np.asarray(classifier_uncertainty(view, view.X), np.float64)
    return 1 - confidence(view.probabilities, "multilabel")


def confidence(probabilities: Floats, task: Task) -> Floats:
    """(n,) probability of the likeliest answer, of (n, c) probabilities."""
    if task == "multilabel":
        return np.asarray(np.maximum(probabilities, 1 - probabilities).prod(axis=1), np.float64)
    return np.asarray(probabilities.max(axis=1), np.float64)


def probability_of(y: NDArray[np.int64], probabilities: NDArray[np.floating]) -> Floats:
    """(n,) probability of each answer: of (n,) class indices, or of (n, c) 0 and 1, all of them."""
    if y.ndim == 1:
        return np.asarray(probabilities[np.arange(len(y)), y], np.float64)
    return np.asarray(np.where(y > 0, probabilities, 1 - probabilities).prod(axis=1), np.float64)
