"""The part of the page that shows how layers, gradients and updates went, where a run has left their statistics."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape

from runtime.inspect.watching import Look
from runtime.reports.report.charts import number_text, sparkline
from runtime.reports.report.content import Content
from runtime.reports.report.html import paragraph, scrolled, section

_VALUES = ("mean", "deviation", "dead")
_WEIGHTS = ("size", "gradient", "update / size")


def layers(content: Content) -> str:
    """The section; "" where there are no statistics."""
    statements = sorted({look.statement for look in content.looks})
    parts = []
    for number in statements:
        looks = [look for look in content.looks if look.statement == number]
        parts += [f"<h3>Minimize statement {number}</h3>"] if len(statements) > 1 else []
        parts += [paragraph(f"{remark[:1].upper()}{remark[1:]}.") for remark in looks[-1].statistics.remarks]
        parts += [_values(looks), _weights(looks)]
    if not parts:
        return ""
    unit = content.history.unit
    text = (
        f"Over one batch, after each {unit} of the history: the last figure, and its way there. Sizes, gradients and "
        "updates are root mean squares; of an update to its weight, one part in a thousand is usual. Dead is what is "
        "the same for every sample."
    )
    return section("layers", "Layers and gradients", paragraph(text), *parts)


def _values(looks: Sequence[Look]) -> str:
    names = [f"{value.where} {value.text}".strip() for value in looks[-1].statistics.values]
    figures = [
        [(value.mean, value.deviation, value.dead) for value in look.statistics.values]
        for look in looks
        if len(look.statistics.values) == len(names)
    ]
    return _table("What layers give", "layer", _VALUES, names, figures, lambda column, x: _share(column, x))


def _weights(looks: Sequence[Look]) -> str:
    names = [weight.name for weight in looks[-1].statistics.weights]
    figures = [
        [(weight.size, weight.gradient, _ratio(weight.update, weight.size)) for weight in look.statistics.weights]
        for look in looks
        if len(look.statistics.weights) == len(names)
    ]
    return _table("Weights", "weight", _WEIGHTS, names, figures, lambda _, x: number_text(x))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def _share(column: int, value: float) -> str:
    return f"{100 * value:.0f}%" if _VALUES[column] == "dead" else number_text(value)


def _table(
    caption: str,
    kind: str,
    columns: Sequence[str],
    names: Sequence[str],
    figures: Sequence[Sequence[Sequence[float]]],
    shown: Callable[[int, float], str],
) -> str:
    """A row for each name; in each column the last of its figures and a curve of all of them."""
    head = "".join(f'<th scope="col" class="number">{escape(column)}</th>' for column in columns)
    lines = [
        f"<table><caption>{escape(caption)}</caption>",
        f'<thead><tr><th scope="col">{kind}</th>{head}</tr></thead><tbody>',
    ]
    for row, name in enumerate(names):
        cells = _cells(name, columns, [each[row] for each in figures], shown)
        lines.append(f'<tr><th scope="row">{escape(name)}</th>{"".join(cells)}</tr>')
    return scrolled("\n".join([*lines, "</tbody></table>"]), caption)


def _cells(
    name: str, columns: Sequence[str], figures: Sequence[Sequence[float]], shown: Callable[[int, float], str]
) -> Iterable[str]:
    for column, title in enumerate(columns):
        values = [each[column] for each in figures]
        last = shown(column, values[-1]) if math.isfinite(values[-1]) else "–"
        yield f'<td class="number">{last}{sparkline(values, f"{title} of {name}")}</td>'
