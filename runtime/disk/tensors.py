"""Named arrays in one file, in the safetensors format: nothing in it can run when it is read.

The layout is at https://huggingface.co/docs/safetensors#format. Files are written here, array by array and
always in the same bytes, because the library's writer copies everything into memory first; they are read by
the library.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from compiler.diagnostics import DiagnosticError, error
from runtime.disk.files import reason, replacing

Array: TypeAlias = npt.NDArray[Any]

_NAMES = {
    "bool": "BOOL", "uint8": "U8", "uint32": "U32", "int8": "I8", "int32": "I32", "int64": "I64",
    "float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64",
}  # fmt: skip
# The one key of the format's free metadata that is used: several would come in no fixed order from other
# writers.
_KEY = "dlc"
_CHECKSUM = "checksum"


def write_tensors(path: Path, tensors: Mapping[str, Array], metadata: Mapping[str, Any]) -> None:
    """Replaces the content of ``path`` by ``tensors`` and ``metadata`` (what JSON can hold), with a checksum.

    The same content gives the same bytes. Raises OSError; the old content stays then.
    """
    ordered = _in_file_order(tensors)
    checksum = _checksum(dict(ordered))
    header: dict[str, Any] = {"__metadata__": {_KEY: json.dumps({**metadata, _CHECKSUM: checksum})}}
    offset = 0
    for name, array in ordered:
        place = [offset, offset + array.nbytes]
        header[name] = {"dtype": _NAMES[array.dtype.name], "shape": list(array.shape), "data_offsets": place}
        offset = place[1]
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with replacing(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, array in ordered:
            file.write(_bytes(array))


def read_tensors(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """The arrays of a safetensors file and its metadata; that is empty where another program wrote the file.

    Raises DiagnosticError: E0805 for a file that is missing, truncated, damaged or in another format.
    """
    # Imported late, as a fresh run needs no reader.
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            names = file.keys()
            tensors = {name: np.array(file.get_tensor(name)) for name in names}
            stored = (file.metadata() or {}).get(_KEY)
        metadata = {} if stored is None else json.loads(stored)
    except OSError as failure:
        raise _unreadable(path, reason(failure)) from failure
    except (SafetensorError, ValueError) as failure:
        raise _unreadable(path, "it is truncated, damaged or not a safetensors file", str(failure)) from failure
    if not isinstance(metadata, dict):
        raise _unreadable(path, "its metadata is damaged")
    if _CHECKSUM in metadata and metadata.pop(_CHECKSUM) != _checksum(tensors):
        raise _unreadable(path, "its content does not match its checksum")
    return tensors, metadata


def read_metadata(path: Path) -> dict[str, Any]:
    """What a safetensors file says beside its arrays; nothing where it says nothing or can't be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            found = json.loads((file.metadata() or {}).get(_KEY, "{}"))
    except (OSError, SafetensorError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _unreadable(path: Path, why: str, detail: str = "") -> DiagnosticError:
    return DiagnosticError(
        [
            error(
                "E0805",
                f"cannot read {path}: {why}",
                None,
                notes=[detail] if detail else [],
                help="take another copy of the file, or train again without --resume",
            )
        ]
    )


def _in_file_order(tensors: Mapping[str, Array]) -> list[tuple[str, Array]]:
    """Wide elements first, so that every array begins at a multiple of its element size."""
    native = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in tensors.items()}
    return sorted(native.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))


def _bytes(array: Array) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _checksum(tensors: Mapping[str, Array]) -> str:
    """CRC-32 of names and contents: it finds damage, it is no protection against forgery."""
    value = 0
    for name, array in _in_file_order(tensors):
        value = zlib.crc32(_bytes(array), zlib.crc32(name.encode(), value))
    return f"{value:08x}"
