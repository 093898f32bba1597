"""learning_curve.png: accuracy against labels, one line and one shaded interval for each arm."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from discover.run import publish

# Blue, orange, green, purple, grey: told apart by the colour-blind, in the order of the report's arms.
COLOURS = ("#2563c9", "#d1700f", "#15803d", "#7e3bb5", "#64748b")
STROKES = ("-", "--", ":", "-.")  # when the colours are used up
DASHES = ((6, 3), (1, 2), (6, 2, 1, 2), (2, 4))  # of horizontal lines
FEW = 6  # arms whose legend leaves the curves to be seen


@dataclass(frozen=True)
class Series:
    """One arm's curve: (r,) labels (or what `unit` says), scores and interval ends."""

    name: str
    labels: Sequence[float]
    score: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    unit: str = "labels"


def draw(
    series: Sequence[Series],
    path: Path,
    title: str = "",
    score: str = "test accuracy",
    levels: Mapping[str, float] | None = None,
) -> None:
    """Draw the curves of a run's arms and publish them as a PNG of 1400 x 875 pixels, legible at half of that.

    Args:
        series: one for each arm; arms without points are left out.
        path: the file.
        title: above the plot.
        score: what the vertical axis shows.
        levels: scores to compare the curves with, such as that of training on everything: a horizontal line each.
    """
    figure = Figure(figsize=(7, 4.375), dpi=200, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for index, one in enumerate(series):
        if not len(one.labels):
            continue
        colour = COLOURS[index % len(COLOURS)]
        axes.fill_between(one.labels, one.low, one.high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(
            one.labels,
            one.score,
            color=colour,
            linestyle=STROKES[index // len(COLOURS) % len(STROKES)],
            marker="o",
            markersize=5,
            linewidth=2.2,
            label=_plain(one.name),
            zorder=3,
        )
    for index, (name, level) in enumerate((levels or {}).items()):
        dashes = DASHES[index % len(DASHES)]
        axes.axhline(level, color="#334155", linewidth=1.2, linestyle=(0, dashes), label=_plain(name))
    axes.set_title(_plain(title), loc="left", fontsize=13, fontweight="bold")
    axes.set_xlabel(next((one.unit for one in series), "labels"), fontsize=12)
    axes.set_ylabel(f"{score} (shaded: 95% interval)", fontsize=12)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.tick_params(labelsize=11, length=0)
    axes.grid(color="#e2e8f0", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    if axes.has_data():
        few = len(axes.get_lines()) <= FEW
        legend = axes.legend(loc="lower right", fontsize=12 if few else 8, ncols=1 if few else 2, frameon=False)
        legend.set_in_layout(False)  # a long name must not push the curves out
    with publish(path) as scratch, warnings.catch_warnings():
        # A name in a script that its font lacks is boxes in the picture, and nothing that a user could mend.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        figure.savefig(scratch, format="png", metadata={"Software": None})


def _plain(text: str) -> str:
    """Matplotlib reads a dollar sign as mathematics, and leaves names that begin with _ out of the legend."""
    return text.replace("$", r"\$").lstrip("_")
