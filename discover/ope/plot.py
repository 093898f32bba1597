"""An evaluation as a PNG: a line an estimator with its interval, effective sample and verdict.

Values of campaigns, sums of rounds, have a panel of their own: beside those of picks they would look like a gain.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from discover.errors import DiscoverError
from discover.ope.evaluation import Estimate, Evaluation
from discover.run import publish

COLOURS = {"ok": "#15803d", "warn": "#d1700f"}
MARKS = {"ok": "o", "warn": "D"}  # told apart without colour as well


def draw(found: Evaluation, path: Path, title: str = "") -> None:
    """Draw an evaluation and publish it as a PNG, 1400 pixels wide.

    Raises:
        DiscoverError: it cannot be written.
    """
    figure = drawn(found, title)
    try:
        with publish(path) as scratch:
            figure.savefig(scratch, format="png", metadata={"Software": None})
    except OSError as error:
        raise DiscoverError(f"{path} cannot be written ({error.strerror or error}): choose another place") from error


def drawn(found: Evaluation, title: str = "") -> Figure:
    """The figure: a panel of what is valued by the pick or batch, and one by the campaign, where there are such."""
    campaigns = [one for one in found.estimates if one.per == "campaign"]
    others = [one for one in found.estimates if one.per != "campaign"]
    panels = [group for group in (others, campaigns) if group]
    height = 0.2 + 1.2 * len(panels) + 0.36 * len(found.estimates)
    figure = Figure(figsize=(7, height), dpi=200, layout="constrained")
    FigureCanvasAgg(figure)
    sizes = [len(group) + 0.5 for group in panels]
    for axes, group in zip(figure.subplots(len(panels), squeeze=False, height_ratios=sizes)[:, 0], panels, strict=True):
        _draw_lines(axes, group)
        what = "the target, by the campaign" if group is campaigns else "the target"
        axes.set_xlabel(f"value of {what} ({100 * found.level:.6g}% interval)", fontsize=11)
    figure.axes[0].set_title(title.replace("$", r"\$"), loc="left", fontsize=12, fontweight="bold", pad=18)
    return figure


def _draw_lines(axes: Axes, estimates: Sequence[Estimate]) -> None:
    """A line an estimate; of one that is refused there is no figure, as in the table: it may be far from all others."""
    for line, one in enumerate(estimates):
        if one.verdict != "refuse":
            colour = COLOURS[one.verdict]
            if np.isfinite([one.low, one.high]).all():
                axes.plot([one.low, one.high], [line, line], color=colour, linewidth=2.2)
            axes.plot(one.value, line, color=colour, marker=MARKS[one.verdict], markersize=6)
        said = f"{one.verdict}, {one.effective:,.0f} effective ({one.share:.0%})"
        axes.annotate(
            said, (1.01, line), xycoords=("axes fraction", "data"), va="center", fontsize=9, annotation_clip=False
        )
    logged = estimates[0].logged
    axes.axvline(logged, color="#334155", linewidth=1.2, linestyle=(0, (6, 3)))
    axes.annotate("logged", (logged, 1.01), xycoords=("data", "axes fraction"), ha="center", fontsize=9)
    axes.set_yticks(range(len(estimates)), [one.estimator.replace("$", r"\$") for one in estimates])
    axes.set_ylim(len(estimates) - 0.5, -0.5)
    axes.grid(axis="x", color="#e2e8f0", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
