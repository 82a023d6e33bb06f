"""What a model gave, written batch by batch: arrays in NumPy's files, rows as CSV and as JSON lines."""

from __future__ import annotations

import csv
import io
import json
import shutil
import tempfile
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.lib import format as npy_format

from compiler.diagnostics import DiagnosticError, error, harmless
from runtime.disk.files import replacing
from runtime.disk.output import saving
from runtime.disk.tensors import Array

_NEAR_ONE = 1e-3


def decided(scores: Array, labels: Sequence[str]) -> tuple[list[str], list[float]]:
    """For each row of ``scores`` [N, classes] the label with the largest and its probability: the score itself where a
    row is probabilities already (none below 0, their sum 1), else its softmax."""
    values = scores.astype(np.float64)
    with np.errstate(invalid="ignore"):
        raised = np.exp(values - values.max(axis=1, keepdims=True))
        softmax = raised / raised.sum(axis=1, keepdims=True)
        shares = (values >= 0).all(axis=1) & (np.abs(values.sum(axis=1) - 1) < _NEAR_ONE)
    chosen = values.argmax(axis=1)
    most = np.where(shares, values.max(axis=1), softmax.max(axis=1))
    return [labels[index] for index in chosen], most.tolist()


class Writer(ABC):
    """Takes the outputs of one batch after another."""

    @abstractmethod
    def add(self, outputs: Mapping[str, Array]) -> None:
        """The next batch. Raises DiagnosticError E0603 where it does not go with those before."""

    def finish(self) -> None:  # noqa: B027 - most have nothing left to do
        """Writes what comes after the last batch."""


class JsonLines(Writer):
    """An object for each row: the outputs by name, with ``label`` and ``probability`` where there are ``labels`` for
    the scores of the only output. Numbers that JSON does not have, NaN and the infinities, are null."""

    def __init__(self, stream: BinaryIO, labels: Sequence[str] = ()) -> None:
        self._stream, self._labels = stream, labels

    def add(self, outputs: Mapping[str, Array]) -> None:
        self._stream.write("".join(f"{text}\n" for text in self._texts(outputs)).encode())
        self._stream.flush()

    def _texts(self, outputs: Mapping[str, Array]) -> list[str]:
        """An object for each row of a batch, or one for all of it where its outputs do not have the same rows."""
        columns = {name: plain(array) for name, array in outputs.items()} | self._decisions(outputs)
        rows: list[dict[str, Any]] = [columns]
        if _rows(outputs) is not None:
            rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        return [harmless(json.dumps(row, ensure_ascii=False, allow_nan=False)) for row in rows]

    def _decisions(self, outputs: Mapping[str, Array]) -> dict[str, list[Any]]:
        if not has_decisions(outputs, self._labels):
            return {}
        names, most = decided(next(iter(outputs.values())), self._labels)
        return {"label": names, "probability": plain(np.array(most))}


class JsonList(JsonLines):
    """The objects of :class:`JsonLines` as one list, each on a line of its own."""

    _before = "["

    def add(self, outputs: Mapping[str, Array]) -> None:
        for text in self._texts(outputs):
            self._stream.write(f"{self._before}\n{text}".encode())
            self._before = ","

    def finish(self) -> None:
        self._stream.write(b"[]\n" if self._before == "[" else b"\n]\n")


class Table(Writer):
    """A line for each row: a column for each number, called after the output and its place in it, or its label; then
    ``label`` and ``probability``, as :class:`JsonLines` has them."""

    def __init__(self, stream: BinaryIO, path: str, labels: Sequence[str] = ()) -> None:
        self._stream, self._path, self._labels = stream, path, labels
        self._head: list[str] | None = None

    def add(self, outputs: Mapping[str, Array]) -> None:
        if _rows(outputs) is None:
            raise _unfit(self._path, "the outputs do not have the same rows")
        labelled = has_decisions(outputs, self._labels)
        head = [title for name, array in outputs.items() for title in self._titles(name, array, labelled)]
        columns = [list(column) for array in outputs.values() for column in array.reshape(len(array), -1).T.astype(str)]
        if labelled:
            names, most = decided(next(iter(outputs.values())), self._labels)
            head, columns = [*head, "label", "probability"], [*columns, names, [f"{x:.6g}" for x in most]]
        text = io.StringIO(newline="")
        lines = csv.writer(text, lineterminator="\n")
        if self._head is None:
            lines.writerow(head)
        elif self._head != head:
            raise _unfit(self._path, "rows have different numbers of values")
        self._head = head
        lines.writerows(zip(*columns, strict=True))
        self._stream.write(text.getvalue().encode())
        self._stream.flush()

    def _titles(self, name: str, array: Array, labelled: bool) -> list[str]:
        if labelled:
            return [f"{name}.{label}" for label in self._labels]
        places = np.ndindex(array.shape[1:])
        return [".".join([name, *map(str, place)]) for place in places]


