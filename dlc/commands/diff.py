"""``dlc diff``: what differs between two ONNX files."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dlc.commands import options
from dlc.terminal import tell

if TYPE_CHECKING:
    from compiler.targets.onnx.difference.structure import Change, StructureDifference
    from compiler.targets.onnx.difference.weights import WeightDifference
    from runtime.inference.difference import Part, ResultDifference
    from runtime.inference.session import Device

_SHOWN = 20  # things of one kind that are listed before the rest is only counted
_LONGEST = 60


@click.command(short_help="Say what differs between two ONNX files.")
@click.argument("first", metavar="FILE", type=click.Path(path_type=Path))
@click.argument("second", metavar="OTHER", type=click.Path(path_type=Path))
@click.option(
    "--only", "parts", multiple=True, type=click.Choice(["structure", "weights", "results"]),
    help="Compare only this. May be repeated.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@options.DEVICE
def diff(first: Path, second: Path, parts: tuple[Part, ...], as_json: bool, device: Device) -> int:
    """Say what differs between two ONNX files, of dlc or any other tool: in structure (signature, versions, metadata,
    nodes), in weights, and in results, for which both run in ONNX Runtime on the same random inputs, at several sizes
    of every free dimension.

    The exit status is 0 where they are alike, and 1 where anything that was compared differs, or where a file can't be
    read. Results count as alike within the tolerance that exports are held to.

    \b
    Examples:
      dlc diff resnet.onnx smaller.onnx
      dlc diff resnet.onnx smaller.onnx --only results
      dlc diff old.onnx new.onnx --only weights --json
    """
    from runtime.inference.difference import PARTS, compare_files

    found = compare_files(first, second, parts or PARTS, device)
    if as_json:
        tell(json.dumps(_record(asdict(found)) | {"equal": found.is_empty}, indent=2, ensure_ascii=False))
        return int(not found.is_empty)
    sections = {
        "structure": None if found.structure is None else _structure(found.structure, first, second),
        "weights": None if found.weights is None else _weights(found.weights, first, second),
        "results": None if found.results is None else _results(found.results),
    }
    for name, lines in sections.items():
        if lines is not None:
            tell(name)
            for line in lines:
                tell(f"  {line}")
    return int(not found.is_empty)


def _structure(found: StructureDifference, first: Path, second: Path) -> Iterator[str]:
    for change in (*found.signature, *found.versions, *found.metadata):
        yield _change(change)
    nodes = found.nodes
    how = "by name" if nodes.by_names else "by what they do and their order"
    only = [f"{len(nodes.removed)} only in {first}"] * bool(nodes.removed)
    only += [f"{len(nodes.added)} only in {second}"] * bool(nodes.added)
    changed = [f"{len(nodes.changed)} changed"] * bool(nodes.changed)
    counts = ", ".join([f"{nodes.equal} alike", *changed, *only])
    yield f"nodes: {counts}" + (f" (matched {how})" if changed or only else "")
    yield from _few([f"- {label}" for label in nodes.removed])
    yield from _few([f"+ {label}" for label in nodes.added])
    pairs = [(_pair(change.first, change.second), "; ".join(change.how)) for change in nodes.changed]
    yield from _few([f"~ {pair}: {how}" for pair, how in pairs])


def _weights(found: WeightDifference, first: Path, second: Path) -> Iterator[str]:
    counts = [f"{found.equal} alike"]
    counts += [f"{len(found.changed)} changed"] * bool(found.changed)
    counts += [f"{len(found.renamed)} alike under another name"] * bool(found.renamed)
    counts += [f"{len(found.removed)} only in {first}"] * bool(found.removed)
    counts += [f"{len(found.added)} only in {second}"] * bool(found.added)
    yield ", ".join(counts)
    yield from _few([f"- {name}: {type}" for name, type in found.removed])
    yield from _few([f"+ {name}: {type}" for name, type in found.added])
    yield from _few([f"= {old} -> {new}" for old, new in found.renamed])
    changed = []
    for change in found.changed:
        types = _pair(change.first, change.second)
        relative = "" if change.relative is None else f", {change.relative:.1e} of the largest element"
        by = "" if change.largest is None else f", by up to {change.largest:.1e}{relative}"
        changed.append(f"~ {change.name}: {types}{by}")
    yield from _few(changed)


def _results(found: ResultDifference) -> Iterator[str]:
    if found.why_not:
        yield f"not compared: {found.why_not}"
    for output in found.outputs:
        where = f" at {_sizes(output.sizes)}" if output.sizes else ""
        if math.isinf(output.share):
            yield f"{output.name}: differs in shape, type or in which numbers are finite{where}"
        elif not output.largest:
            yield f"{output.name}: equal"
        else:
            share = output.share
            within = f"{share:.3g} times the tolerance" if share > 1 else f"{100 * share:.2g}% of the tolerance"
            yield f"{output.name}: largest difference {output.largest:.1e}, {within}{where}"
    if any(found.cases):
        yield f"run at {'; '.join(map(_sizes, found.cases))}"
    for sizes, why in found.left_out:
        yield f"not run at {_sizes(sizes) or 'its sizes'}: {why}"


def _change(change: Change) -> str:
    if change.first is None:
        return f"+ {change.what}: {_cut(change.second or '')}"
    if change.second is None:
        return f"- {change.what}: {_cut(change.first)}"
    return f"~ {change.what}: {_cut(change.first)} -> {_cut(change.second)}"


def _pair(first: str, second: str) -> str:
    return first if first == second else f"{first} -> {second}"


def _few(lines: Sequence[str]) -> list[str]:
    left = len(lines) - _SHOWN
    return [*lines] if left <= 0 else [*lines[:_SHOWN], f"{lines[0][0]} … and {left} more, which --json lists"]


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def _sizes(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{name}={size}" for name, size in sizes.items())


def _record(found: Any) -> Any:
    """What JSON can hold of it: infinities become null."""
    if isinstance(found, Mapping):
        return {key: _record(value) for key, value in found.items()}
    if isinstance(found, list | tuple):
        return [_record(value) for value in found]
    return None if isinstance(found, float) and not math.isfinite(found) else found
