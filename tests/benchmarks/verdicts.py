"""How often verdicts err: logs whose target wants what the logging policy never takes, and logs with full support.

With the logging policy's probabilities of all actions in the log, and with the logged propensities alone.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover.ope import diagnostics, ratios
from discover.ope.feedback import Feedback
from tests.benchmarks._bandit_logs import Logs
from tests.benchmarks._row import row

REPLICATIONS, CAUGHT, FALSE = 1000, 0.95, 0.05
CELLS = ((300, 0.15), (300, 0.3), (1000, 0.15), (1000, 0.5))


def measure() -> list[dict[str, Any]]:
    """A row of false refusals and two of caught logs for each size and effective share."""
    rows = []
    for n, share in CELLS:
        for known in (True, False):
            refused, caught, masses = 0, 0, []
            logs = Logs("clicks", share)
            for seed in range(REPLICATIONS):
                feedback = logs.draw(n, np.random.default_rng([6, seed]))
                refused += _refused(feedback if known else replace(feedback, behaviour=None))
                lacking, mass = _without_favourites(feedback, np.random.default_rng([7, seed]))
                masses.append(mass)
                caught += _refused(lacking if known else replace(lacking, behaviour=None))
            said = "behaviour known" if known else "propensities alone"
            part, wrong = caught / REPLICATIONS, refused / REPLICATIONS
            lost = f"{np.mean(masses):.0%} of the target"
            rows.append(row(f"refused, full support, n {n}, {share}, {said}", wrong, "share", FALSE, wrong <= FALSE))
            rows.append(row(f"refused, {lost} lost, n {n}, {said}", part, "share", CAUGHT, part >= CAUGHT))
    return rows


def _without_favourites(feedback: Feedback, rng: np.random.Generator) -> tuple[Feedback, float]:
    """The same contexts, logged by a policy that never takes the action the target likes best on average."""
    target, behaviour = feedback.of("target"), np.array(feedback.of("behaviour"))
    favourite = int(target.mean(axis=0).argmax())
    behaviour[:, favourite] = 0
    behaviour /= behaviour.sum(axis=1, keepdims=True)
    actions: NDArray[np.int64] = (rng.uniform(size=(len(target), 1)) > behaviour.cumsum(axis=1)).sum(axis=1)
    actions = np.minimum(actions, target.shape[1] - 1)
    chosen = behaviour[np.arange(len(target)), actions]
    return Feedback(actions, feedback.rewards, chosen, target, behaviour=behaviour), float(target[:, favourite].mean())


def _refused(feedback: Feedback) -> bool:
    checks = [*diagnostics.of_log(feedback), *diagnostics.of_ratios(ratios.of_picks(feedback))]
    return diagnostics.worst(checks) == "refuse"
