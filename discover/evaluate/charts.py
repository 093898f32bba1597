"""Charts of the report as inline SVG: drawn here, coloured by the page's own style, so that they follow light and dark.

Every text is escaped; nothing is loaded from anywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from markupsafe import Markup

from discover.evaluate.curves import Series

WIDTH, HEIGHT, WIDE = 560, 330, 1040
LEFT, RIGHT, TOP, BOTTOM = 46, 16, 14, 42
# How many colours the page has for either.
ARMS, STAGES = 5, 8


@dataclass(frozen=True)
class Axes:
    """From values to pixels inside the frame."""

    x: tuple[float, float]
    y: tuple[float, float]

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Pixel of a point."""
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    def path(self, points: Sequence[tuple[float, float]]) -> str:
        """The points as an SVG path of straight lines."""
        return "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in (self.at(*point) for point in points))


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """About ``about`` round numbers from at or below ``low`` to at or above ``high``; of a lone value, from 0 on."""
    if high - low <= 1e-9 * high:
        low = min(low, 0.0)
    rough = ((high - low) or 1.0) / about
    unit = 10.0 ** floor(log10(rough))
    step = next(unit * multiple for multiple in (1, 2, 5, 10) if unit * multiple >= rough * 0.999)
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    return [round(index * step, 10) for index in range(first, max(last, first + 1) + 1)]


def learning_curve(series: Sequence[Series], score: str) -> Markup:
    """Score against labels, a line with its interval for each arm; hovering a point tells its value."""
    points = [one for one in series if len(one.labels)]
    values = [value for one in points for value in (*one.low, *one.high)]
    labels = [value for one in points for value in one.labels]
    across, up = ticks(min(labels), max(labels)), ticks(max(0.0, min(values)), min(1.0, max(values)))
    axes = Axes((across[0], across[-1]), (up[0], up[-1]))
    marks = [_frame(axes, [(tick, f"{tick:g}") for tick in across], up, points[0].unit)]
    for index, one in enumerate(series):
        if len(one.labels):
            marks.extend(_curve(axes, one, f"arm{index % ARMS}"))
    return _svg(marks, f"{score} against {points[0].unit}")


def _curve(axes: Axes, one: Series, style: str) -> list[Markup]:
    marks = []
    if any(high > low for low, high in zip(one.low, one.high, strict=True)):
        above, below = zip(one.labels, one.high, strict=True), zip(one.labels, one.low, strict=True)
        marks.append(_path(f"band {style}", axes.path([*above, *reversed(list(below))]) + "Z"))
    marks.append(_path(f"line {style}", axes.path(list(zip(one.labels, one.score, strict=True)))))
    for x, y, low, high in zip(one.labels, one.score, one.low, one.high, strict=True):
        interval = f" [{low:.1%}, {high:.1%}]" if high > low else ""
        marks.append(_dot(style, *axes.at(x, y), 4, f"{one.name}: {y:.1%}{interval} at {x:.0f} {one.unit}"))
    return marks


def reliability_diagram(bins: Sequence[tuple[float, float, int]]) -> Markup:
    """Accuracy against confidence; ``bins`` are (mean confidence, accuracy, documents), the last the dot's area."""
    scale = ticks(0, 1)
    axes = Axes((0, 1), (0, 1))
    marks = [_frame(axes, [(tick, f"{tick:.0%}") for tick in scale], scale, "stated probability")]
    marks.append(_path("ideal", axes.path([(0, 0), (1, 1)])))
    marks.append(_path("line arm0 thin", axes.path([(confidence, right) for confidence, right, _ in bins])))
    most = max(n for _, _, n in bins)
    for confidence, right, n in bins:
        told = f"{n} documents at {confidence:.0%}: {right:.0%} right"
        marks.append(_dot("arm0", *axes.at(confidence, right), 2.5 + 7 * (n / most) ** 0.5, told))
    return _svg(marks, "Share right against stated probability")


