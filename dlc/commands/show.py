"""``dlc show``: what is in an ONNX file, or in a model of a model file, and its graph as a drawing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dlc.commands import options
from dlc.terminal import tell

if TYPE_CHECKING:
    from compiler.targets.onnx.metadata import Description
    from compiler.targets.onnx.read.outline import Outline
    from runtime.reports.graphs.boxes import Box

_MOST_BOXES = 100  # that are drawn one by one without being asked for
_LISTED = 12


@click.command(short_help="Show what is in an ONNX file, and draw its graph.")
@options.FILE
@options.SET
@click.option("--model", metavar="NAME", help="Which model of a model file; needed where it has several.")
@click.option("--svg", "svg_file", type=click.Path(path_type=Path), metavar="FILE", help="Draw the graph to this file.")
@click.option("--full", is_flag=True, help="Draw repeated parts each time. Large graphs have them once otherwise.")
@click.option("--no-graph", is_flag=True, help="Do not draw the graph as text.")
@click.option("--json", "as_json", is_flag=True, help="Print everything about an ONNX file as JSON.")
def show(
    file: Path, constants: dict[str, str], model: str | None, svg_file: Path | None, full: bool, no_graph: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Show an ONNX file, of dlc or any other tool: what goes in and comes out, who made it, what it was proved to do,
    its weights and operations, and its graph. Or draw the graph of a model in a model file, stage by stage.

    A rail of the drawing is a value; where it goes into several operations it runs on beside them. Nothing of the file
    has to be known to dlc: operations of other domains are shown by their names.

    \b
    Examples:
      dlc show digits.onnx
      dlc show resnet50.onnx --svg resnet50.svg --full
      dlc show digits.onnx --json
      dlc show examples/shapes.dl
    """
    if file.suffix == ".dl":
        if as_json:
            raise click.UsageError("--json is for ONNX files")
        boxes = _model(file, constants, model)
        title = f"{file.name}"
    else:
        from compiler.targets.onnx.metadata import describe
        from compiler.targets.onnx.read.outline import outline
        from runtime.reports.graphs.files import boxes_of_file

        if constants or model:
            raise click.UsageError("--set and --model are for model files (.dl)")
        found = outline(file)
        told = describe(found.metadata, found.text)
        title, boxes = f"{file.name}: {found.name}", boxes_of_file(found)
        if as_json:
            tell(json.dumps({"file": str(file), **asdict(found), "told": asdict(told)}, indent=2, ensure_ascii=False))
        else:
            for line in _facts(file, found, told):
                tell(line)
    _draw(boxes, title, svg_file, full, as_text=not (no_graph or as_json))


def _model(file: Path, constants: dict[str, str], name: str | None) -> list[Box]:
    from runtime.programs.project import open_project
    from runtime.reports.graphs.files import boxes_of_model

    project = open_project(file, constants)
    return boxes_of_model(project.checked.elaborated.models[project.model(name).name])


def _draw(boxes: Sequence[Box], title: str, file: Path | None, full: bool, as_text: bool) -> None:
    from runtime.reports.graphs.boxes import picture
    from runtime.reports.graphs.rails import text_lines
    from runtime.reports.graphs.svg import STYLE, svg

    drawn = picture(boxes, fold=not full and len(boxes) > _MOST_BOXES)
    if as_text:
        for line in text_lines(drawn):
            tell(line)
    if file is not None:
        from runtime.disk.output import save_output

        save_output(file, svg("graph", title, drawn, STYLE).encode())
        tell(f"wrote {file}")


def _facts(file: Path, found: Outline, told: Description) -> Iterator[str]:
    from runtime.amounts import bytes_text

    made = f", written by {found.producer}" if found.producer else ""
    yield f"{file}: {found.name or 'a graph without a name'}, {bytes_text(found.bytes)}{made}"
    if told.text:
        yield f"  {told.text}"
    yield ""
    rows = [*_signature(found, told), *_said(told), *_made_of(found)]
    width = max(len(name) for name, _ in rows)
    before = ""
    for name, text in rows:
        yield f"{'' if name == before else name:<{width}}  {text}".rstrip()
        before = name
    yield ""


def _signature(found: Outline, told: Description) -> Iterator[tuple[str, str]]:
    for name, type in found.inputs.items():
        limits = told.ranges.get(name)
        words = told.names.get(name, ())
        notes = [f"values {limits[0]} to {limits[1]}"] if limits else []
        notes += [f"which stand for {_listed(words)}"] if words else []
        yield "input", f"{name}: {type}" + (f", {', '.join(notes)}" if notes else "")
    for name, type in found.outputs.items():
        yield "output", f"{name}: {type}"
    if "dlc.bounds" in found.metadata:
        yield "bounds", found.metadata["dlc.bounds"]


def _said(told: Description) -> Iterator[tuple[str, str]]:
    if told.labels:
        yield "classes", f"{len(told.labels)}: {_listed(told.labels)}"
    for name, value in told.metrics.items():
        yield "measures", f"{name} {value:.4g}"
    if told.author:
        yield "author", told.author
    if told.license:
        yield "license", told.license
    for key, text in told.certificate.items():
        yield "certificate", f"{key}: {text}"
    for key, text in told.precision.items():
        yield "precision", f"{key}: {text}"
    if told.source_sha256:
        yield "source", f"sha256 {told.source_sha256}"


def _made_of(found: Outline) -> Iterator[tuple[str, str]]:
    from runtime.amounts import bytes_text

    opsets = ", ".join(f"{domain} {version}" for domain, version in found.opsets.items())
    yield "opset", f"{opsets}; IR version {found.ir_version}"
    for dtype, stored in found.stored.items():
        outside = f", {bytes_text(stored.outside)} of it in other files" if stored.outside else ""
        numbers = f"{stored.elements:,} numbers in {stored.tensors:,} tensor{'s' * (stored.tensors != 1)}"
        yield "weights", f"{dtype}: {numbers}, {bytes_text(stored.bytes)}{outside}"
    if found.functions:
        yield "functions", f"{len(found.functions)}: {_listed(found.functions)}"
    kinds = ", ".join(f"{kind} {count}" if count > 1 else kind for kind, count in found.kinds.items())
    yield "nodes", f"{sum(found.kinds.values()):,}: {kinds}" if kinds else "none"
    if found.fixed:
        yield "", f"{found.fixed:,} of them work on constants alone and are not drawn"
    for key, text in found.metadata.items():
        if not key.startswith("dlc.") and key not in ("model_author", "model_license"):
            yield "metadata", f"{key}: {text if len(text) <= 200 else text[:199] + '…'}"


def _listed(words: Sequence[str]) -> str:
    shown = words if len(words) <= _LISTED else [*words[: _LISTED - 1], "…", words[-1]]
    return ", ".join(word if word.strip() else repr(word) for word in shown)
