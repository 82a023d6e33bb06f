"""Single arrays in files, for those who run a model by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from compiler.diagnostics import DiagnosticError, error
from compiler.front.catalogue import entries
from compiler.ir.dims import Dim, symbol
from compiler.ir.types import TensorType
from compiler.sources import DataPath, DataSource
from runtime.data.columns import ArrayOrColumn
from runtime.data.readers import Request
from runtime.data.readers.images import ENDINGS, Resize
from runtime.data.sources import kind_of, load_arrays
from runtime.programs.signature import Port


@dataclass(frozen=True)
class Reading:
    """How the file for an input is read: the ``columns`` of a table, the one of the input's name or else all of them
    where it is empty, and what makes pictures of another size fit."""

    columns: Sequence[str] = ()
    resize: Resize = None


_AS_IT_IS = Reading()


def read_array(path: Path, port: Port, how: Reading = _AS_IT_IS) -> ArrayOrColumn:
    """The array for an input: the one in a ``.npy`` or IDX file, the one of its name in an ``.npz`` file, numbers from
    columns of a ``.csv`` file, or the pixels of a picture, or of all pictures of a folder, from 0 to 255.

    Raises DiagnosticError: E0601 to E0604 for the file, E0605 where it has no such array, E0616 with the line or the
    name of a row or a picture that can't be used, and what else the readers raise.
    """
    if path.is_dir() or path.suffix.lower() in ENDINGS:
        if len(port.shape or ()) not in (3, 4):
            title = f"cannot read {path} for `{port.name}`: it takes {port}, which is no picture"
            help = "give an .npy or .npz file, or a .csv file of rows"
            raise DiagnosticError([error("E0602", title, None, help=help)])
        source = entries("reader")["images"].build(path=DataPath(path), resize=how.resize)
        arrays = load_arrays(source, request=Request(inputs={"image": _type(port)}, by_hand=True))
        picture: ArrayOrColumn = arrays["image"]
        return picture
    if kind_of(path) == "csv":
        return _from_table(path, port, how)
    arrays = load_arrays(path)
    name = port.name if kind_of(path) == "npz" else next(iter(arrays))
    if name in arrays:
        found: ArrayOrColumn = arrays[name]
        return found
    held = ", ".join(f"`{held}`" for held in arrays) or "no array"
    advice = f"save it under that name: np.savez(path, {name}=…)"
    raise DiagnosticError(
        [error("E0605", f"there is no array `{name}` in {path}", None, notes=f"it holds {held}", help=advice)]
    )


def _from_table(path: Path, port: Port, how: Reading) -> ArrayOrColumn:
    source = entries("reader")["csv"].build(path=DataPath(path))
    assert isinstance(source, DataSource)
    request = Request(inputs={port.name: _type(port)}, by_hand=True)
    arrays = load_arrays(source, request=Request(by_hand=True))
    columns = tuple(how.columns) or (port.name if port.name in arrays else "*",)
    source = replace(source, inputs={port.name: columns})
    try:
        found: ArrayOrColumn = load_arrays(source, request=request)[port.name]
    except DiagnosticError as failure:
        numbers = [name for name, column in arrays.items() if np.asarray(column[:1]).dtype.kind in "biuf"]
        if columns != ("*",) or port.shape is None or len(numbers) != port.shape[-1]:
            raise
        advice = f"or take the columns of numbers alone: dlc run … --columns '{port.name}={','.join(numbers)}'"
        told = [replace(item, help=(*item.help, advice)) for item in failure.diagnostics]
        raise DiagnosticError(told) from failure
    return found


def _type(port: Port) -> TensorType:
    """The type of an input as readers know it; what the file says of a free size does not matter to them."""
    dims: list[Dim] = [
        size if isinstance(size, int) and axis else symbol(f"S{axis}") for axis, size in enumerate(port.shape or ())
    ]
    return TensorType(port.dtype, tuple(dims))
