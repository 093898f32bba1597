"""The strategy `margin`, from the logged margins: the closer the two likeliest classes, the likelier."""

from discover.ope.candidates import Candidates
from discover.ope.feedback import Floats


def margin(candidates: Candidates, *, temperature: float | None = None, floor: float | None = None) -> Floats:
    """(n,) log-probabilities of one draw; temperature and floor by default as the query was drawn."""
    return candidates.softmax(1 - candidates.feature("margin"), temperature, floor)