def stacked_bars(rows: Sequence[tuple[str, dict[str, float]]], stages: Sequence[str], unit: str = "s") -> Markup:
    """A horizontal bar for each row, its stages side by side; ``rows`` are (name, {stage: value})."""
    longest = max(sum(values.values()) for _, values in rows) or 1.0
    pitch, left, width = 23, _room([name for name, _ in rows], 110), WIDE
    marks = []
    for index, (name, values) in enumerate(rows):
        y, x = index * pitch + 2, float(left)
        marks.append(_text("tick", left - 8, y + 12, name, "end"))
        for place, stage in enumerate(stages):
            length = values.get(stage, 0.0) / longest * (width - left - 70)
            if length > 0:
                told = f"{name}, {stage}: {values[stage]:.2f} {unit}"
                shape = '<rect class="stage{}" x="{:.1f}" y="{}" width="{:.1f}" height="16"><title>{}</title></rect>'
                marks.append(Markup(shape).format(place % STAGES, x, y, max(length - 0.6, 0.4), told))
            x += length
        marks.append(_text("tick", x + 6, y + 12, f"{sum(values.values()):.1f} {unit}"))
    return _svg(marks, "Time by stage", width, len(rows) * pitch + 4)


def whiskers(rows: Sequence[tuple[str, int, float, float, float]]) -> Markup:
    """Estimates with their intervals on one scale; ``rows`` are (name, arm's index, value, low, high)."""
    scale = ticks(min(row[3] for row in rows), max(row[4] for row in rows))
    left, width, pitch = _room([row[0] for row in rows], 180), WIDE, 30
    height = len(rows) * pitch + 30

    def at(value: float) -> float:
        return left + (value - scale[0]) / (scale[-1] - scale[0]) * (width - left - 70)

    marks = []
    for tick, text in zip(scale, _percent(scale), strict=True):
        marks.append(_path("grid", f"M{at(tick):.1f},0V{height - 24}"))
        marks.append(_text("tick", at(tick), height - 8, text, "middle"))
    for index, (name, arm, value, low, high) in enumerate(rows):
        y, style = index * pitch + 15, f"arm{arm % ARMS}"
        marks.append(_text("name", left - 12, y + 4, name, "end"))
        marks.append(_path(f"line {style}", f"M{at(low):.1f},{y}H{at(high):.1f}"))
        marks.append(_dot(style, at(value), y, 5, f"{value:.1%} [{low:.1%}, {high:.1%}]"))
        marks.append(_text("tick", at(high) + 8, y + 4, f"{value:.1%}"))
    return _svg(marks, "Estimates with 95% intervals", width, height)


def _percent(ticks: Sequence[float]) -> list[str]:
    """Shares with as many decimals as tell them apart."""
    whole = all(abs(100 * tick - round(100 * tick)) < 1e-6 for tick in ticks)
    return [f"{tick:.{0 if whole else 1}%}" for tick in ticks]


def _room(names: Sequence[str], least: int) -> int:
    """Pixels for names at the left edge, where the page would cut what stands out; for very long ones half of all."""
    return min(WIDE // 2, max(least, 20 + 8 * max(map(len, names))))


def _frame(axes: Axes, across: Sequence[tuple[float, str]], up: Sequence[float], label: str) -> Markup:
    marks = [_text("axis", (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, label, "middle")]
    for tick, text in zip(up, _percent(up), strict=True):
        x, y = axes.at(axes.x[0], tick)
        marks.append(_path("grid", f"M{x:.1f},{y:.1f}H{WIDTH - RIGHT}"))
        marks.append(_text("tick", x - 7, y + 4, text, "end"))
    for tick, text in across:
        x, y = axes.at(tick, axes.y[0])
        marks.append(_text("tick", x, y + 18, text, "middle"))
    return Markup("").join(marks)


def _path(style: str, points: str) -> Markup:
    return Markup('<path class="{}" d="{}"/>').format(style, points)


def _text(style: str, x: float, y: float, text: str, anchor: str = "start") -> Markup:
    shape = '<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>'
    return Markup(shape).format(style, x, y, anchor, text)


def _dot(style: str, x: float, y: float, radius: float, told: str) -> Markup:
    shape = '<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="{:.1f}"><title>{}</title></circle>'
    return Markup(shape).format(style, x, y, radius, told)


def _svg(marks: Sequence[Markup], label: str, width: int = WIDTH, height: int = HEIGHT) -> Markup:
    opening = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(width, height, label)
    return opening + Markup("").join(marks) + Markup("</svg>")
