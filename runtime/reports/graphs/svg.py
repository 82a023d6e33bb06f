"""A picture of a graph as SVG: boxes in layers, and arrows with the types of the values on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from html import escape

from runtime.reports.graphs.boxes import Box, Picture, Repeat
from runtime.reports.graphs.layers import Placed, place
from runtime.reports.graphs.rails import gives_text

# What a drawing that stands alone brings; in a page its own style holds.
STYLE = """\
svg { color-scheme: light dark; --ground: #ffffff; --panel: #f3f5f8; --ink: #1b1f24; --quiet: #57606a; --rule: #b6bec8;
  --first: #1f5fd0; background: var(--ground); }
@media (prefers-color-scheme: dark) {
  svg { --ground: #111418; --panel: #20262d; --ink: #e6e9ed; --quiet: #9aa4af; --rule: #46505b; --first: #7db0ff; }
}
text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: var(--ink); }
.middle { text-anchor: middle; } .end { text-anchor: end; }
.box rect { fill: var(--ground); stroke: var(--quiet); } .box.port rect { fill: var(--panel); }
.box .name { font-weight: 600; }
.box .code { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: 11.5px; }
.box .count, .shape { fill: var(--quiet); } .shape { font-size: 11px; }
.edge { fill: none; stroke: var(--quiet); stroke-width: 1.3; } .edge.jump { stroke: var(--first); }
.tip { fill: var(--quiet); }
.repeat rect { fill: var(--panel); stroke: var(--rule); stroke-dasharray: 6 4; } .repeat text { fill: var(--first); }
"""
# Asked for in a file of its own, and not in a page.
_ALONE = ' xmlns="http://www.w3.org/2000/svg"'
_MARGIN, _GAP, _LAYER = 16.0, 28.0, 36.0
_LETTER, _CODE = 7.4, 7.1  # the width of a letter of a name and of a text, at most
_LEAST, _MOST = 90.0, 384.0
_LINE = 18.0
_FRAME = 12.0
_SMALL, _TITLE = 6.2, 190.0  # the width of a letter of a type, and of what stands beside a frame


def svg(name: str, title: str, picture: Picture, style: str = "") -> str:
    """The drawing; ``name`` is unique in the page that it stands in, and ``style`` what it brings of its own."""
    arrows = [(source, target) for target, box in enumerate(picture.boxes) for source, _ in box.reads]
    arrows = list(dict.fromkeys(arrows))
    readers = Counter(source for source, _ in arrows)
    lines = [_lines(box, branches=readers[index] > 1) for index, box in enumerate(picture.boxes)]
    sizes = [_size(parts) for parts in lines]
    # A type beside an arrow has room on either side of it.
    types = ["" if box.kind == "port" or readers[i] != 1 else gives_text(box) for i, box in enumerate(picture.boxes)]
    room = [max(width, 2 * _SMALL * len(text) + 12) for (width, _), text in zip(sizes, types, strict=True)]
    outer = [(width, height) for width, (_, height) in zip(room, sizes, strict=True)]
    placed = place(outer, arrows, (_GAP, _LAYER))
    frames = [_frame(repeat, placed, sizes) for repeat in picture.repeats]
    left = min([0.0, *(frame[0] for frame in frames)])
    right = max([placed.width, *(frame[2] + _TITLE for frame in frames)])
    width, height = right - left + 2 * _MARGIN, placed.height + 2 * _MARGIN + _FRAME
    spoken = "; ".join(_spoken(box) for box in picture.boxes)
    return "\n".join(
        [
            f'<svg{_ALONE if style else ""} class="architecture" viewBox="0 0 {width:.0f} {height:.0f}" '
            f'width="{width:.0f}" height="{height:.0f}" role="img" aria-labelledby="{name}-t {name}-d">',
            f'<title id="{name}-t">{escape(title)}</title><desc id="{name}-d">{escape(spoken)}</desc>',
            *([f"<style>{style}</style>"] if style else []),
            f'<defs><marker id="{name}-tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            'orient="auto"><path class="tip" d="M0 0 L8 4 L0 8 z"/></marker></defs>',
            f'<g transform="translate({_MARGIN - left:.0f} {_MARGIN:.0f})">',
            *(_framed(repeat, frame) for repeat, frame in zip(picture.repeats, frames, strict=True)),
            *(_arrow(name, way, jump=len(way) > 2) for way in placed.ways),
            *_types(types, arrows, placed),
            *(
                line
                for index, box in enumerate(picture.boxes)
                for line in _box(box, lines[index], (placed.x[index], placed.y[index]), sizes[index])
            ),
            "</g>",
            "</svg>",
        ]
    )


def _spoken(box: Box) -> str:
    named = f"{box.label}: {box.text}" if box.label else box.text
    return f"{named} gives {', '.join(box.gives)}" if box.gives else named


def _lines(box: Box, branches: bool) -> list[tuple[str, str]]:
    """The lines of a box: the class and the text of each. One whose value goes several ways tells its type itself."""
    if box.kind == "port":
        return [("name", ": ".join(filter(None, [box.label, *box.gives])))]
    lines = [("name", box.label), ("code", box.text)] if box.label else [("code", box.text)]
    lines += [("count", f"{box.count:,} parameters")] if box.count else []
    gives = gives_text(box)
    return [*lines, ("shape", gives)] if branches and gives else lines


def _size(lines: Sequence[tuple[str, str]]) -> tuple[float, float]:
    widest = max(len(text) * (_CODE if style == "code" else _LETTER) for style, text in lines)
    return min(max(widest + 22, _LEAST), _MOST), _LINE * len(lines) + 10


def _box(
    box: Box, lines: Sequence[tuple[str, str]], top: tuple[float, float], size: tuple[float, float]
) -> Iterator[str]:
    """``top`` is the middle of the upper edge."""
    (x, y), (width, height) = top, size
    radius = 6 if box.kind != "port" else height / 2
    yield f'<g class="box {box.kind}"><title>{escape(_spoken(box))}</title>'
    yield f'<rect x="{x - width / 2:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{radius:.0f}"/>'
    for number, (style, text) in enumerate(lines):
        line = y + 5 + _LINE * number + 13
        shown = _cut(text, width - 16, _CODE if style == "code" else _LETTER)
        yield f'<text class="{style} middle" x="{x:.1f}" y="{line:.1f}">{escape(shown)}</text>'
    yield "</g>"


def _types(types: Sequence[str], arrows: Sequence[tuple[int, int]], placed: Placed) -> Iterator[str]:
    """The type of each value that goes one way, beside its arrow, on the side that this does not bend to."""
    for (source, _), way in zip(arrows, placed.ways, strict=True):
        (x, y), (end, _) = way[0], way[1]
        if text := types[source]:
            side, anchor = (6, "") if end < x + 1 else (-6, " end")
            yield f'<text class="shape{anchor}" x="{x + side:.0f}" y="{y + _LAYER / 2 + 3:.0f}">{escape(text)}</text>'


def _arrow(name: str, way: Sequence[tuple[float, float]], jump: bool) -> str:
    (x, y), *others = way
    path = f"M{x:.1f} {y:.1f}"
    for number, (next_x, next_y) in enumerate(others):
        if abs(next_x - x) < 0.5:
            path += f" V{next_y:.1f}"
        elif number % 2:  # beside the boxes of a layer
            path += f" L{next_x:.1f} {next_y:.1f}"
        else:
            middle = (y + next_y) / 2
            path += f" C{x:.1f} {middle:.1f} {next_x:.1f} {middle:.1f} {next_x:.1f} {next_y:.1f}"
        x, y = next_x, next_y
    style = "edge jump" if jump else "edge"
    return f'<path class="{style}" marker-end="url(#{name}-tip)" d="{path}"/>'


def _frame(repeat: Repeat, placed: Placed, sizes: Sequence[tuple[float, float]]) -> tuple[float, float, float, float]:
    """The left, upper, right and lower edge of the frame around what is repeated, with the arrows inside it."""
    inside = range(repeat.start, repeat.stop)
    top = min(placed.y[index] for index in inside) - _FRAME
    bottom = max(placed.y[index] + sizes[index][1] for index in inside) + _FRAME
    xs = [placed.x[index] + side * sizes[index][0] / 2 for index in inside for side in (-1, 1)]
    xs += [x for way in placed.ways if top <= way[0][1] and way[-1][1] <= bottom + _LAYER for x, _ in way]
    return min(xs) - _FRAME, top, max(xs) + _FRAME, bottom


def _framed(repeat: Repeat, frame: tuple[float, float, float, float]) -> str:
    left, top, right, bottom = frame
    text = f"{repeat.times} times"
    names = [name for name in repeat.names if name]
    if len(set(names)) == len(repeat.names):
        text += f": {names[0]} … {names[-1]}" if len(names) > 2 else f": {', '.join(names)}"
    return (
        f'<g class="repeat"><rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" '
        f'height="{bottom - top:.1f}" rx="10"/>'
        f'<text x="{right + 8:.1f}" y="{top + 15:.1f}">{escape(_cut(text, _TITLE - 8, _LETTER))}</text></g>'
    )


def _cut(text: str, width: float, letter: float) -> str:
    most = int(width / letter)
    return text if len(text) <= most else f"{text[: most - 1]}…"
