"""The default, safe to leave on: coverage while labels are few, then uncertainty with diversity.

Where the model expects one class to be four fifths of all or more, as with a question that few documents answer with
yes, `rare_class` asks once there are as many labels as classes. Otherwise, while labels are of one class only, or there
are fewer than classes and the model expects to be wrong about more than a quarter of what it sees, its uncertainty says
nothing: `typiclust`, which needs no model. (Classes whose descriptions say something are known before they have labels;
covering the pool then costs more than it finds.)

From then on, where the evidence says that the model knows no more than the commonest class (the accuracy of its last
cross-validation, and the audit answers that are kept for decisions), its uncertainty is noise, and `random` asks. (With
several labels that would say nothing: where most documents have none, no set of labels is right as often as none.)
Otherwise `clustered_density_margin` between two classes, along whose one border documents are much alike, and where the
model finds the classes about equally frequent: what lies in a crowded place says something of more others. Elsewhere
crowded places are those of the frequent classes, and `spread_margin` asks (runs/LOG.md).
Cost: that of the strategy in charge.
"""

import numpy as np
from scipy.special import entr

from discover.query import uncertainty
from discover.query.acquire import Picks
from discover.query.strategies.clustered_density_margin import clustered_density_margin
from discover.query.strategies.random import random
from discover.query.strategies.rare_class import rare_class
from discover.query.strategies.spread_margin import spread_margin
from discover.query.strategies.typiclust import typiclust
from discover.query.view import View

LOST = 0.25  # share of errors that a model expects which does not know its classes yet (runs/LOG.md)
COMMON = 0.8  # expected share of a class beside which the others are rare (runs/LOG.md)
EVEN = 0.9  # share of the classes that the effective number must reach, for them to count as equally frequent


def auto(view: View, n: int, rng: np.random.Generator) -> Picks:
    """Pick by the strategy that the evidence calls for; utilities are its own."""
    few = view.counts.sum() < len(view.counts)
    single = view.labels.ndim == 1  # one label a document
    if single and not few and view.probabilities.mean(axis=0).max() >= COMMON:
        return rare_class(view, n, rng)
    if np.count_nonzero(view.counts) < min(2, len(view.counts)) or (few and uncertainty.doubt(view).mean() > LOST):
        return typiclust(view, n, rng)
    if single and _knows_nothing(view):
        return random(view, n, rng)
    if single and (len(view.counts) == 2 or _equally_frequent(view)):
        return clustered_density_margin(view, n, rng)
    return spread_margin(view, n, rng)


def _knows_nothing(view: View) -> bool:
    """Whether the newest scores say that the model is no better than always giving the commonest answer."""
    commonest = view.counts.max() / len(view.labels)
    validated = [one.cross_validated for one in view.progress.rounds if one.cross_validated is not None]
    audited = [one.low for one in view.progress.rounds if one.low is not None]
    return bool(validated) and validated[-1] <= commonest and (not audited or audited[-1] <= commonest)


def _equally_frequent(view: View) -> bool:
    """Whether the effective number of classes, exp(entropy of their expected shares; Hill 1973), is close to c.

    Shares that m answers tell of seem less even than they are: (c - 1) / 2m is added to their entropy (Miller 1955).
    """
    shares = view.probabilities.mean(axis=0)
    entropy = entr(shares).sum() + (len(shares) - 1) / (2 * len(view.labels))
    return bool(np.exp(entropy) >= EVEN * len(shares))
