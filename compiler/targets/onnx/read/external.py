"""Data that an ONNX file keeps in files beside it, read with care and put into the model."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx

from compiler.diagnostics import DiagnosticError, error
from compiler.ops.base import Array
from compiler.targets.onnx.content import MOST_BYTES, SplitModel
from compiler.targets.onnx.file import is_outside, tensors

# Element types of which NumPy has arrays without help.
_PLAIN = {number: onnx.helper.tensor_dtype_to_np_dtype(number) for number in (1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13)}


def embed(model: onnx.ModelProto, name: str, folder: Path | None) -> None:
    """Put external data into the model.

    A file has to lie in ``folder`` by its real path, be an ordinary file with one name only (a hard link could be any
    file of the machine), and have all the bytes that the tensor takes. Raises DiagnosticError (E0921) otherwise.
    """
    _embed([proto for proto in tensors(model) if is_outside(proto)], name, folder)


def _embed(outside: Iterable[onnx.TensorProto], name: str, folder: Path | None) -> None:
    total = 0
    for proto in outside:
        where = {entry.key: entry.value for entry in proto.external_data}
        total += byte_length(proto)
        if total > MOST_BYTES:
            raise _refused(name, proto, "the data of all tensors together are more than 2 GiB", "use a smaller model")
        data = _read(name, proto, where, folder)
        proto.raw_data = data
        del proto.external_data[:]
        proto.data_location = onnx.TensorProto.DEFAULT


def gather(model: onnx.ModelProto, name: str, where: Path | SplitModel) -> dict[str, Array]:
    """The weights that the model keeps elsewhere, by name: in files of the folder ``where``, or apart in ``where``.
    What is no plain array of the main graph is put into the model instead. Raises DiagnosticError (E0921) as
    :func:`embed` does.
    """
    found: dict[str, Array] = {}
    for proto in model.graph.initializer:
        dtype = _PLAIN.get(proto.data_type)
        if is_outside(proto) and dtype is not None:
            if isinstance(where, SplitModel):
                told = {entry.key: int(entry.value) for entry in proto.external_data if entry.key != "location"}
                data: bytes | memoryview = memoryview(where.data)[told["offset"] : told["offset"] + told["length"]]
            else:
                data = _read(name, proto, {entry.key: entry.value for entry in proto.external_data}, where)
            found[proto.name] = np.frombuffer(data, dtype).reshape(tuple(proto.dims))
    rest = [proto for proto in tensors(model) if is_outside(proto) and proto.name not in found]
    _embed(rest, name, None if isinstance(where, SplitModel) else where)
    return found


def _read(name: str, proto: onnx.TensorProto, where: dict[str, str], folder: Path | None) -> bytes:
    if folder is None:
        raise _refused(
            name, proto, "a model given as bytes has no folder for other files", "give the path of the model"
        )
    location = where.get("location", "")
    path = folder / location
    length = byte_length(proto)
    try:
        offset = int(where.get("offset", "0"))
        told = int(where.get("length", str(length)))
    except ValueError:
        raise _refused(name, proto, "offset and length are not numbers", "export the model again") from None
    if offset < 0 or told != length:
        text = f"it takes {length} bytes of {location}, and the model says {told} from {offset} on"
        raise _refused(name, proto, text, "export the model again")
    if not location or os.path.isabs(location) or not path.resolve().is_relative_to(folder.resolve()):
        help = "put the data file into the folder of the model, and export it with a relative name"
        raise _refused(name, proto, f"{location or 'its data file'} lies outside the folder of the model", help)
    try:
        # Opened once and looked at as it is open, so that it can't be exchanged in between.
        descriptor = os.open(path.resolve(), os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError as failure:
        why = failure.strerror or str(failure)
        raise _refused(name, proto, f"cannot read {location}: {why}", "put the file beside the model") from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        os.close(descriptor)
        raise _refused(name, proto, f"{location} is a link or no ordinary file", "put a copy of the file there")
    with os.fdopen(descriptor, "rb") as file:
        if offset + length > status.st_size:
            text = f"{location} has {status.st_size} bytes, and the model reads {length} from {offset} on"
            raise _refused(name, proto, text, "get the data file again: it is not the one of this model")
        file.seek(offset)
        return file.read(length)


def byte_length(proto: onnx.TensorProto) -> int:
    """The bytes that the tensor takes by its shape."""
    count = 1
    for size in proto.dims:
        count *= max(size, 0)
    try:
        width = onnx.helper.tensor_dtype_to_np_dtype(proto.data_type).itemsize
    except (KeyError, ValueError):
        width = 1
    return count * int(width)


def _refused(name: str, proto: onnx.TensorProto, why: str, help: str) -> DiagnosticError:
    return DiagnosticError(
        [
            error(
                "E0921",
                f"cannot read {proto.name or 'a tensor'} of {name} from another file",
                None,
                notes=why,
                help=help,
            )
        ]
    )
