"""The default, safe to leave on: coverage while labels are few, then uncertainty with diversity, and some chance.

While labels are of one class only, or there are fewer than classes and the model expects to be wrong about more than a
quarter of what it sees, its uncertainty says nothing: `typiclust`, which needs no model. (Classes whose descriptions
say something are known before they have labels; covering the pool then costs more than it finds.)

From then on `spread_margin`, but for a fifth of each batch, which is drawn evenly from the pool: that corrects what
the model believes of the shares of classes, as margins never do, and what it is surely wrong about (runs/LOG.md).
Where the evidence says that it knows no more than the commonest class (the accuracy of its last cross-validation, and
the audit answers that are kept for decisions), its uncertainty is noise, and `random` asks.

Cost: that of the strategy in charge.
"""

from dataclasses import replace

import numpy as np

from discover.query import uncertainty
from discover.query.acquire import Picks, gumbel_top_k
from discover.query.sharing import due, then
from discover.query.strategies.random import random
from discover.query.strategies.spread_margin import spread_margin
from discover.query.strategies.typiclust import typiclust
from discover.query.view import View

LOST = 0.25  # share of errors that a model expects which does not know its classes yet (runs/LOG.md)
EVEN = 0.2  # of a batch, drawn evenly (runs/LOG.md)


def auto(view: View, n: int, rng: np.random.Generator) -> Picks:
    """Pick by the strategy that the evidence calls for; utilities are its own, and 0 of what is drawn evenly."""
    few = view.counts.sum() < len(view.counts)
    if np.count_nonzero(view.counts) < min(2, len(view.counts)) or (few and uncertainty.doubt(view).mean() > LOST):
        return typiclust(view, n, rng)
    if _knows_nothing(view):
        return random(view, n, rng)
    even = due(EVEN, view.progress.spent, n)
    return then(spread_margin(view, n - even, rng), view, even, _evenly, rng)


def _evenly(view: View, n: int, rng: np.random.Generator) -> Picks:
    """A draw from the candidates that are a uniform sample of the pool; from all, where there are too few of them."""
    sample = np.flatnonzero(view.generator == "uniform")
    sample = sample if len(sample) >= n else np.arange(len(view))
    picks = gumbel_top_k(np.zeros(len(sample)), n, rng, temperature=1.0, floor=1.0)
    return replace(picks, indices=sample[picks.indices])


def _knows_nothing(view: View) -> bool:
    """Whether the newest scores say that the model is no better than always giving the commonest answer."""
    commonest = np.unique(view.labels, axis=0, return_counts=True)[1].max() / len(view.labels)
    validated = [one.cross_validated for one in view.progress.rounds if one.cross_validated is not None]
    audited = [one.low for one in view.progress.rounds if one.low is not None]
    return bool(validated) and validated[-1] <= commonest and (not audited or audited[-1] <= commonest)
