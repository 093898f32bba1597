"""``query.strategy: learned``: a trained policy in the real loop.

It sees the columns that it was trained on: probabilities are the present model's, and where training had a ridge head,
one is fitted here to the labelled vectors, reduced to the candidates' principal components. Picks are drawn one by one,
since each changes what the rest is worth. A share of the picks is left to `auto`, among what the policy has not taken,
and once those are clearly worth more (`discover.policy.safety`), `auto` asks alone: so a policy that does harm never
has the whole budget.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover import plugins
from discover.errors import DiscoverError
from discover.policy import features, ridge, safety
from discover.policy.corpus import CLUSTERS, DIMENSION, Reduction
from discover.policy.saved import load_policy
from discover.policy.scorer import Scorer
from discover.pool.labels import Task
from discover.query import strategy
from discover.query.acquire import GOLDEN, Picks, draw_sequentially, per_cost
from discover.query.geometry import clusters, density, occupied
from discover.query.strategy import Strategy
from discover.query.view import View, rest

LEARNED = "learned"
Floats = NDArray[np.float64]


def load_strategy(word: str, options: dict[str, Any] | None = None, task: Task = "multiclass") -> Strategy:
    """The strategy that a config names: a trained policy, or whatever `discover.query.strategy` finds.

    Raises:
        DiscoverError: there is no such strategy or policy, an option is not its own, or it does not fit the task.
    """
    if word != LEARNED:
        return strategy.load_strategy(word, options, task)
    if task != "multiclass":
        raise DiscoverError(
            f"query.strategy {LEARNED} knows policies that were trained on one class a document, label.task is {task}: "
            "take auto"
        )
    options = dict(options or {})
    if "policy" not in options:
        raise DiscoverError("query.strategy learned needs query.options.policy: the folder that `discover policy` made")
    plugins.check_options(learned, options, f"the strategy {LEARNED!r}")
    share = options.get("auto_share", 0.2)
    if not isinstance(share, int | float) or not 0 <= share <= 1:
        raise DiscoverError(f"query.options.auto_share must be a share from 0 to 1, found {share!r}")
    load_policy(Path(options["policy"]))
    return Strategy(LEARNED, learned, options)


def policy_of(strategy: Strategy) -> str | None:
    """The digest of the trained policy that a strategy asks by; None of any other strategy."""
    if strategy.word != LEARNED:
        return None
    return str(load_policy(Path(strategy.options["policy"]))[1]["sha256"])


def learned(view: View, n: int, rng: np.random.Generator, *, policy: str, auto_share: float = 0.2) -> Picks:
    """Pick by the policy, then by `auto`; the utility of the policy's picks are its logits.

    Args:
        view: the candidates; past rounds tell what the picks of both were worth.
        n: how many.
        rng: of the draw.
        policy: the folder of a trained one.
        auto_share: of all picks of the run, those that `auto` makes; with 0 nothing tells whether the policy does harm.
    """
    scorer, card = load_policy(Path(policy))
    if reason := safety.harm(one for one in view.progress.rounds if one.policy in (None, card["sha256"])):
        alone = strategy.load_strategy("auto")(view, n, rng)
        return replace(alone, choosers=np.full(n, "auto"), note=f"auto asks alone: {reason}")
    # The whole number below or above, by turns, so that the share holds however small or uneven batches are.
    theirs = int(auto_share * n + len(view.progress.rounds) * GOLDEN % 1)
    wanted = preferences(view, scorer)
    ours = draw_sequentially(wanted, n - theirs, rng, view.temperature, view.floor)
    left, places = rest(view, ours.indices)
    others = strategy.load_strategy("auto")(left, theirs, rng)
    return Picks(
        np.concatenate([ours.indices, places[others.indices]]),
        np.concatenate([ours.utilities, others.utilities]),
        np.concatenate([ours.log_propensities, others.log_propensities]),
        temperature=ours.temperature or others.temperature,
        floor=ours.floor or others.floor,
        choosers=np.repeat(["policy", "auto"], [n - theirs, theirs]),
    )


def preferences(view: View, scorer: Scorer) -> Callable[[NDArray[np.int64]], Floats]:
    """From the (j,) positions picked so far to a policy's (n,) logits for all candidates."""
    reduced = Reduction(view.vectors, DIMENSION)
    vectors = reduced(view.vectors)
    raw, state = observed(view, vectors, reduced(view.labelled_vectors))
    units = features.unit(vectors)
    valid = np.ones(len(view), bool)
    columns = features.columns(raw, view.generator, valid)
    near = np.zeros(len(view))

    def utilities(picked: NDArray[np.int64]) -> Floats:
        nonlocal near
        if len(picked):
            near = np.maximum(near, features.similarity(units, units[picked[-1:]]))
            features.renew_batch(columns, near, valid)
        return per_cost(scorer.logits(columns, state), view.costs)

    return utilities


def observed(
    view: View, vectors: NDArray[np.float32], labelled: NDArray[np.float32]
) -> tuple[dict[str, Floats], NDArray[np.float32]]:
    """The raw columns of the candidates, (n,) each, and the state, (g,).

    Args:
        view: the candidates.
        vectors: (n, d) of them, reduced.
        labelled: (m, d) of what is labelled, reduced likewise.
    """
    likely, labels = view.probabilities, view.labels
    counts = np.bincount(labels, minlength=likely.shape[1])
    head = ridge.fit(labelled, labels, len(counts))
    sums = np.eye(len(counts))[labels].T @ labelled
    uniform = np.flatnonzero(view.generator == "uniform")
    uniform = uniform if len(uniform) else np.arange(len(view))
    scores = vectors @ head.weights
    sample = vectors[uniform].astype(np.float64)
    beliefs = ridge.sampled(sample, sample.T @ sample / len(sample), scores[uniform], likely[uniform])
    cluster, centres = clusters(view.vectors, CLUSTERS)
    raw = {
        **features.uncertainty(likely),
        "disagreement": features.disagreement(likely, vectors, sums / np.maximum(counts, 1)[:, None], counts > 0),
        **ridge.prospects(vectors, head.inverse, scores, likely, beliefs),
        "density": density(view.vectors),
        "labelled": features.similarity(features.unit(vectors), features.unit(labelled)),
        "crowd": features.crowd(occupied(view.labelled_vectors, centres)[cluster]),
        "rarity": features.rarity(likely, counts),
        "age": view.age,
        "cost": view.costs,
        "batch": np.zeros(len(view)),
    }
    left = 1 - view.progress.spent / view.progress.budget if view.progress.budget else 0.0
    sure = likely[uniform].max(axis=1)
    return raw, features.state(np.array(left), counts, sure, np.array(head.validated))
