"""One logged query's candidates, as a target policy sees them: arrays of the decision log, no model and no text.

A target is a function ``(candidates, *, options) -> (n,) log-probabilities of one draw``: a file in `targets`, or
``path/file.py:name``. A batch is drawn from them without replacement (Plackett-Luce).
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from discover import plugins
from discover.errors import DiscoverError
from discover.ope.feedback import Floats
from discover.query.acquire import log_probabilities, per_cost

PACKAGE = "discover.ope.targets"


class Unknown(DiscoverError):
    """A feature that the log has, but not of this query: it can be left out."""


Target = Callable[["Candidates"], Floats]


@dataclass(frozen=True, eq=False)
class Candidates:
    """What one query could have picked, without what its mask forbids.

    Attributes:
        query: its name.
        strategy: that picked.
        names: of the f features.
        features: (n, f) float64, NaN where unknown.
        generator: (n,) what drew each candidate.
        logits: (n,) log-probabilities of the first draw; None where there are none.
        temperature: of the draw; 0 where nothing was drawn.
        floor: likewise.
    """

    query: str
    strategy: str
    names: tuple[str, ...]
    features: Floats
    generator: NDArray[np.str_]
    logits: Floats | None
    temperature: float
    floor: float

    def __len__(self) -> int:
        return len(self.features)

    def feature(self, name: str) -> Floats:
        """(n,) one feature.

        Raises:
            DiscoverError: the log does not have it; Unknown: it does, but not of each candidate.
        """
        if name not in self.names:
            raise DiscoverError(
                f"query {self.query!r}: the target asks for the feature {name!r}, the log has {', '.join(self.names)}: "
                "take a target of the same features"
            )
        values = self.features[:, self.names.index(name)]
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise Unknown(
                f"query {self.query!r}: the feature {name!r} of candidate {bad[0] + 1} is not known: take a target "
                "that does without it"
            )
        return np.asarray(values, np.float64)

    def softmax(self, utilities: Floats, temperature: float | None, floor: float | None) -> Floats:
        """(n,) log-probabilities as the strategies draw by them: on ranks of utility by cost, over a uniform floor.

        Args:
            utilities: (n,) larger is likelier.
            temperature: by default that of the logged draw.
            floor: likewise.

        Raises:
            DiscoverError: the temperature is not above 0, the floor no share, or that of an even draw.
        """
        if floor is None and self.floor >= 1:
            raise DiscoverError(
                f"query {self.query!r} was drawn evenly, which says nothing of how another policy draws: give "
                "--target NAME,temperature=…,floor=…"
            )
        temperature = self.temperature if temperature is None else temperature
        floor = self.floor if floor is None else floor
        if not temperature > 0:
            raise DiscoverError(
                f"query {self.query!r}: a temperature above 0 is needed, found {temperature:g}: give "
                "--target NAME,temperature=…"
            )
        if not 0 <= floor <= 1:
            raise DiscoverError(f"floor must be a share from 0 to 1, found {floor:g}: it is the uniform part of a draw")
        costs = self.feature("cost") if "cost" in self.names else np.ones(len(self))
        return log_probabilities(per_cost(utilities, costs), temperature, floor)


def load_target(word: str) -> Target:
    """Find the target policy that a command line names, as ``name,option=value,…``.

    Raises:
        DiscoverError: there is no such target, or an option is not its own.
    """
    name, options = plugins.split(word)
    function = plugins.load(PACKAGE, name)
    if not callable(function):
        raise DiscoverError(f"{name!r} must be a function of the candidates, found {type(function).__name__}")
    plugins.check_options(function, options, f"the target {name!r}")
    return functools.partial(_checked, name, functools.partial(function, **options))


def _checked(word: str, function: Callable[[Candidates], Any], candidates: Candidates) -> Floats:
    """(n,) log-probabilities that sum to 1, of what the target returned."""
    try:
        found = np.asarray(function(candidates), np.float64)
    except DiscoverError:
        raise
    except Exception as error:
        if ":" not in word:
            raise  # one of ours: a bug, not the user's to mend
        raise DiscoverError(
            f"the target {word!r} failed on query {candidates.query!r}: {type(error).__name__}: {error}"
        ) from error
    if found.shape != (len(candidates),) or np.isnan(found).any() or not np.isfinite(found.max()):
        raise DiscoverError(
            f"the target {word!r} must give {len(candidates)} log-probabilities on query {candidates.query!r}, found "
            f"the shape {found.shape}{' with NaN' if np.isnan(found).any() else ''}: return one a candidate"
        )
    total = float(logsumexp(found))
    if abs(total) > 1e-6:
        raise DiscoverError(
            f"the target {word!r} must give log-probabilities that sum to 1 on query {candidates.query!r}, found "
            f"{np.exp(total):.6g}: subtract their logsumexp"
        )
    return found
