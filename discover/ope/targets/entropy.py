"""The strategy `entropy`, from the logged entropies: the more evenly the model spreads its belief, the likelier."""

from discover.ope.candidates import Candidates
from discover.ope.feedback import Floats


def entropy(candidates: Candidates, *, temperature: float | None = None, floor: float | None = None) -> Floats:
    """(n,) log-probabilities of one draw; temperature and floor by default as the query was drawn."""
    return candidates.softmax(candidates.feature("entropy"), temperature, floor)
