"""Logged feedback: what was asked, with what probability, what it brought, and what another policy would have asked.

A row is a pick. Shapes: n rows, k actions (candidate slots, or items), f features of an action, p of a context. Checked
once, when it is made; nothing downstream checks again. Rows are counted from 1 in messages.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from discover.errors import DiscoverError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SUM_TOLERANCE = 1e-6  # of a row's probabilities to 1, and of a propensity to its row of the behaviour
LEAST = 1e-100  # of a propensity: squares of importance ratios are finite
MOST = 1e100  # of a reward's size, likewise


@dataclass(frozen=True, eq=False)
class Feedback:
    """A log of picks and a target policy's probabilities of them. Every array is read-only.

    Attributes:
        actions: (n,) int64, which of the k actions was taken.
        rewards: (n,) what it brought.
        propensities: (n,) in (0, 1] and at least `LEAST`, the probability that the logging (behaviour) policy gave it,
            after the picks before it in its batch.
        target: (n, k), the target policy's probabilities on the same terms; None where only those of the logged
            actions are known, which direct and doubly robust estimators cannot use.
        target_propensities: (n,) of the logged actions; out of `target` where that is given.
        behaviour: (n, k), the logging policy's probabilities of all actions, where they are known.
        features: (n, k, f) of each action: then an action is a slot, and its number means nothing from row to row.
            NaN where unknown.
        contexts: (n, p) of each row. NaN where unknown.
        mask: (n, k) bool, what could be picked.
        batch: (n,) rows that were picked together, without replacement; by default each row is one.
        position: (n,) order of the draw within a batch.
        unit: (n,) what is independent of all else and is resampled: the query, or the campaign; by default the batch.
        step: (n,) round within the campaign, from 0.
        time: (n,) order in which rows were logged; only estimators for adaptive logs look at it.
        set_log_propensities: (n,) log-probability of the row's whole batch, in any order, when it was logged. NaN where
            unknown.
        set_log_targets: (n,) the same under the target.
        carried: (n,) log ratio, target over logged, of what the row's campaign drew between its batch before and this
            one, and is not in the log for want of a reward; by default nothing is missing, 0.
        skipped: (n,) likewise of what was drawn with the row's batch; it counts where the sets' probabilities do not.
        replayed: (n, n), row t column s: the probability that the policy at row t gives the action of row s; `cadr`
            weighs rows better where it knows them.
        predictions: (n, k) of the reward; by default estimators that need them fit them, cross-fitted by unit.
        shared: rewards are of whole batches, the same in each of their rows: then no ratio of a single pick fits them.
    """

    actions: Ints
    rewards: Floats
    propensities: Floats
    target: Floats | None = None
    target_propensities: Floats | None = None
    behaviour: Floats | None = None
    features: Floats | None = None
    contexts: Floats | None = None
    mask: NDArray[np.bool_] | None = None
    batch: Ints | None = None
    position: Ints | None = None
    unit: Ints | None = None
    step: Ints | None = None
    time: Ints | None = None
    set_log_propensities: Floats | None = None
    set_log_targets: Floats | None = None
    carried: Floats | None = None
    skipped: Floats | None = None
    replayed: Floats | None = None
    predictions: Floats | None = None
    shared: bool = False

    def __post_init__(self) -> None:
        n = int(np.prod(_shape("rewards", self.rewards)))
        if n == 0:
            raise DiscoverError("the log must have at least one row with a reward, found none: log decisions first")
        for name, kind, default in _ROWS:
            values = getattr(self, name)
            if values is None and default is None:
                continue
            given = default(self, n) if values is None else values
            object.__setattr__(self, name, _sealed(name, given, kind, (n,)))
        self._check_actions()
        self._check_probabilities(n)
        self._check_groups()

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def k(self) -> int | None:
        """How many actions there are; None where no array says so."""
        return next((table.shape[1] for name in _TABLES if (table := getattr(self, name)) is not None), None)

    @property
    def targets(self) -> Floats:
        """(n,) the target's probability of each logged action."""
        assert self.target_propensities is not None
        return self.target_propensities

    @property
    def units(self) -> Ints:
        """(n,) what is resampled."""
        assert self.unit is not None
        return self.unit

    def check_own_rewards(self, kind: str) -> None:
        """Refuse rewards that another kind of log cannot hold.

        Args:
            kind: what it is called.

        Raises:
            DiscoverError: rewards are of whole batches.
        """
        if self.shared:
            raise DiscoverError(
                f"{kind} gives each pick a reward of its own, and these are of whole batches: judge the log as it is, "
                "or take the picks' rewards"
            )

    def of(self, name: str) -> Any:
        """An array that not every log has.

        Raises:
            DiscoverError: this one has not.
        """
        values = getattr(self, name)
        if values is None:
            raise DiscoverError(f"{name} is needed ({_MEANINGS[name]}), and this log has none: {_REMEDIES[name]}")
        return values

    def _check_actions(self) -> None:
        n, k = len(self.actions), None
        for name in _TABLES:
            table = getattr(self, name)
            if table is None:
                continue
            shape = _shape(name, table)
            k = shape[1] if k is None and len(shape) > 1 else k
            expected: tuple[int | str, ...] = (n, "k" if k is None else k)
            if name == "features":
                expected = (*expected, *(shape[2:3] or ("f",)))
            table = _sealed(name, table, np.bool_ if name == "mask" else np.float64, expected)
            object.__setattr__(self, name, table)
        for name in ("contexts", "replayed"):
            values = getattr(self, name)
            if values is not None:
                expected = (n, n) if name == "replayed" else (n, *(_shape(name, values)[1:2] or ("p",)))
                object.__setattr__(self, name, _sealed(name, values, np.float64, expected))
        for name in ("contexts", "features", "predictions"):
            if getattr(self, name) is not None:
                _check_finite(name, getattr(self, name))
        _refuse(self.actions < 0, "actions", self.actions, "be 0 or more", "number them from 0")
        if k is not None:
            _refuse(self.actions >= k, "actions", self.actions, f"be under {k}, the number of actions", "check them")
        _refuse(~np.isfinite(self.rewards), "rewards", self.rewards, "be a number", "leave such rows out")
        most = f"be at most {MOST:g} in size"
        _refuse(np.abs(self.rewards) > MOST, "rewards", self.rewards, most, "give them in a larger unit")

    def _check_probabilities(self, n: int) -> None:
        advice = "log picks with the probability that they had, or leave such rows out"
        bad = ~((self.propensities > 0) & (self.propensities <= 1))  # NaN is bad as well
        _refuse(bad, "propensities", self.propensities, "be in (0, 1]", advice)
        said = f"be at least {LEAST:g}, since nothing so unlikely is ever drawn"
        _refuse(self.propensities < LEAST, "propensities", self.propensities, said, advice)
        rows = np.arange(n)
        if self.mask is not None:
            _refuse(~self.mask[rows, self.actions], "actions", self.actions, "be allowed by the mask", "check both")
        for name in ("target", "behaviour"):
            if getattr(self, name) is not None:
                _check_distribution(name, getattr(self, name), self.mask)
        if self.behaviour is not None:
            logged = self.behaviour[rows, self.actions]
            differs = np.abs(logged - self.propensities) > SUM_TOLERANCE
            said = "be the behaviour's probability of the logged action"
            _refuse(differs, "propensities", self.propensities, said, "take both from the same policy")
        if self.target is not None:
            logged = np.minimum(self.target[rows, self.actions], 1)  # rounding can leave a sum of one a little above
            object.__setattr__(self, "target_propensities", _frozen(logged))
        elif self.target_propensities is None:
            raise DiscoverError("a target policy is needed: give target (n, k), or target_propensities (n,)")
        _refuse(
            ~((self.targets >= 0) & (self.targets <= 1)),
            "target_propensities",
            self.targets,
            "be in [0, 1]",
            "give probabilities, not scores",
        )

    def _check_groups(self) -> None:
        assert self.step is not None and self.position is not None and self.batch is not None
        _refuse(self.step < 0, "step", self.step, "be 0 or more", "count rounds of a campaign from 0")
        for name in ("set_log_propensities", "set_log_targets"):
            values = getattr(self, name)
            if values is not None:
                _refuse(values > SUM_TOLERANCE, name, values, "be at most 0", "give logarithms of probabilities")
                drawn = name == "set_log_propensities"
                _refuse(np.isneginf(values) & drawn, name, values, "be above -inf", "what was drawn was possible")
        first = first_of(self.batch)
        equal = (
            "unit",
            "step",
            "set_log_propensities",
            "set_log_targets",
            "carried",
            "skipped",
            *(["rewards"] if self.shared else []),
        )
        for name in equal:
            values = getattr(self, name)
            if values is not None:
                said = "be the same in all rows of a batch"
                unknown = np.isnan(values) & np.isnan(values[first]) & name.startswith("set_log_")
                alike = (values == values[first]) | unknown
                _refuse(~alike, name, values, said, "give one a batch, and each batch a name of its own")
        twice = np.ones(len(self), bool)
        twice[np.unique(np.column_stack([self.batch, self.position]), axis=0, return_index=True)[1]] = False
        _refuse(twice, "position", self.position, "be different in each row of a batch", "number the draws from 0")


