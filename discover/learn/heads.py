"""The two heads under an encoder: of the answers alone, and of what they say of unanswered neighbours as well.

Predictions are the mean of both, which is steadier than either. Where one is clearly the worse, the other predicts
alone. That is settled by answers before they are learned: by each new one (prequential evaluation: Dawid 1984), and in
a cross-validation by all of them.
"""

import numpy as np
from numpy.typing import NDArray

from discover.learn import head
from discover.learn.likelihood import Head, Likelihood
from discover.learn.propagation import propagate

CRITICAL = 1.64  # standard errors by which a head must be worse before it is left


class Heads:
    """Both heads, and how they fared.

    Args:
        likelihood: of answers; with several labels there is no propagated head.

    Attributes:
        plain: weights (c, d) and bias (c,) of the answers alone; None before any.
        propagated: likewise, of the answers and their neighbours; None where there were none to look at.
        right: (2,) answers that only the plain head, and only the propagated one, was right about.
    """

    def __init__(self, likelihood: Likelihood) -> None:
        self.likelihood = likelihood
        self.plain: Head | None = None
        self.propagated: Head | None = None
        self.right = np.zeros(2, np.int64)

    def each(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        """Logits of the plain head and of the propagated one, (2, n, c), of (n, d) vectors, once there are heads."""
        assert self.plain is not None
        return np.stack([head.logits(vectors, *one) for one in (self.plain, self.propagated or self.plain)])

    @property
    def leading(self) -> int | None:
        """The head that predicts alone, 0 for the plain and 1 for the propagated one; None where both do."""
        lead, total = self.right[0] - self.right[1], self.right.sum()
        if abs(lead) <= CRITICAL * np.sqrt(total):
            return None
        return 0 if lead > 0 else 1

    @property
    def predicting(self) -> list[Head]:
        """The heads whose mean is predicted: one or both."""
        assert self.plain is not None
        both = [self.plain, self.propagated or self.plain]
        return both if self.leading is None else [both[self.leading]]

    def combined(self, each: NDArray[np.float64]) -> NDArray[np.float64]:
        """Logits to predict with, (n, c), of those of both heads (2, n, c)."""
        return self.likelihood.mean(each) if self.leading is None else each[self.leading]

    def compare(self, each: NDArray[np.float64], classes: NDArray[np.int64]) -> None:
        """Learn which head is right about new answers: its logits (2, k, c), and their classes (k,)."""
        if not self.likelihood.propagates:
            return
        plain, spread = (one.argmax(1) == classes for one in each)
        self.right = self.right + np.array([(plain & ~spread).sum(), (spread & ~plain).sum()])

    def spread(
        self,
        vectors: NDArray[np.float32],
        classes: NDArray[np.int64],
        around: NDArray[np.float32],
        prior: NDArray[np.float32],
        penalty: float,
    ) -> None:
        """Fit the propagated head.

        Args:
            vectors: (m, d) of the answered documents.
            classes: (m,) their classes.
            around: (u, d) of unanswered ones; without any there is no propagated head.
            prior: (c, d) of the classes' descriptions.
            penalty: as for `head.fit`.
        """
        self.propagated = None
        if self.plain and len(around) and self.likelihood.propagates:
            believed = self.likelihood.probabilities(head.logits(around, *self.plain))
            beliefs = np.concatenate([np.eye(len(prior))[classes], believed])
            everything = np.concatenate([vectors, around])
            found = np.concatenate([classes, propagate(everything, beliefs)[len(classes) :].argmax(1)])
            self.propagated = head.fit(everything, found, prior, penalty)

    def state(self) -> dict[str, NDArray]:
        """As arrays by name."""
        named = {"plain": self.plain, "propagated": self.propagated}
        arrays = {f"{name}.{i}": array for name, one in named.items() if one for i, array in enumerate(one)}
        return {**arrays, "right": self.right}

    def restore(self, state: dict[str, NDArray]) -> None:
        """Become the heads that `state` was taken from."""
        self.right = state["right"]
        self.plain, self.propagated = (
            (state[f"{name}.0"], state[f"{name}.1"]) if f"{name}.0" in state else None
            for name in ("plain", "propagated")
        )
