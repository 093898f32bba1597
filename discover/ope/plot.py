"""An evaluation as a PNG: a line an estimator with its interval, effective sample and verdict."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from discover.ope.evaluation import Evaluation
from discover.run import publish

COLOURS = {"ok": "#15803d", "warn": "#d1700f", "refuse": "#94a3b8"}
MARKS = {"ok": "o", "warn": "D", "refuse": "x"}  # told apart without colour as well


def draw(found: Evaluation, path: Path, title: str = "") -> None:
    """Draw an evaluation and publish it as a PNG, 1400 pixels wide."""
    height = 1.4 + 0.36 * len(found.estimates)
    figure = Figure(figsize=(7, height), dpi=200, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for line, one in enumerate(found.estimates):
        colour = COLOURS[one.verdict]
        if np.isfinite([one.value, one.low, one.high]).all() and one.verdict != "refuse":
            axes.plot([one.low, one.high], [line, line], color=colour, linewidth=2.2)
        if np.isfinite(one.value):
            axes.plot(one.value, line, color=colour, marker=MARKS[one.verdict], markersize=6)
        said = f"{one.verdict}, {one.effective:,.0f} effective ({one.share:.0%})"
        axes.annotate(
            said, (1.01, line), xycoords=("axes fraction", "data"), va="center", fontsize=9, annotation_clip=False
        )
    axes.axvline(found.logged, color="#334155", linewidth=1.2, linestyle=(0, (6, 3)))
    axes.annotate("logged", (found.logged, 1.01), xycoords=("data", "axes fraction"), ha="center", fontsize=9)
    axes.set_yticks(range(len(found.estimates)), [one.estimator.replace("$", r"\$") for one in found.estimates])
    axes.invert_yaxis()
    axes.set_xlabel(f"value of the target ({found.level:.0%} interval)", fontsize=11)
    axes.set_title(title.replace("$", r"\$"), loc="left", fontsize=12, fontweight="bold", pad=18)
    axes.grid(axis="x", color="#e2e8f0", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    with publish(path) as scratch:
        figure.savefig(scratch, format="png", metadata={"Software": None})