def first_of(groups: NDArray[Any]) -> Ints:
    """(n,) the first row of each row's group."""
    _, first, codes = np.unique(groups, return_index=True, return_inverse=True)
    return np.asarray(first[codes], np.int64)


def integers(name: str, values: ArrayLike, n: int) -> Ints:
    """(n,) whole numbers, read-only.

    Raises:
        DiscoverError: the shape is another, or one is no whole number.
    """
    return _sealed(name, values, np.int64, (n,))


def _places(feedback: Feedback, n: int) -> Ints:
    """(n,) how many rows of its batch stand before a row."""
    batch = np.asarray(feedback.batch)
    order = np.argsort(batch, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(batch[order]) != 0])
    places = np.empty(n, np.int64)
    places[order] = np.arange(n) - np.repeat(starts, np.diff(np.r_[starts, n]))
    return places


_ROWS: tuple[tuple[str, Any, Any], ...] = (  # in this order: a default may look at what comes before it
    ("actions", np.int64, None),
    ("rewards", np.float64, None),
    ("propensities", np.float64, None),
    ("target_propensities", np.float64, None),
    ("batch", np.int64, lambda _, n: np.arange(n)),
    ("position", np.int64, _places),
    ("unit", np.int64, lambda feedback, _: feedback.batch),
    ("step", np.int64, lambda _, n: np.zeros(n)),
    ("time", np.int64, lambda _, n: np.arange(n)),
    ("set_log_propensities", np.float64, None),
    ("set_log_targets", np.float64, None),
    ("carried", np.float64, lambda _, n: np.zeros(n)),
    ("skipped", np.float64, lambda _, n: np.zeros(n)),
)
_TABLES = ("target", "behaviour", "mask", "features", "predictions")
_MEANINGS = {
    "target": "the target's probability of every action",
    "behaviour": "the logging policy's probability of every action",
    "set_log_propensities": "the logged probability of each whole batch",
    "set_log_targets": "the target's probability of each whole batch",
}
_REMEDIES = {
    "target": "give a target that is known for all actions",
    "behaviour": "log it",
    "set_log_propensities": "log a strategy that draws by Gumbel top-k",
    "set_log_targets": "give a target that draws by Gumbel top-k",
}


