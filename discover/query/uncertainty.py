"""How unsure a model is of its answer about each candidate: the measures that strategies, candidates and the log share.

Of one class they are modAL's. Where a document may have several labels, each with a probability of its own, they are
taken per expected label: a long list of labels, each a little unlikely, is not the doubt that a question is about
(runs/LOG.md). With s labels expected of a document,

- margin: how much likelier the s-th label is than the next, the least likely one that is given than the likeliest one
  that is withheld; between whole numbers interpolated (separation margin: Li & Guo, "Active learning with multi-label
  SVM classification", 2013);
- entropy: the sum of the labels' entropies, over s;
- doubt: one less the s-th root of the probability of the likeliest set of labels.

s is the mean of what the model expects of the document and of all candidates. Of probabilities that sum to 1, s is 1,
and margin is the margin of one class.
"""

import numpy as np
from modAL.uncertainty import classifier_entropy, classifier_margin, classifier_uncertainty
from numpy.typing import NDArray
from scipy.special import entr

from discover.query.view import View

LEAST = 1e-3  # labels that are expected at least, to divide by

Floats = NDArray[np.float64]


def margin(view: View) -> Floats:
    """(n,) how far apart the likeliest answers lie, in [0, 1]."""
    if not view.multilabel:
        return np.asarray(classifier_margin(view, view.X), np.float64)
    c = view.probabilities.shape[1]
    # A label before the first is certain, and one after the last impossible.
    falling = np.pad(-np.sort(-view.probabilities, axis=1), [(0, 0), (1, 2)])
    falling[:, 0] = 1
    gaps, rows = falling[:, :-1] - falling[:, 1:], np.arange(len(view))
    expected = np.minimum(_expected(view), c)
    below = np.floor(expected).astype(np.int64)
    share = expected - below
    return np.asarray((1 - share) * gaps[rows, below] + share * gaps[rows, below + 1], np.float64)


def entropy(view: View) -> Floats:
    """(n,) entropy of the answer, in nats."""
    if not view.multilabel:
        return np.asarray(classifier_entropy(view, view.X), np.float64)
    total = (entr(view.probabilities) + entr(1 - view.probabilities)).sum(axis=1)
    return np.asarray(total / np.maximum(_expected(view), LEAST), np.float64)


def doubt(view: View) -> Floats:
    """(n,) one less the probability of the likeliest answer."""
    if not view.multilabel:
        return np.asarray(classifier_uncertainty(view, view.X), np.float64)
    sure = np.maximum(view.probabilities, 1 - view.probabilities).prod(axis=1)
    return np.asarray(1 - sure ** (1 / np.maximum(_expected(view), LEAST)), np.float64)


def probability_of(y: NDArray[np.int64], probabilities: NDArray[np.floating]) -> NDArray[np.floating]:
    """(n,) probability of each answer: of (n,) class indices, or of (n, c) 0 and 1, all of them."""
    if y.ndim == 1:
        return np.asarray(probabilities[np.arange(len(y)), y])
    return np.asarray(np.where(y > 0, probabilities, 1 - probabilities).prod(axis=1))


def _expected(view: View) -> Floats:
    """(n,) labels expected of each document: half by its own probabilities, half by those of all candidates."""
    own = view.probabilities.sum(axis=1)
    return np.asarray((own + own.mean()) / 2 if len(own) else own, np.float64)
