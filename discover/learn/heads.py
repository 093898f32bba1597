"""The two heads under an encoder: of the answers alone, and of what they say of unanswered neighbours as well.

Predictions are a mixture of both. How much each has to say, and how sure it may be beside the other, is settled by
answers before they are learned: by each new one (prequential evaluation: Dawid 1984), and in a cross-validation by all
of them. The shares are those under which these answers were likeliest (stacking of densities: Smyth & Wolpert 1999,
https://doi.org/10.1023/A:1007511322260), found by expectation maximisation. Where neighbours mislead, as with opinions,
the plain head soon predicts nearly alone; where they help, the other does.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from discover.learn import head
from discover.learn.calibration import fit_temperature
from discover.learn.likelihood import Head, Likelihood
from discover.learn.propagation import propagate

PRIOR = 1.0  # answers that each head is taken to have explained before any did
MOST = 2000  # answers that are evidence, the last ones: more change nothing but the time
STEPS = 50  # of expectation maximisation


class Heads:
    """Both heads, and how they fared.

    Args:
        likelihood: of answers; with several labels there is no propagated head.

    Attributes:
        plain: weights (c, d) and bias (c,) of the answers alone; None before any.
        propagated: likewise, of the answers and their neighbours; None where there were none to look at.
        evidence: logits of both, (2, n, c), of answers that they had not learned, and these n classes; None before any.
        share: of the propagated head in the mixture.
        temperature: of the propagated head, the plain one's being 1.
    """

    evidence: tuple[NDArray[np.float32], NDArray[np.int64]] | None
    share: float
    temperature: float

    def __init__(self, likelihood: Likelihood) -> None:
        self.likelihood = likelihood
        self.plain: Head | None = None
        self.propagated: Head | None = None
        self.forget_evidence()

    def each(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        """Logits of the plain head and of the propagated one, (2, n, c), of (n, d) vectors, once there are heads."""
        assert self.plain is not None
        return np.stack([head.logits(vectors, *one) for one in (self.plain, self.propagated or self.plain)])

    @property
    def predicting(self) -> tuple[list[Head], list[float]]:
        """The heads that predict, each at its temperature, and their shares, which sum to 1."""
        assert self.plain is not None
        if self.propagated is None:
            return [self.plain], [1.0]
        weights, bias = self.propagated
        tempered = (weights / self.temperature, bias / self.temperature)
        return [self.plain, tempered], [1 - self.share, self.share]

    def combined(self, each: NDArray[np.float64]) -> NDArray[np.float64]:
        """Logits to predict with, (n, c), of those of both heads (2, n, c)."""
        if self.propagated is None:
            return each[0]
        tempered = np.stack([each[0], each[1] / self.temperature])
        return self.likelihood.mixture(tempered, [1 - self.share, self.share])

    def compare(self, each: NDArray[np.float64], classes: NDArray[np.int64]) -> None:
        """Learn from new answers which head is to be believed: its logits (2, k, c), and their classes (k,)."""
        if self.propagated is None or not len(classes):
            return
        logits = each.astype(np.float32)
        if self.evidence is not None:
            logits = np.concatenate([self.evidence[0], logits], axis=1)
            classes = np.concatenate([self.evidence[1], classes])
        self.evidence = logits[:, -MOST:], classes[-MOST:]
        self._weigh()

    def forget_evidence(self) -> None:
        """Both heads count alike again."""
        self.evidence, self.share, self.temperature = None, 0.5, 1.0

    def spread(
        self,
        vectors: NDArray[np.float32],
        classes: NDArray[np.int64],
        around: NDArray[np.float32],
        prior: NDArray[np.float32],
        penalty: head.Penalty,
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
            # Guessed classes deserve no exact optimum, and with many classes that takes seconds.
            stop = head.ROUGHLY if len(prior) >= head.MANY else head.STOP
            self.propagated = head.fit(everything, found, prior, penalty, stop)

    def state(self) -> dict[str, NDArray]:
        """As arrays by name."""
        named: dict[str, tuple[NDArray, NDArray] | None] = {
            "plain": self.plain,
            "propagated": self.propagated,
            "evidence": self.evidence,
        }
        return {f"{name}.{i}": array for name, one in named.items() if one for i, array in enumerate(one)}

    def restore(self, state: dict[str, NDArray]) -> None:
        """Become the heads that `state` was taken from."""
        self.plain, self.propagated, self.evidence = (
            (state[f"{name}.0"], state[f"{name}.1"]) if f"{name}.0" in state else None
            for name in ("plain", "propagated", "evidence")
        )
        if self.evidence is not None:
            self._weigh()

    def _weigh(self) -> None:
        """Temperature and share of the propagated head, by the evidence."""
        assert self.evidence is not None
        logits, classes = self.evidence[0].astype(np.float64), self.evidence[1]
        own = [fit_temperature(one, classes, self.likelihood) for one in logits]
        losses = [self.likelihood.losses(one / at, classes) for one, at in zip(logits, own, strict=True)]
        self.share, self.temperature = 0.5, own[1] / own[0]
        for _ in range(STEPS):
            explained = expit(losses[0] - losses[1] + logit(self.share))  # by the propagated head, of each answer
            self.share = (PRIOR + float(explained.sum())) / (2 * PRIOR + len(classes))