def _shape(name: str, values: ArrayLike) -> tuple[int, ...]:
    try:
        return np.shape(values)
    except ValueError as error:  # rows of several lengths
        raise DiscoverError(f"{name} must hold as many numbers in each row, {error}: mend the log") from error


def _sealed(name: str, values: ArrayLike, kind: Any, shape: tuple[int | str, ...]) -> NDArray[Any]:
    """A read-only copy, checked; a size that only a right shape would tell is given as its letter."""
    try:
        array = np.asarray(values)
        with np.errstate(invalid="ignore"):  # what is no whole number is refused below
            found = array.astype(kind)
    except (TypeError, ValueError, OverflowError) as error:
        raise DiscoverError(f"{name} must hold numbers, {' '.join(str(error).split())}: mend the log") from error
    if found.shape != shape:
        wanted = ", ".join(str(size) for size in shape)
        raise DiscoverError(f"{name} must have the shape ({wanted}), found {found.shape}: one value a row is needed")
    if kind is np.int64 and array.dtype.kind == "f":
        _refuse(~(array == found), name, array, "be a whole number", "mend the log")
    return _frozen(found)


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array


def _check_finite(name: str, table: Floats) -> None:
    """Numbers (n, …); of contexts and features some may be missing, NaN."""
    bad = ~np.isfinite(table) if name == "predictions" else np.isinf(table)
    if bad.any():
        bad = bad.reshape(len(table), -1)
        first = table.reshape(bad.shape)[np.arange(len(bad)), bad.argmax(axis=1)]
        _refuse(np.asarray(bad.any(axis=1)), name, first, "be finite numbers", "mend the log")


def _check_distribution(name: str, table: Floats, mask: NDArray[np.bool_] | None) -> None:
    lowest = table.min(axis=1)  # NaN where one is missing
    _refuse(~(lowest >= 0), name, lowest, "hold no negative or missing probability", "give one for every action")
    if mask is not None:
        outside = np.where(mask, 0, table).max(axis=1)
        said = "give no probability to what the mask forbids"
        _refuse(outside > 0, name, outside, said, "set it to 0 and divide the rest by their sum")
    total = table.sum(axis=1)
    _refuse(np.abs(total - 1) > SUM_TOLERANCE, name, total, "sum to 1 in each row", "divide each row by its sum")


def _refuse(bad: NDArray[np.bool_], name: str, values: NDArray[Any], rule: str, advice: str) -> None:
    """Raise for the first bad row, if there is one."""
    if bad.any():
        row = int(np.argmax(bad))
        more = f" (and {int(bad.sum()) - 1} more rows)" if bad.sum() > 1 else ""
        value = "none" if values.dtype.kind == "f" and np.isnan(values[row]) else f"{values[row]:.6g}"
        raise DiscoverError(f"{name} must {rule}; row {row + 1} has {value}{more}: {advice}")
