"""Labeling campaigns in memory, many side by side: what every environment here is made of.

An episode is one corpus, cut into a pool to ask from, a sample for the state, and documents that rewards are measured
on, all disjoint, besides the corpus's test documents for the report. All its chance is spent at its start: the order
of the pool is a random permutation, and candidates are taken from it in turn, so that the same seed gives the same
documents whatever the policy does.

A round draws candidates: the next of the pool's order (``uniform``), the newest (its other end), and of a stretch
further on those nearest to what was labelled last (``neighbours``) and those with the smallest margin (``uncertain``).
Within a round `batch` of them are picked one by one. The head learns each label at once and the reward follows; what
the policy sees of the candidates stays as it was at the round's start, but for its own picks, as in a real loop.
"""

import copy
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from discover.errors import DiscoverError
from discover.policy import features, ridge
from discover.policy.config import SCAN, EpisodeConfig
from discover.policy.corpus import Corpus
from discover.query.config import CandidateConfig
from discover.query.view import PastRound, Progress, View
from envs.head import RidgeHeads, Rows, of
from envs.lookahead import LookAhead
from envs.scores import Scorer

Floats = NDArray[np.float64]

ANCHORS = 4  # labelled documents whose neighbours are looked for, the newest
SHARES = {name: getattr(CandidateConfig(), name) for name in features.GENERATORS}  # as a loop draws by default
LEFT = features.STATE.index("left")
CALIBRATE = 1.5  # times as many labels since the last calibration


