"""The README's recipes, run as they stand there."""

import re
import textwrap
from pathlib import Path

import numpy as np

from discover.query.strategy import load_strategy
from discover.query.view import View

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def block(heading: str, language: str = "python") -> str:
    """The first code block of a language under a heading."""
    section = README.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return textwrap.dedent(re.search(rf"```{language}\n(.*?)```", section, re.DOTALL).group(1))


def test_add_a_strategy_in_a_folder_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "boldest.py").write_text(block("Add a strategy"))
    strategy = load_strategy(f"{tmp_path / 'boldest.py'}:boldest", {"power": 2})
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(4), size=50)
    view = View(
        ids=np.arange(50),
        generator=np.full(50, "uniform"),
        age=np.zeros(50),
        costs=np.ones(50),
        temperature=0.0,
        floor=0.0,
        make_probabilities=lambda: probabilities,
    )
    picks = strategy(view, 3, rng)
    assert set(picks.indices) == set(np.argsort(-probabilities.max(1))[:3])


def test_the_first_screen_shows_both_commands_and_the_curve() -> None:
    first = README.splitlines()[:45]
    assert any("make demo" in line for line in first) and any("make test" in line for line in first)
    assert any("learning_curve.png" in line for line in first)
    assert (Path(__file__).parent.parent / "runs" / "learning_curve.png").is_file()
