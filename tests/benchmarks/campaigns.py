"""Eight policies judged offline from 2,000 logged campaigns of 10 rounds: the README's script, as it stands there."""

import re
from pathlib import Path
from typing import Any

from scipy.stats import spearmanr

from tests.benchmarks._row import row

README = Path(__file__).parent.parent.parent / "README.md"
HEADING, CORRELATION, REGRET = "## Compare policies offline\n", 0.8, 0.1


def measure() -> list[dict[str, Any]]:
    """Rank correlation of estimates with what the policies are worth when played, and the regret of the choice."""
    section = README.read_text(encoding="utf-8").split(HEADING, 1)[1]
    script = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert script
    found: dict[str, Any] = {}
    exec(script.group(1), found)
    correlation = float(spearmanr(found["estimated"], found["true"]).statistic)
    return [
        row("offline rank correlation, 8 policies", correlation, "", CORRELATION, correlation >= CORRELATION),
        row("regret of the offline choice", found["regret"], "of the range", REGRET, found["regret"] <= REGRET),
    ]