class Episodes:
    """e episodes, each at its own place.

    Args:
        corpora: at least one; each episode draws one.
        count: e.
        rules: of all of them.

    Attributes:
        rules: those, with the sizes that the smallest corpus allows.
        time: (e,) steps taken.
        quality: (e,) of the head on the reward documents, now.
        pool: (e, n) positions in the episode's corpus, in the order of the draw.
        labelled: (e, n), which of the pool are.
        slots: (e, k) places in the pool of this round's candidates.
        valid: (e, k), which of them may be picked.
        observed: (e, k, f) float32 features of the candidates.
        state: (e, g) float32.
        returned: (e,) sum of the rewards so far, those of the twin not subtracted: at the end the mean of Q_1 … Q_T
            less Q_0, the ``mean_return``.
    """

    def __init__(self, corpora: Sequence[Corpus], count: int, rules: EpisodeConfig):
        if not corpora:
            raise DiscoverError("an environment needs at least one corpus, found none")
        sizes = [(one.name, one.vectors.shape[1]) for one in corpora]
        if len({size for _, size in sizes}) > 1:
            raise DiscoverError(f"corpora of one environment must have vectors of one size, found {sizes}")
        self.corpora = list(corpora)
        smallest = min(corpora, key=len)
        tested = min(len(one.test_labels) for one in corpora)
        self.rules = rules = rules.cut_to(len(smallest), tested, smallest.name)
        e, k, n = count, rules.candidates, rules.pool
        self.corpus_of = np.zeros(e, np.int64)
        dimension = corpora[0].vectors.shape[1]
        self.head = RidgeHeads(e, dimension, max(one.classes for one in corpora), rules.reward + rules.report)
        self.scorer = Scorer(e, rules.reward, rules.report, self.head.counts.shape[1])
        self.time, self.quality = np.zeros(e, np.int64), np.zeros(e)
        self.pool = np.zeros((e, n), np.int64)
        self.vectors = np.zeros((e, n, dimension), np.float32)
        self._lengths = [features.lengths(one.vectors) for one in corpora]
        self.lengths = np.zeros((e, n), np.float32)
        self.labels, self.cluster = np.zeros((e, n), np.int64), np.zeros((e, n), np.int64)
        self.density, self.cost = np.zeros((e, n)), np.zeros((e, n))
        self.labelled = np.zeros((e, n), bool)
        self.order = np.zeros((e, rules.budget), np.int64)  # places in the pool, in the order of their labels
        self.crowded = np.zeros((e, max(int(one.cluster.max()) for one in corpora) + 1), np.int64)
        self.moment = np.zeros((e, dimension, dimension))
        self.sample = np.zeros((e, rules.state, dimension), np.float32)
        self.pointer, self.calibrated = np.zeros(e, np.int64), np.zeros(e, np.int64)
        self.slots, self.valid = np.zeros((e, k), np.int64), np.zeros((e, k), bool)
        # Copies that lie side by side: unit vectors of what is in `order`, and vectors of this round's candidates.
        self._learned = np.zeros((e, rules.budget, dimension - 1), np.float32)
        self._shown = np.zeros((e, k, dimension), np.float32)
        self.near_batch = np.zeros((e, k))
        self.observed = np.zeros((e, k, len(features.NAMES)), np.float32)
        self.state = np.zeros((e, len(features.STATE)), np.float32)
        self._shares = _counts(min(k, n))  # a pool smaller than k leaves slots empty
        self.generator = np.full(k, "uniform", dtype="<U10")
        self.generator[: sum(self._shares)] = np.repeat(list(SHARES), self._shares)
        self.returned = np.zeros(e)
        self._over = np.ones(e, bool)  # or not begun
        self._ahead = LookAhead(self.head, self.scorer, rules.reward)
        self._twin = Twin(corpora, count, rules.model_copy(update={"twin": False})) if rules.twin else None

    @property
    def spent(self) -> Rows:
        """(e,) labels so far, seed labels included."""
        return self.head.counts.sum(axis=1)

    def reset(self, rngs: Mapping[int, np.random.Generator]) -> None:
        """Begin some episodes anew, each with a generator of its own."""
        if self._twin:
            self._twin.reset(copy.deepcopy(rngs))
        for row, rng in rngs.items():
            self._deal(row, rng)
        rows, first = np.array(sorted(rngs)), slice(self.rules.initial)
        self.head.reset(rows, self.vectors[rows, first], self.labels[rows, first])
        self._begin_round(rows)
        self.quality[rows] = self.scorer.quality(self.head.scores[rows], self.rules.metric, rows=rows)

    def _deal(self, row: int, rng: np.random.Generator) -> None:
        """Draw an episode's corpus, splits and seed labels."""
        rules = self.rules
        which = int(rng.integers(len(self.corpora)))
        corpus, self.corpus_of[row] = self.corpora[which], which
        draw = rng.permutation(len(corpus))
        ends = np.cumsum([rules.pool, rules.state, rules.reward])
        pool, sample, reward = np.split(draw[: ends[-1]], ends[:-1])
        self.pool[row], self.vectors[row] = pool, corpus.vectors[pool]
        self.lengths[row] = self._lengths[which][pool]
        self.labels[row], self.cluster[row] = corpus.labels[pool], corpus.cluster[pool]
        self.density[row], self.cost[row] = corpus.density[pool], rng.lognormal(size=len(pool))
        self.sample[row] = corpus.vectors[sample]
        rows = self.sample[row].astype(np.float64)
        self.moment[row] = rows.T @ rows / len(rows)
        # At even distances: the first ones of a file in the order of classes would be of one class.
        tested = np.arange(rules.report) * len(corpus.test_labels) // max(1, rules.report)
        self.head.held_out[row] = np.concatenate([corpus.vectors[reward], corpus.test_vectors[tested]]).T
        self.scorer.reset(row, np.concatenate([corpus.labels[reward], corpus.test_labels[tested]]))
        self._ahead.forget(row)
        first = np.arange(rules.initial)
        self.labelled[row] = np.arange(rules.pool) < rules.initial
        self.order[row, : rules.initial] = first
        self._learned[row] = 0
        self._learned[row, : rules.initial] = features.unit(self.vectors[row, first])
        self.crowded[row] = np.bincount(self.cluster[row, first], minlength=self.crowded.shape[1])
        self.time[row], self.pointer[row], self.calibrated[row] = 0, rules.initial, rules.initial
        self.returned[row], self._over[row] = 0, False

    def check_going(self) -> None:
        """Refuse to go on with what is over.

        Raises:
            DiscoverError: an episode has not begun, or has ended.
        """
        if self._over.any():
            raise DiscoverError("expected a reset before the first step, and after the last, found none: call reset")

    def step(self, actions: Rows) -> tuple[Floats, NDArray[np.bool_], NDArray[np.bool_]]:
        """Pick one candidate in every episode; one that is masked changes nothing but the time.

        Args:
            actions: (e,) slots.

        Returns:
            (e,) rewards ``(Q_t - Q_t-1)(T - t + 1) / T``; (e,), which actions were masked; (e,), which episodes are
            over.

        Raises:
            DiscoverError: an action is no slot, or there are more or fewer than episodes; or one is over.
        """
        self.check_going()
        e, k = self.valid.shape
        if actions.shape != (e,) or actions.dtype.kind not in "iu" or actions.min() < 0 or actions.max() >= k:
            found = " ".join(str(actions).split())
            raise DiscoverError(
                f"an action must be a whole number from 0 to {k - 1}, for each of {e} episodes, found {found:.80}"
            )
        every, steps = np.arange(e), self.rules.steps
        taken = self.valid[every, actions]
        places = self.slots[every, actions]
        self.time += 1
        self.head.teach(self._shown[every, actions], self.labels[every, places], taken)
        rows = every[taken]
        last = self.spent[rows] - 1
        self.order[rows, last] = places[rows]
        self._learned[rows, last] = self._shown[rows, actions[rows], :-1] / self.lengths[rows, places[rows], None]
        self.labelled[rows, places[rows]] = True
        self.crowded[rows, self.cluster[rows, places[rows]]] += 1
        self.valid[rows, actions[rows]] = False
        before, self.quality = self.quality, self.scorer.quality(self.head.scores, self.rules.metric)
        rewards = (self.quality - before) * (steps - self.time + 1) / steps
        self.returned += rewards
        if self._twin:
            rewards = rewards - self._twin.step(self._twin.smallest_margin())[0]
        over = self.time >= steps
        full = taken & ((self.spent - self.rules.initial) % self.rules.batch == 0) & ~over
        self._begin_round(np.flatnonzero(full))
        going = np.flatnonzero(taken & ~full & ~over)
        self._renew_batch(going)
        self.state[:, LEFT] = 1 - self.spent / self.rules.budget
        self._over = over | ~self.valid.any(axis=1)
        return rewards, ~taken, self._over.copy()

    def greedy(self, column: str) -> Rows:
        """(e,) slot of the candidate that ranks highest in a column of the features."""
        ranks = self.observed[:, :, features.RANKED.index(column)]
        return np.where(self.valid, ranks, -1).argmax(axis=1)

    def report(self, rows: slice | Sequence[int] = slice(None)) -> dict[str, Floats]:
        """Accuracy and macro-F1, (r,) each, of some episodes, by default all, on the report's documents."""
        scores = self.head.scores[rows]
        return {name: self.scorer.quality(scores, name, reported=True, rows=rows) for name in ("accuracy", "macro_f1")}

    def lookahead(self) -> Floats:
        """(e, k) what each candidate's true label would gain at once (`envs.lookahead`), for learning only."""
        every = np.arange(len(self.time))[:, None]
        return self._ahead.gains(self.vectors[every, self.slots], self.labels[every, self.slots], self.valid)

    def view(self, row: int) -> View:
        """The candidates, now, of an episode as a query strategy of the loop sees them; ids are slots."""
        slots, learned = np.flatnonzero(self.valid[row]), self.order[row, : self.spent[row]]
        places, classes = self.slots[row, slots], self.corpora[self.corpus_of[row]].classes

        def likely() -> Floats:
            scores = self.vectors[row, places] @ self.head.weights[row]
            return ridge.probabilities(scores, self.head.seen[row], self.head.sharpness[row])[:, :classes]

        number = int(self.time[row]) // self.rules.batch
        known = PastRound(number, cross_validated=float(self.head.validated[row]))
        return View(
            ids=slots,
            generator=self.generator[slots],
            age=self.rules.pool - places.astype(np.float64),
            costs=np.ones(len(slots)),
            temperature=0,
            floor=0,
            progress=Progress(float(self.spent[row]), self.rules.budget, (known,)),
            make_vectors=lambda: features.unit(self.vectors[row, places]),
            make_probabilities=likely,
            make_labelled_vectors=lambda: features.unit(self.vectors[row, learned]),
            make_labels=lambda: self.labels[row, learned],
        )

    def _begin_round(self, rows: Rows) -> None:
        """Draw candidates for some episodes and look at them."""
        if not len(rows):
            return
        due = rows[self.spent[rows] >= self.calibrated[rows] * CALIBRATE]
        for spent in np.unique(self.spent[due]).tolist():
            at = due[self.spent[due] == spent]
            places = self.order[at, :spent]
            self.head.refresh(at, self.vectors[at[:, None], places], self.labels[at[:, None], places])
            self.calibrated[at] = spent
        self._draw(rows)
        self._look(rows)

    def _look(self, rows: Rows) -> None:
        """What the policy sees of some episodes at the start of a round."""
        self.near_batch[rows] = 0
        likely, sample = self.beliefs(rows)
        self.observed[rows] = features.columns(self.raw(rows, sample), self.generator, self.valid[rows])
        left, sure = 1 - self.spent[rows] / self.rules.budget, ridge.largest(likely)
        self.state[rows] = features.state(left, self.head.counts[rows], sure, self.head.validated[rows])

    def _draw(self, rows: Rows) -> None:
        """Candidates of some episodes for a round: places in the pool, and whether they may be picked."""
        r, n, k = len(rows), self.rules.pool, self.rules.candidates
        uniform, near, unsure, newest = self._shares
        stretch = (self.pointer[rows, None] + np.arange(min(SCAN * k, n - newest))) % n
        self.pointer[rows] = (self.pointer[rows] + stretch.shape[1]) % n
        last = n - 1 - (self.time[rows, None] // self.rules.batch * newest + np.arange(newest)) % n
        taken = self.labelled[rows]
        np.put_along_axis(taken, last, True, axis=1)
        free = ~np.take_along_axis(taken, stretch, axis=1)
        slots = np.full((r, k), -1)
        start = uniform + near + unsure
        slots[:, start : start + newest] = last
        # The first free ones are the uniform share: a stable sort brings them to the front.
        stretch = np.take_along_axis(stretch, np.argsort(~free, axis=1, kind="stable"), axis=1)
        free = np.sort(free, axis=1)[:, ::-1]
        slots[:, :uniform] = np.where(free[:, :uniform], stretch[:, :uniform], -1)
        rest, free = stretch[:, uniform:], free[:, uniform:].copy()
        at = rows[:, None]
        vectors = self.vectors[at, rest]
        anchors = self._learned[at, np.maximum(self.spent[at] - 1 - np.arange(ANCHORS), 0)]
        for start, count, wanted in (
            (uniform, near, self._nearness(rows, rest, vectors, anchors)),
            (uniform + near, unsure, features.margin(self._likely(rows, vectors)[1])),
        ):
            best = np.argsort(np.where(free, -wanted, np.inf), axis=1, kind="stable")[:, :count]
            found = np.take_along_axis(np.where(free, rest, -1), best, axis=1)
            slots[:, start : start + found.shape[1]] = found
            np.put_along_axis(free, best, False, axis=1)
        self.valid[rows] = (slots >= 0) & ~self.labelled[rows[:, None], slots]
        self.slots[rows] = np.maximum(slots, 0)
        for row in rows[self.valid[rows].sum(axis=1) < self.rules.batch]:
            self._fill(row)
        self._shown[rows] = self.vectors[at, self.slots[rows]]

    def _fill(self, row: int) -> None:
        """Where a stretch held fewer free documents than a batch: the first free ones of the pool into empty slots.

        So an episode goes on for as long as its pool has documents.
        """
        free = ~self.labelled[row]
        free[self.slots[row, self.valid[row]]] = False
        places, empty = np.flatnonzero(free), np.flatnonzero(~self.valid[row])
        count = min(len(places), len(empty))
        self.slots[row, empty[:count]] = places[:count]
        self.valid[row, empty[:count]] = True

    def _likely(self, rows: Rows, vectors: NDArray) -> tuple[NDArray, NDArray]:
        """Scores and class probabilities, (r, s, c) each, of (r, s, d) vectors of some episodes, in their precision."""
        scores = np.matmul(vectors, of(self.head.weights, rows).astype(vectors.dtype, copy=False))
        return scores, ridge.probabilities(scores, self.head.seen[rows], self.head.sharpness[rows])

    def beliefs(self, rows: Rows) -> tuple[Floats, ridge.Sample]:
        """Class probabilities of some episodes' state documents, (r, s, c), and what `raw` needs of those."""
        sample = of(self.sample, rows)
        scores, likely = self._likely(rows, sample)
        return likely, ridge.sampled(sample, of(self.moment, rows), scores, likely)

    def raw(self, rows: Rows, sample: ridge.Sample) -> dict[str, Floats]:
        """Raw columns of some episodes' candidates, (r, k) each, at the start of a round."""
        head, places = self.head, self.slots[rows]
        at, shown = rows[:, None], of(self._shown, rows)
        vectors, cluster = shown.astype(np.float64), self.cluster[at, places]
        scores, likely = self._likely(rows, vectors)
        means = of(head.sums, rows) / np.maximum(head.counts[rows], 1)[..., None]
        return {
            **features.uncertainty(likely),
            "disagreement": features.disagreement(likely, vectors, means, head.seen[rows]),
            **ridge.prospects(vectors, of(head.inverse, rows), scores, likely, sample),
            "density": self.density[at, places],
            "labelled": self._nearness(rows, places, shown, of(self._learned, rows)[:, : self.spent[rows].max()]),
            "crowd": features.crowd(self.crowded[at, cluster]),
            "rarity": features.rarity(likely, head.counts[rows]),
            "age": self.rules.pool - places.astype(np.float64),
            "cost": self.cost[at, places],
            "batch": np.zeros(places.shape),
        }

    def _nearness(self, rows: Rows, places: Rows, vectors: NDArray, units: NDArray[np.float32]) -> Floats:
        """(r, s) cosines of documents at some places, with these vectors, to the nearest of (r, m, d - 1) unit ones."""
        return features.similarity(vectors[..., :-1], units) / self.lengths[rows[:, None], places]

    def _renew_batch(self, rows: Rows) -> None:
        """Within a round: how near each candidate is to what was picked."""
        if not len(rows):
            return
        picked = self._learned[rows, self.spent[rows] - 1][:, None]
        near = self._nearness(rows, self.slots[rows], of(self._shown, rows), picked)
        self.near_batch[rows] = np.maximum(self.near_batch[rows], near)
        found = of(self.observed, rows)
        features.renew_batch(found, self.near_batch[rows], self.valid[rows])
        if found is not self.observed:
            self.observed[rows] = found


class Twin(Episodes):
    """What margin does with the same chance: of its candidates it looks at nothing else."""

    def __init__(self, corpora: Sequence[Corpus], count: int, rules: EpisodeConfig):
        super().__init__(corpora, count, rules)
        self._margins = np.zeros(self.valid.shape)

    def smallest_margin(self) -> Rows:
        """(e,) slot of the candidate with the smallest margin."""
        return np.where(self.valid, self._margins, -1).argmax(axis=1)

    def _look(self, rows: Rows) -> None:
        self._margins[rows] = features.margin(self._likely(rows, of(self._shown, rows).astype(np.float64))[1])

    def _renew_batch(self, rows: Rows) -> None:
        """The margin does not change with what else is picked."""


def _counts(k: int) -> list[int]:
    """Candidates of each generator; what rounding leaves goes to the uniform ones."""
    counts = [int(share * k) for share in SHARES.values()]
    counts[0] += k - sum(counts)
    return counts
