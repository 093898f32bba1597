"""What a pick was worth, once it is answered: the rule that a config names, and what it is told.

A rule is a function ``(answered, *, options) -> (k,) rewards`` in [0, 1], a file in `rewards`. It sees arrays: what the
decision log keeps of the model that chose, and the vectors of what was answered. Nothing comes from a later model, so a
killed run that goes on gives the same rewards, by the same answers.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover import plugins
from discover.errors import DiscoverError

PACKAGE = "discover.policy.rewards"
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Answered:
    """The answered picks of one query.

    Attributes:
        answers: (k,) int64 classes; or (k, c) 0 and 1, where a document may have several labels.
        probabilities: (k, c), of the model that chose, when it chose.
        make_vectors: gives (k, d) retrieval vectors of the picks.
        make_labelled_vectors: gives (m, d) of what had been asked before the query and is answered, without audits.
        labels: (m,) int64 classes of those; or (m, c).
    """

    answers: NDArray[np.int64]
    probabilities: NDArray[Any]
    make_vectors: Callable[[], NDArray[np.float32]]
    make_labelled_vectors: Callable[[], NDArray[np.float32]]
    labels: NDArray[np.int64]

    @cached_property
    def vectors(self) -> NDArray[np.float32]:
        """(k, d) of the picks."""
        return self.make_vectors()

    @cached_property
    def labelled_vectors(self) -> NDArray[np.float32]:
        """(m, d) of what was answered before."""
        return self.make_labelled_vectors()


Rule = Callable[[Answered], Floats]


def load_reward(word: str, options: dict[str, Any] | None = None) -> Rule | None:
    """The rule that a config names; None where it names none.

    Raises:
        DiscoverError: there is no such rule, or an option is not its own; when it is asked: it fails, or gives
            something else than a number in [0, 1] for each pick.
    """
    if not word:
        return None
    function = plugins.load(PACKAGE, word)
    if not callable(function):
        raise DiscoverError(f"the reward {word!r} must be a function of what was answered, found {type(function)}")
    plugins.check_options(function, dict(options or {}), f"the reward {word!r}")
    return functools.partial(_checked, word, functools.partial(function, **(options or {})))


def _checked(word: str, function: Rule, answered: Answered) -> Floats:
    k = len(answered.answers)
    with plugins.calling(f"the reward {word!r}", ours=":" not in word):
        found = np.asarray(function(answered), np.float64)
    if found.shape != (k,):
        raise DiscoverError(f"the reward {word!r} must give a number for each of {k} picks, found shape {found.shape}")
    bad = np.flatnonzero(~((found >= 0) & (found <= 1)))
    if len(bad):
        raise DiscoverError(f"the reward {word!r} must lie in [0, 1], pick {bad[0]} has {found[bad[0]]}: scale it")
    return found
