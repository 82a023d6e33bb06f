"""Data that an ONNX file keeps in files beside it, read with care and put into the model."""

from __future__ import annotations

import os
import stat
from mmap import ACCESS_READ, mmap
from pathlib import Path

import numpy as np
import onnx

from compiler.diagnostics import DiagnosticError, error
from compiler.ops.base import Array
from compiler.targets.onnx.content import MOST_BYTES
from compiler.targets.onnx.file import is_outside, tensors

# Data of at least so many bytes are mapped into memory, not read.
_MAPPED = 2**20
# Element types of which NumPy has arrays without help.
_PLAIN = {number: onnx.helper.tensor_dtype_to_np_dtype(number) for number in (1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13)}


def gather(model: onnx.ModelProto, name: str, folder: Path | None) -> dict[str, Array]:
    """The weights that the model keeps in other files, by name; what is no plain array of the main graph is put into
    the model instead.

    A file has to lie in ``folder`` by its real path, be an ordinary file with one name only (a hard link could be any
    file of the machine), and have all the bytes that the tensor takes. Raises DiagnosticError (E0921) otherwise. Large
    weights are not read before they are looked at: their files must not become shorter until then.
    """
    found: dict[str, Array] = {}
    for proto in model.graph.initializer:
        dtype = _PLAIN.get(proto.data_type)
        if is_outside(proto) and dtype is not None:
            found[proto.name] = np.frombuffer(_read(name, proto, folder, dtype.itemsize), dtype).reshape(
                tuple(proto.dims)
            )
    total = 0
    for proto in tensors(model):
        if is_outside(proto) and proto.name not in found:
            total += byte_length(proto)
            if total > MOST_BYTES:
                why = "the data of all tensors of a kind that NumPy does not have are more than 2 GiB together"
                raise _refused(name, proto, why, "use a smaller model")
            put_in(proto, _read(name, proto, folder))
    return found


def put_in(proto: onnx.TensorProto, data: bytes | memoryview) -> None:
    """Have a tensor hold its data itself."""
    proto.raw_data = bytes(data)
    del proto.external_data[:]
    proto.data_location = onnx.TensorProto.DEFAULT


def _read(name: str, proto: onnx.TensorProto, folder: Path | None, itemsize: int = 1) -> bytes | memoryview:
    """The bytes of a tensor; of a large one whose elements lie as a processor wants them, those of the file itself."""
    where = {entry.key: entry.value for entry in proto.external_data}
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
        if length >= _MAPPED and offset % itemsize == 0:
            return memoryview(mmap(file.fileno(), offset + length, access=ACCESS_READ))[offset:]
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