class Arrays(Writer):
    """The outputs one batch below the other, as ``.npz``, or ``.npy`` for a single one. What has come is kept in
    temporary files, so that memory need not hold it."""

    def __init__(self, stream: BinaryIO, path: str, stack: ExitStack) -> None:
        self._stream, self._path, self._stack = stream, path, stack
        self._kept: dict[str, tuple[IO[bytes], list[int], np.dtype[Any]]] = {}

    def add(self, outputs: Mapping[str, Array]) -> None:
        for name, array in outputs.items():
            if name not in self._kept:
                made: IO[bytes] = tempfile.TemporaryFile(prefix="dlc-")  # noqa: SIM115 - closed by the stack
                self._kept[name] = (
                    self._stack.enter_context(made),
                    [0, *array.shape[1:]] if array.ndim else [],
                    array.dtype,
                )
            file, shape, _ = self._kept[name]
            if list(array.shape[1:]) != shape[1:]:
                raise _unfit(self._path, f"rows of `{name}` differ in shape")
            if shape:
                shape[0] += len(array)
            file.write(np.ascontiguousarray(array).data)

    def finish(self) -> None:
        if self._path.lower().endswith(".npy"):
            self._write(next(iter(self._kept)), self._stream)
            return
        with zipfile.ZipFile(self._stream, "w", allowZip64=True) as archive:
            for name in self._kept:
                # A date of its own would make every file another one.
                with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                    self._write(name, member)

    def _write(self, name: str, stream: IO[bytes]) -> None:
        file, shape, dtype = self._kept[name]
        descr = npy_format.dtype_to_descr(dtype)
        npy_format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": tuple(shape)})
        file.seek(0)
        shutil.copyfileobj(file, stream)


def has_decisions(outputs: Mapping[str, Array], labels: Sequence[str]) -> bool:
    """Whether the only output is a row of scores for each sample, one for each of ``labels``."""
    if len(outputs) != 1 or not labels:
        return False
    scores = next(iter(outputs.values()))
    return scores.dtype.kind == "f" and scores.ndim == 2 and scores.shape[1] == len(labels)


@contextmanager
def writing(path: Path, outputs: Sequence[str], labels: Sequence[str] = ()) -> Iterator[Writer]:
    """A writer to ``path``, by its ending ``.npz``, ``.npy``, ``.csv``, ``.json`` or ``.jsonl``. The file takes
    its place when the block ends well; before, what was there stays.

    Raises DiagnosticError: E0603 for another kind of file, E0801 where it can't be written.
    """
    kind = path.suffix.lower()
    if kind not in (".npz", ".csv", ".json", ".jsonl") and (kind != ".npy" or len(outputs) != 1):
        title = f"cannot write {', '.join(outputs)} to {path}"
        advice = "name an .npz file" if len(outputs) > 1 else "name an .npz or a .npy file"
        raise DiagnosticError(
            [error("E0603", title, None, help=f"{advice}, or .csv, .json or .jsonl for rows of text")]
        )
    with saving(path), ExitStack() as stack, replacing(path) as stream:
        made: Writer
        if kind == ".csv":
            made = Table(stream, str(path), labels)
        elif kind in (".json", ".jsonl"):
            made = (JsonList if kind == ".json" else JsonLines)(stream, labels)
        else:
            made = Arrays(stream, str(path), stack)
        yield made
        made.finish()


def _rows(outputs: Mapping[str, Array]) -> int | None:
    """The number of rows, where all outputs have the same."""
    counts = {len(array) if array.ndim else None for array in outputs.values()}
    return counts.pop() if len(counts) == 1 else None


def plain(array: Array) -> Any:
    """Nested lists; a float is the shortest number that reads as the same one in its own type."""
    if array.dtype.kind != "f":
        return array.tolist()
    values = array.astype(str).astype(np.float64)
    if np.isfinite(values).all():
        return values.tolist()
    found = values.astype(object)
    found[~np.isfinite(values)] = None
    return found.tolist()


def _unfit(path: str, why: str) -> DiagnosticError:
    return DiagnosticError([error("E0603", f"cannot write {path}: {why}", None, help="name a .jsonl file instead")])
