"""Single arrays in files, for those who run a model by hand."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from compiler.diagnostics import DiagnosticError, error
from runtime.columns import whole
from runtime.data import load_arrays
from runtime.files import reason
from runtime.output import save_output
from runtime.tensors import Array


def read_array(path: Path, name: str) -> Array:
    """The array in a ``.npy`` file, or the one called ``name`` in another kind of data file.

    Raises DiagnosticError: E0601 to E0604 for the file, E0605 where it has no such array.
    """
    if path.suffix.lower() != ".npy" or not path.is_file():
        arrays = load_arrays(path)
        if name in arrays:
            return whole(arrays[name])
        held = ", ".join(f"`{held}`" for held in arrays) or "no array"
        advice = f"save it under that name: np.savez(path, {name}=…)"
        raise DiagnosticError(
            [error("E0605", f"there is no array `{name}` in {path}", None, notes=f"it holds {held}", help=advice)]
        )
    try:
        array = np.load(path, allow_pickle=False)
    except OSError as failure:
        why, code = reason(failure), "E0602"
    except (ValueError, EOFError) as failure:
        objects = "Object arrays" in str(failure)
        why = (
            "it holds Python objects, which are never unpickled"
            if objects
            else "it is truncated, damaged or not a .npy file"
        )
        code = "E0604" if objects else "E0602"
    else:
        if isinstance(array, np.ndarray):
            return array
        why, code = "it is an .npz file under another name", "E0602"
    advice = "write it again: np.save(path, np.asarray(array, dtype))"
    raise DiagnosticError([error(code, f"cannot read {path}: {why}", None, help=advice)])


def save_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    """Writes arrays to an ``.npz`` file, or a single one to a ``.npy`` file. Raises DiagnosticError E0801, and E0603
    for another kind of file."""
    content = io.BytesIO()
    if path.suffix.lower() == ".npz":
        np.savez(content, allow_pickle=False, **dict(arrays))
    elif path.suffix.lower() == ".npy" and len(arrays) == 1:
        np.save(content, next(iter(arrays.values())), allow_pickle=False)
    else:
        title = f"cannot write {', '.join(arrays)} to {path}"
        advice = "name an .npz file" if len(arrays) > 1 else "name an .npz or a .npy file"
        raise DiagnosticError([error("E0603", title, None, help=advice)])
    save_output(path, content.getvalue())
