"""Line charts and scatter charts as SVG, readable by eye and by screen reader; colours come from the page's style."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 420, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 12, 12, 42
# From this ratio of the largest to the smallest value on, a linear axis would hide what happens below.
_LOGARITHMIC = 60.0
# More points than this are more than the eye can tell apart at this size.
_POINTS = 800


@dataclass(frozen=True)
class Series:
    """One line: its name, the x of each point, and y, where NaN leaves a gap. ``style`` is a class of the page."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    style: str = "first"


@dataclass(frozen=True)
class Axis:
    """From values to places in a chart, ``start`` for ``low`` and ``end`` for ``high``."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def at(self, value: float) -> float:
        low, high = self._bent(self.low), self._bent(self.high)
        return self.start + (self._bent(value) - low) / (high - low) * (self.end - self.start)

    def ticks(self, about: int = 5) -> list[float]:
        """Round values between ``low`` and ``high``."""
        if self.logarithmic:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            every = max(1, math.ceil((last - first + 1) / about))
            powers = [10.0**power for power in range(first, last + 1, every)]
            return powers if len(powers) > 1 else [self.low, self.high]
        rough = (self.high - self.low) / about
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        return [step * number for number in range(first, math.floor(self.high / step + 1e-9) + 1)]

    def _bent(self, value: float) -> float:
        return math.log10(value) if self.logarithmic else value


def value_axis(values: Iterable[float], start: float, end: float) -> Axis:
    """An axis that holds all finite values: logarithmic where they are positive and far apart."""
    finite = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = min(finite), max(finite)
    if low > 0 and high / low >= _LOGARITHMIC:
        return Axis(low / 1.15, high * 1.15, start, end, logarithmic=True)
    margin = 0.06 * (high - low) or abs(high) * 0.5 or 0.5
    bottom = 0.0 if low >= 0 and low < 0.25 * (high - low) else low - margin
    return Axis(bottom, high + margin, start, end)


def line_chart(name: str, title: str, series: Sequence[Series], x_title: str, mark: float | None = None) -> str:
    """A chart of ``series`` over whole numbers, such as epochs; ``mark`` draws a line at one of them. ``name`` is
    unique in the page, ``title`` says what is drawn."""
    xs = [x for line in series for x in line.xs]
    first, last = (min(xs), max(xs)) if xs else (0, 1)
    across = Axis(first, last if last > first else first + 1, _LEFT, WIDTH - _RIGHT)
    up = value_axis((y for line in series for y in line.ys), HEIGHT - _BOTTOM, _TOP)
    parts = [*_frame(across, up, x_title, whole=True)]
    if mark is not None:
        x = across.at(mark)
        parts.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/>')
    for line in series:
        parts += _line(line, across, up)
    return _svg(name, title, _described(series), parts)


def sparkline(values: Sequence[float], description: str) -> str:
    """A small curve without axes, to stand in a cell of a table."""
    up, across = value_axis(values, 20, 2), Axis(0, max(1, len(values) - 1), 2, 78)
    parts = _line(Series("", range(len(values)), values), across, up)
    label = escape(description)
    return f'<svg class="spark" viewBox="0 0 80 22" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def scatter_chart(name: str, title: str, wanted: Sequence[float], predicted: Sequence[float]) -> str:
    """Predictions over what was wanted, with the diagonal on which they would be right."""
    both = [*wanted, *predicted]
    across = value_axis(both, _LEFT, WIDTH - _RIGHT)
    up = value_axis(both, HEIGHT - _BOTTOM, _TOP)
    parts = [*_frame(across, up, "wanted", whole=False)]
    ends = f'x1="{across.start}" y1="{up.start}" x2="{across.end}" y2="{up.end}"'
    parts.append(f'<line class="mark" {ends}/>')
    points = list(zip(wanted, predicted, strict=True))
    shown = points[:: max(1, -(-len(points) // _POINTS))]
    parts += (
        f'<circle class="dot" r="2.5" cx="{across.at(x):.1f}" cy="{up.at(y):.1f}"/>'
        for x, y in shown
        if math.isfinite(x) and math.isfinite(y)
    )
    description = f"{len(shown)} of {len(points)} predictions, over the numbers that were wanted."
    return _svg(name, title, description, parts)


def number_text(value: float) -> str:
    """A figure in at most five characters or so, with an exponent where that says more."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if 1e-3 <= abs(value) < 1e5:
        return f"{value:.4g}"
    mantissa, _, exponent = f"{value:.2e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def _frame(across: Axis, up: Axis, x_title: str, *, whole: bool) -> Iterable[str]:
    """The grid and the numbers beside it."""
    bottom = HEIGHT - _BOTTOM
    for value in up.ticks():
        y = up.at(value)
        yield f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="tick end" x="{_LEFT - 7}" y="{y + 4:.1f}">{number_text(value)}</text>'
    for value in across.ticks():
        if whole and value != round(value):
            continue
        x = across.at(value)
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 4}"/>'
        yield f'<text class="tick middle" x="{x:.1f}" y="{bottom + 17}">{number_text(value)}</text>'
    yield f'<text class="tick middle" x="{(_LEFT + WIDTH - _RIGHT) / 2}" y="{HEIGHT - 6}">{escape(x_title)}</text>'


def _line(line: Series, across: Axis, up: Axis) -> Iterable[str]:
    """The strokes of a line, one for each stretch without a gap, and a dot for a point that stands alone."""
    every = max(1, -(-len(line.xs) // _POINTS))
    stretch: list[str] = []
    for index, (x, y) in enumerate(zip(line.xs, line.ys, strict=True)):
        if math.isfinite(y) and (index % every == 0 or index == len(line.xs) - 1):
            stretch.append(f"{across.at(x):.1f},{up.at(y):.1f}")
        elif not math.isfinite(y):
            yield from _stroke(stretch, line.style)
            stretch = []
    yield from _stroke(stretch, line.style)


def _stroke(points: Sequence[str], style: str) -> Iterable[str]:
    if len(points) == 1:
        x, y = points[0].split(",")
        yield f'<circle class="dot {style}" r="3" cx="{x}" cy="{y}"/>'
    elif points:
        yield f'<polyline class="line {style}" points="{" ".join(points)}"/>'


def _described(series: Sequence[Series]) -> str:
    texts = []
    for line in series:
        finite = [y for y in line.ys if math.isfinite(y)]
        if finite:
            begin, end, low, high = map(number_text, (finite[0], finite[-1], min(finite), max(finite)))
            texts.append(f"{line.name} goes from {begin} to {end}, between {low} and {high}.")
    return " ".join(texts)


def _svg(name: str, title: str, description: str, parts: Iterable[str]) -> str:
    opening = f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="{name}-t {name}-d">'
    named = f'<title id="{name}-t">{escape(title)}</title><desc id="{name}-d">{escape(description)}</desc>'
    return "\n".join([opening, named, *parts, "</svg>"])
