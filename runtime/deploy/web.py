"""A page that runs a model in the browser: a folder of static files, with ONNX Runtime from npm."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from math import isqrt
from pathlib import Path
from typing import Any

from compiler.diagnostics import DiagnosticError, error
from compiler.ir.types import DType
from compiler.targets.onnx.metadata import bounds
from runtime.deploy.folder import publish
from runtime.deploy.npm import web_runtime
from runtime.inference.careful import careful
from runtime.inference.saving import one_file
from runtime.inference.session import InferenceSession
from runtime.programs.signature import Port

_MARK = "model.json"
_PICTURES = range(5, 1025)  # sides of what may be a picture
_FLAT_NAMES = re.compile(r"images?|pictures?|pixels?|img", re.IGNORECASE)


@dataclass(frozen=True)
class Page:
    """What was written: the ``folder``, the version of ONNX Runtime in it, and the names of the inputs, or ``pictures``
    where the page has a board to draw on or takes pictures from files."""

    folder: Path
    runtime: str
    inputs: Sequence[str]
    pictures: bool


def deploy_web(
    path: Path,
    folder: Path,
    name: str,
    runtime: Path | None = None,
    values: tuple[float, float] | None = None,
    replace: bool = False,
) -> Page:
    """Writes a page for the model in ``path``, whose pictures have ``values`` from the lowest, for paper, to the
    highest, for ink: 0 to 255 for u8 and 0 to 1 for floats where they are not told. ``runtime`` is the npm package.

    Raises DiagnosticError: what opening the file raises (E0905 to E0921), E0941 for what a page can't take, E0942 where
    ONNX Runtime for browsers is not found, E0940 and E0801 where the folder can't be written.
    """
    content = one_file(careful(path), "a page")
    session = InferenceSession(content, name=path)
    described = description(session, name, values)
    ort = web_runtime(runtime, Path.cwd())
    described["facts"].append(["runs in", f"onnxruntime-web {ort.version}"])
    written = {
        "model.onnx": content,
        _MARK: json.dumps(described, ensure_ascii=False, indent=1).encode(),
        **{f"onnxruntime/{file}": data for file, data in ort.files.items()},
    }
    for item in files("runtime.deploy").joinpath("page").iterdir():
        if item.is_file():
            written[item.name] = item.read_bytes()
    publish(folder, {name: [data] for name, data in written.items()}, _MARK, replace)
    return Page(folder, ort.version, [port.name for port in session.inputs], described["image"] is not None)


def description(session: InferenceSession, name: str, values: tuple[float, float] | None) -> dict[str, Any]:
    """What the page is told of the model. Raises DiagnosticError E0941."""
    for kind, port in [*(("input", x) for x in session.inputs), *(("output", x) for x in session.outputs)]:
        if port.shape is None or port.dtype is DType.F16:
            what = "has no known number of dimensions" if port.shape is None else "is f16"
            title = f"a page cannot run {session.name}: its {kind} `{port.name}` {what}"
            help = "export it again with shapes" if port.shape is None else "let it be f32, and cast inside the model"
            raise DiagnosticError([error("E0941", title, None, help=help)])
    about, known = session.description, bounds(session.metadata)
    inputs = [
        {
            **_port(port),
            "range": about.ranges.get(port.name),
            "bounds": {size: [known[size].lower, known[size].upper] for size in port.shape or () if size in known},
            "words": about.names.get(port.name) if port.dtype.numpy.kind in "iu" else None,
        }
        for port in session.inputs
    ]
    told = (("what it is", about.text), ("author", about.author), ("licence", about.license), ("dlc", about.version))
    facts = [[key, text] for key, text in told if text]
    if about.certificate:
        facts.append(["certificate", "; ".join(f"{key} {text}" for key, text in about.certificate.items())])
    facts += [[key, f"{value:.4g}"] for key, value in about.metrics.items()]
    return {
        "name": name,
        "image": _picture(session.inputs, values) if not any(item["words"] for item in inputs) else None,
        "inputs": inputs,
        "outputs": [_port(port) for port in session.outputs],
        "labels": about.labels,
        "facts": facts,
    }


def _port(port: Port) -> dict[str, Any]:
    return {"name": port.name, "dtype": str(port.dtype), "shape": port.shape}


def _picture(ports: Sequence[Port], values: tuple[float, float] | None) -> dict[str, Any] | None:
    """How the only input takes a picture; None where it is not one."""
    if len(ports) != 1:
        return None
    (port,) = ports
    shape = port.shape or ()
    sizes = shape[1:] if shape and not isinstance(shape[0], int) else shape
    sizes = sizes[1:] if len(sizes) == 4 and sizes[0] == 1 else sizes
    whole = [size for size in sizes if isinstance(size, int)]
    if len(whole) < len(sizes) or not whole or port.dtype is DType.BOOL:
        return None
    found: tuple[int, int, int, str]
    match whole:
        case [int(rows), int(columns)]:
            found = rows, columns, 1, "chw"
        case [1 | 3 as first, int(rows), int(columns)]:
            found = rows, columns, first, "chw"
        case [int(rows), int(columns), 1 | 3 as last]:
            found = rows, columns, last, "hwc"
        case [int(size)] if isqrt(size) ** 2 == size and _FLAT_NAMES.fullmatch(port.name):
            found = isqrt(size), isqrt(size), 1, "chw"
        case _:
            return None
    rows, columns, channels, layout = found
    if rows not in _PICTURES or columns not in _PICTURES:
        return None
    low, high = values or ((0.0, 1.0) if port.dtype.numpy.kind == "f" else (0.0, 255.0))
    return {
        "input": _port(port), "rows": rows, "columns": columns, "channels": channels, "layout": layout,
        "low": low, "high": high,
    }  # fmt: skip
