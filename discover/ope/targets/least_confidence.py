"""The strategy `least_confidence`, from the logged largest probabilities: the smaller, the likelier."""

from discover.ope.candidates import Candidates
from discover.ope.feedback import Floats


def least_confidence(candidates: Candidates, *, temperature: float | None = None, floor: float | None = None) -> Floats:
    """(n,) log-probabilities of one draw; temperature and floor by default as the query was drawn."""
    return candidates.softmax(1 - candidates.feature("max_probability"), temperature, floor)
