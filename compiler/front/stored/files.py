"""Files of named arrays: what is in them by their headers, and the arrays when they are asked for. Nothing in them can
run: pickles are refused."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

Array: TypeAlias = npt.NDArray[Any]

SUFFIXES = (".safetensors", ".npz")
_PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle", ".joblib")
_KERAS = (".h5", ".hdf5", ".keras")
_DTYPES = {
    "BOOL": "bool", "U8": "u8", "I8": "i8", "I16": "i16", "U16": "u16", "I32": "i32", "U32": "u32", "I64": "i64",
    "U64": "u64", "F16": "f16", "BF16": "bf16", "F32": "f32", "F64": "f64",
}  # fmt: skip
FLOATS = ("f16", "bf16", "f32", "f64")
_WORDS = {"b": "bool", "i": "i", "u": "u", "f": "f"}


class Unreadable(Exception):
    """A file that can't be used: the message is the reason, ``help`` what to do."""

    def __init__(self, why: str, help: str) -> None:
        super().__init__(why)
        self.help = help


@dataclass(frozen=True, slots=True)
class Outline:
    """An array as the header has it; ``dtype`` is the language's word for its elements, or the file's own."""

    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True)
class StoredFile:
    """A file of arrays, ``outlines`` by their names. Made by :func:`open_stored`."""

    path: Path
    outlines: Mapping[str, Outline]

    def read(self, name: str) -> Array:
        """The array ``name``. Raises Unreadable where the file is not any more what it was."""
        try:
            array = _array(self.path, name)
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as problem:
            raise Unreadable(f"{name} cannot be read: {_words(problem)}", _CHANGED) from problem
        if array.shape != self.outlines[name].shape:
            raise Unreadable(f"{name} is not what it was when the file was checked", _CHANGED)
        return array


_CHANGED = "the file has changed since it was checked, or is damaged: take another copy"


def open_stored(path: Path) -> StoredFile:
    """The file at ``path``, of which only headers are read. Raises Unreadable."""
    suffix = path.suffix.lower()
    if suffix in _PICKLES:
        raise Unreadable("reading a pickle runs what is in it", _convert_torch(path))
    if suffix in _KERAS:
        help = f'convert it once: numpy.savez("{path.stem}.npz", **{{w.path: w.numpy() for w in model.weights}})'
        raise Unreadable("files of Keras cannot be read", help)
    if suffix not in SUFFIXES:
        raise Unreadable("it is of no kind that is known", f"weights are in {' or '.join(SUFFIXES)} files")
    try:
        outlines = _safetensors_outlines(path) if suffix == ".safetensors" else _npz_outlines(path)
    except OSError as problem:
        raise Unreadable(
            problem.strerror or str(problem), "see whether the path is right and you may read it"
        ) from None
    return StoredFile(path, outlines)


def _convert_torch(path: Path) -> str:
    return (
        "convert it once, with safetensors.torch: "
        f'save_file(torch.load("{path.name}", weights_only=True), "{path.stem}.safetensors")'
    )


def _safetensors_outlines(path: Path) -> dict[str, Outline]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise OSError("it is not a file")
    try:
        with safe_open(path, framework="numpy") as file:
            parts = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  # no mapping
            return {
                name: Outline(_DTYPES.get(part.get_dtype(), part.get_dtype()), tuple(part.get_shape()))
                for name, part in parts.items()
            }
    except (SafetensorError, ValueError) as problem:
        why = f"it is truncated, damaged or not a safetensors file ({_words(problem)})"
        raise Unreadable(why, "take another copy of the file") from None


def _npz_outlines(path: Path) -> dict[str, Outline]:
    found = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if entry.filename.endswith(".npy"):
                    with archive.open(entry) as stream:
                        found[entry.filename.removesuffix(".npy")] = _npy_outline(stream, entry.filename)
    except (zipfile.BadZipFile, ValueError, EOFError) as problem:
        why = f"it is truncated, damaged or not an .npz file ({_words(problem)})"
        raise Unreadable(why, "take another copy of the file, or save it anew with numpy.savez") from None
    return found


def _npy_outline(stream: Any, name: str) -> Outline:
    version = npy.read_magic(stream)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(stream)
    if dtype.hasobject:
        help = "save arrays of numbers: numpy.savez(path, name=numpy.asarray(values, dtype=numpy.float32))"
        raise Unreadable(f"{name} holds Python objects, which only a pickle can keep", help)
    kind = _WORDS.get(dtype.kind)
    word = dtype.name if kind is None else "bool" if kind == "bool" else f"{kind}{8 * dtype.itemsize}"
    return Outline(word, tuple(int(size) for size in shape))


def _array(path: Path, name: str) -> Array:
    if path.suffix.lower() == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            return np.asarray(archive[name])
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return np.asarray(file.get_tensor(name))
    except SafetensorError as problem:
        raise ValueError(_words(problem)) from None


def _words(problem: Exception) -> str:
    return " ".join(str(problem).split()) or type(problem).__name__
