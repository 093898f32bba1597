"""Do intervals cover as often as they say? 2,000 logs for each: the bootstrap, CADR on adaptive logs, those of a range.

And are self-normalised ones as narrow as they can be: their width against Open Bandit Pipeline's, which bootstraps
r w / mean(w) with the mean held fixed, on the same logs, and on the same logs with every reward shifted by 4.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from discover.ope import rewards
from discover.ope.estimator import load_estimator
from discover.ope.evaluation import Settings, evaluate
from discover.ope.intervals import confidence_sequence, studentised
from tests.adaptive import epsilon_greedy
from tests.benchmarks._bandit_logs import Logs
from tests.benchmarks._row import row

REPLICATIONS, PEERS = 2000, 20
CELLS = [(kind, n, share) for kind in ("clicks", "normal") for n, share in ((300, 0.15), (300, 0.3), (600, 0.15))]
ESTIMATORS = ("ips", "snips", "dr", "sndr")
LOW, HIGH, ADAPTIVE, SURE = 0.93, 0.97, 0.93, 0.95
NARROWER, SHIFTED = 0.9, 0.2


def measure() -> list[dict[str, Any]]:
    """A row for each estimator and kind of log, and for each of the other intervals."""
    return [*_bootstrap(), *_adaptive(), *_ranged(), *_widths()]


def _bootstrap() -> list[dict[str, Any]]:
    rows = []
    for kind, n, share in CELLS:
        logs, covered = Logs(kind, share), dict.fromkeys(ESTIMATORS, 0)
        for seed in range(REPLICATIONS):
            feedback = rewards.with_predictions(logs.draw(n, np.random.default_rng([1, seed])))
            for word in ESTIMATORS:
                found = studentised(load_estimator(word), feedback, np.random.default_rng([2, seed]))
                covered[word] += found.low <= logs.value <= found.high
        for word, count in covered.items():
            part = count / REPLICATIONS
            rows.append(row(f"covers, {word}, {kind}, n {n}, share {share}", part, "share", LOW, LOW <= part <= HIGH))
    return rows


def _adaptive() -> list[dict[str, Any]]:
    rows = []
    for n in (300, 1000):
        covered = {"cadr": 0, "dr": 0}
        for seed in range(REPLICATIONS):
            feedback, truth = epsilon_greedy(n, np.random.default_rng([3, seed]))
            for one in evaluate(feedback, tuple(covered), Settings(resamples=200)).estimates:
                covered[one.estimator] += one.low <= truth <= one.high
        part, plain = (count / REPLICATIONS for count in covered.values())
        peer = {"peer": "dr, bootstrap", "peer_value": plain, "ratio": part / plain}
        rows.append(row(f"covers, cadr, adaptive, n {n}", part, "share", ADAPTIVE, part >= ADAPTIVE, **peer))
    return rows


def _ranged() -> list[dict[str, Any]]:
    """By Bernstein and, at every length at once, by the sequence; of ips, whose ratios the behaviour bounds."""
    logs, covered, always = Logs("clicks", 0.3), 0, 0
    settings = Settings("bernstein", reward_range=(0, 1))
    for seed in range(REPLICATIONS):
        feedback = logs.draw(300, np.random.default_rng([4, seed]))
        (found,) = evaluate(feedback, ["ips"], settings).estimates
        covered += found.low <= logs.value <= found.high
        ips = load_estimator("ips")
        high = ips.ceiling(feedback)
        ends = confidence_sequence(ips.ratios(feedback) * feedback.rewards, 0, high)
        always += bool(((ends[:, 0] <= logs.value) & (ends[:, 1] >= logs.value)).all())
    return [
        row("covers, ips, empirical Bernstein", covered / REPLICATIONS, "share", SURE, covered / REPLICATIONS >= SURE),
        row("covers always, ips, sequence", always / REPLICATIONS, "share", SURE, always / REPLICATIONS >= SURE),
    ]


def _widths() -> list[dict[str, Any]]:
    from obp.ope import SelfNormalizedInverseProbabilityWeighting

    peer, rows = SelfNormalizedInverseProbabilityWeighting(), []
    ours: dict[float, float] = {}
    for shift, goal in ((0.0, NARROWER), (4.0, SHIFTED)):
        logs, widths = Logs("clicks", 0.15), []
        for seed in range(PEERS):
            drawn = logs.draw(300, np.random.default_rng([5, seed]))
            feedback = replace(drawn, rewards=drawn.rewards + shift)
            mine = studentised(load_estimator("snips"), feedback, np.random.default_rng(seed)).width
            theirs = peer.estimate_interval(
                reward=feedback.rewards,
                action=feedback.actions,
                pscore=feedback.propensities,
                action_dist=feedback.target[:, :, None],
                n_bootstrap_samples=2000,
                random_state=seed,
            )
            ends = [value for key, value in theirs.items() if "CI" in key]
            widths.append((mine, max(ends) - min(ends)))
        mean, their_mean = (float(np.mean(column)) for column in zip(*widths, strict=True))
        ours[shift] = mean
        ratio = mean / their_mean
        held = {"peer": "obp 0.4.1", "peer_value": their_mean, "ratio": ratio}
        rows.append(row(f"width, snips, rewards + {shift:g}", mean, "reward", goal, ratio < goal, **held))
    moved = abs(ours[4.0] - ours[0.0])
    return [*rows, row("width, snips, moved by a shift of 4", moved, "reward", 1e-9, moved < 1e-9)]
