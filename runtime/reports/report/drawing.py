"""The architecture of a model as a drawing: a box for each stage, an arrow for each value, with its shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from compiler.front.models import ElaboratedModel
from compiler.ir.graph import Graph, Role, Value
from compiler.program import Stage
from runtime.programs.summary import parameters

WIDTH = 400
_BOX, _GAP, _MARGIN, _LANE = 46, 34, 8, 13
_LETTERS = 46  # of a layer's text that fit into a box


@dataclass(frozen=True)
class Box:
    """One box, from the top to the bottom: ``reads`` are the boxes whose values go in, ``gives`` what comes out."""

    label: str
    text: str
    gives: str
    count: int
    reads: tuple[int, ...]
    kind: str = "stage"


def boxes(model: ElaboratedModel) -> list[Box]:
    """The inputs, the stages that compute something, and the outputs."""
    graph = model.graph
    stages = [stage for stage in model.stages if stage.nodes]
    inputs = graph.inputs_of(Role.DATA)
    made_in: dict[Value, int] = {value: index for index, value in enumerate(inputs)}
    found = [Box(value.name, "input", str(value.type), 0, (), "port") for value in inputs]
    for stage in stages:
        reads = _reads(graph, stage, made_in)
        made_in.update({value: len(found) for index in stage.nodes for value in graph.nodes[index].outputs})
        gives = ", ".join(map(str, stage.outputs))
        found.append(Box(stage.path.partition(".")[2], stage.text, gives, parameters(stage.weights), reads))
    for output in graph.outputs:
        reads = (made_in[output.value],) if output.value in made_in else ()
        found.append(Box(output.name, "output", str(output.value.type), 0, reads, "port"))
    return found


def _reads(graph: Graph, stage: Stage, made_in: Mapping[Value, int]) -> tuple[int, ...]:
    read = (made_in.get(value) for index in stage.nodes for value in graph.nodes[index].inputs)
    return tuple(sorted({box for box in read if box is not None}))


def drawing(name: str, model: ElaboratedModel) -> str:
    """The drawing as SVG; ``name`` is unique in the page."""
    found = boxes(model)
    jumps = _jumps(found)
    width = WIDTH + _LANE * (max((lane for _, _, lane in jumps), default=-1) + 1)
    height = len(found) * (_BOX + _GAP) - _GAP + 2 * _MARGIN
    title = f"The architecture of {model.name}"
    spoken = "; ".join(f"{box.label or box.text}: {box.text} gives {box.gives}" for box in found)
    parts = [
        f'<svg class="architecture" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-labelledby="{name}-t {name}-d">',
        f'<title id="{name}-t">{escape(title)}</title><desc id="{name}-d">{escape(spoken)}</desc>',
        f'<defs><marker id="{name}-tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path class="tip" d="M0 0 L8 4 L0 8 z"/></marker></defs>',
    ]
    for index, box in enumerate(found):
        parts += _box(box, _top(index))
    for index, box in enumerate(found):
        if index - 1 in box.reads:
            start, end = _top(index - 1) + _BOX, _top(index) - 1
            parts.append(f'<path class="edge" marker-end="url(#{name}-tip)" d="M{WIDTH // 2} {start} V{end}"/>')
        if box.kind == "stage":
            y = _top(index) + _BOX + _GAP / 2 + 4
            parts.append(f'<text class="shape" x="{WIDTH // 2 + 10}" y="{y}">{escape(_cut(box.gives))}</text>')
    for source, targets, lane in jumps:
        parts += _jump(name, source, targets, lane)
    return "\n".join([*parts, "</svg>"])


def _top(index: int) -> int:
    return _MARGIN + index * (_BOX + _GAP)


def _box(box: Box, top: int) -> Iterator[str]:
    x, width = _MARGIN, WIDTH - 2 * _MARGIN
    yield f'<g class="box {box.kind}"><title>{escape(f"{box.label} {box.text}: {box.gives}".strip())}</title>'
    yield f'<rect x="{x}" y="{top}" width="{width}" height="{_BOX}" rx="{6 if box.kind == "stage" else 20}"/>'
    count = f"{box.count:,} parameters" if box.count else ""
    if box.kind == "port":
        text = f"{box.label}: {box.gives}"
        yield f'<text class="name middle" x="{WIDTH // 2}" y="{top + 28}">{escape(_cut(text))}</text>'
    else:
        upper, lower = (box.label, box.text) if box.label else (box.text, "")
        style = "name" if box.label else "code"
        first = top + (19 if lower or count else 28)
        yield f'<text class="{style}" x="{x + 10}" y="{first}">{escape(_cut(upper))}</text>'
        yield f'<text class="code" x="{x + 10}" y="{top + 37}">{escape(_cut(lower))}</text>'
        anchor = top + (19 if box.label else 37)
        yield f'<text class="count end" x="{x + width - 10}" y="{anchor}">{count}</text>'
    yield "</g>"


def _jumps(found: Sequence[Box]) -> list[tuple[int, tuple[int, ...], int]]:
    """The arrows that pass boxes by, as source, targets and lane: those in one lane do not meet."""
    lanes: list[int] = []  # for each lane the box at which it is free again
    placed = []
    for source in range(len(found)):
        targets = tuple(index for index, box in enumerate(found) if source in box.reads and index > source + 1)
        if targets:
            lane = next((number for number, free in enumerate(lanes) if free <= source), len(lanes))
            lanes[lane : lane + 1] = [targets[-1]]
            placed.append((source, targets, lane))
    return placed


def _jump(name: str, source: int, targets: Sequence[int], lane: int) -> Iterator[str]:
    edge = WIDTH - _MARGIN
    x = edge + 10 + _LANE * lane
    start = _top(source) + _BOX - 10
    for target in targets:
        end = _top(target) + 10
        path = f"M{edge} {start} H{x - 6} Q{x} {start} {x} {start + 6} V{end - 6} Q{x} {end} {x - 6} {end} H{edge + 1}"
        yield f'<path class="edge jump" marker-end="url(#{name}-tip)" d="{path}"/>'


def _cut(text: str) -> str:
    return text if len(text) <= _LETTERS else f"{text[: _LETTERS - 1]}…"
