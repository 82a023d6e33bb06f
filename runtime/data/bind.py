"""Whether arrays fit what a program takes, and their conversion where nothing can be lost by it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import numpy as np

from compiler.diagnostics import DiagnosticError, Label, Sink, Span, did_you_mean, error
from compiler.ir.dims import Dim, as_symbol, evaluate, symbols
from compiler.ir.graph import Value
from compiler.ir.types import DType
from compiler.program import IndexRange, TrainProgram
from runtime.data import remedies
from runtime.data.batches import DataSet
from runtime.data.columns import ArrayOrColumn, Column, blocks
from runtime.data.readers import Content
from runtime.data.readers.content import Names
from runtime.data.sources import FileArrays
from runtime.data.widening import ArrayLike, as_array, keeps_values

# How much of a list of classes or characters is shown.
_LISTED = 100


def bind(program: TrainProgram, arrays: Mapping[str, ArrayLike], *, at: Span | None = None) -> DataSet:
    """The arrays that ``program`` takes, checked and in its element types; arrays it does not take are left
    alone.

    ``at`` is the ``data`` statement where the arrays come from one. Booleans and numbers are widened where
    that loses nothing, and lists of Python numbers take the declared type. Raises DiagnosticError with every
    mistake found: E0605 array missing, E0606 element type, E0607 shape, E0608 numbers of rows, E0609 no rows,
    E0610 NaN or infinity, E0611 index out of range, E0615 classes or characters found that are not as many as the
    program has.
    """
    return _Binding(program, arrays, at).data_set()


class _Binding:
    def __init__(self, program: TrainProgram, arrays: Mapping[str, ArrayLike], at: Span | None) -> None:
        self.program, self.given, self.at = program, arrays, at
        self.source = arrays.path.name if isinstance(arrays, FileArrays) else ""
        self.sink = Sink()

    def data_set(self) -> DataSet:
        found = {value: array for value in self.program.inputs if (array := self.array(value)) is not None}
        self.check_symbols(found)
        self.check_lengths(found)
        self.sink.finish()
        for value, array in found.items():
            self.check_finite(value, array)
        bound = {value.name: array for value, array in found.items()}
        names = {name: self.names[name] for name in bound if name in self.names}
        # A loss and its measures ask for the same range: it is told once, at the first place.
        asked = {(item.input, item.size, item.ignored): item for item in reversed(self.program.ranges)}
        for item in reversed(asked.values()):
            if item.input in names and len(names[item.input]) != item.size:
                self.report_names(item, names[item.input])
            elif item.input in bound:
                self.check_range(item, bound[item.input])
        self.sink.finish()
        rows = len(next(iter(found.values())))
        content = self.given.content if isinstance(self.given, FileArrays) else Content({})
        source = self.source or "the data"
        step = content.stride if content.window else 1
        return DataSet(bound, np.arange(0, rows, step), source, names, content.window, step)

    @property
    def names(self) -> Names:
        return self.given.names if isinstance(self.given, FileArrays) else {}

    def report(self, code: str, title: str, value: Value, text: str = "", *, note: str = "", help: str = "") -> None:
        """An error at the ``data`` statement, with the input's declaration beside it, or at the declaration
        alone."""
        declared = self.program.evaluate.input_origins.get(value.name)
        span = declared.spans[0] if declared and declared.spans else None
        labels = [Label(span, f"taken here as {value.type}")] if span and self.at else []
        notes = [note] if note else []
        self.sink.report(error(code, title, self.at or span, text, labels=labels, notes=notes, help=help))

    def called(self, name: str) -> str:
        return f"`{name}` in {self.source}" if self.source else f"`{name}`"

    def array(self, value: Value) -> ArrayOrColumn | None:
        """The array for one input, in its element type; None, with a report, where it does not fit."""
        name = value.name
        if name not in self.given:
            self.report_missing(value)
            return None
        try:
            given = self.given[name]
            array = given if isinstance(given, Column) else as_array(given, value.type.dtype)
        except DiagnosticError as failure:
            for diagnostic in failure.diagnostics:
                self.sink.report(diagnostic)
            return None
        except ValueError:
            title = f"{self.called(name)} is not an array: its rows have different lengths"
            self.report("E0604", title, value, help="give every row the same shape, for example by padding")
            return None
        fits = self.check_dtype(value, array), self.check_shape(value, array)
        if not all(fits):
            return None
        wanted = value.type.dtype.numpy
        return array.cast(wanted) if isinstance(array, Column) else np.ascontiguousarray(array, wanted)

    def report_missing(self, value: Value) -> None:
        names = [str(name) for name in self.given]
        nearest = did_you_mean(value.name, names)
        place = f"in {self.source}" if self.source else "in the data"
        holds = f"{self.source or 'the data'} holds {', '.join(f'`{name}`' for name in names) or 'no array'}"
        advice = f"arrays are found by name: np.savez(path, {value.name}=…)" if self.source else ""
        advice = f"did you mean `{nearest}`? Rename one of the two" if nearest else advice
        advice = advice or f"arrays are found by name: {{{value.name!r}: …}}"
        self.report("E0605", f"there is no array `{value.name}` {place}", value, note=holds, help=advice)

    def check_dtype(self, value: Value, array: ArrayOrColumn) -> bool:
        wanted = value.type.dtype
        if array.dtype.kind == "O":
            title = f"{self.called(value.name)} holds Python objects, not numbers"
            advice = f"make it rectangular and numeric: np.array(rows, dtype=np.{wanted.numpy.name})"
            self.report("E0604", title, value, help=advice)
            return False
        if keeps_values(array.dtype, wanted):
            return True
        found = DType.of(array.dtype)
        shown = "text" if array.dtype.kind in "USV" else str(found or array.dtype)
        title = f"{self.called(value.name)} is {shown}, and the program takes {wanted}"
        self.report("E0606", title, value, help=remedies.for_type(value, array))
        return False

    def check_shape(self, value: Value, array: ArrayOrColumn) -> bool:
        """Rank and fixed sizes; the symbols are compared once all arrays are there."""
        wanted, actual = value.type.shape, array.shape
        title = f"{self.called(value.name)} has the shape {_shape(actual)}, and the program takes {value.type}"
        if len(wanted) != len(actual):
            text = f"{_count(len(actual), 'dimension')} instead of {len(wanted)}"
            self.report("E0607", title, value, text, help=remedies.for_shape(value, array))
            return False
        for axis, (dim, size) in enumerate(zip(wanted, actual, strict=True)):
            if isinstance(dim, int) and dim != size:
                text = f"dimension {axis} is {size} instead of {dim}"
                self.report("E0607", title, value, text, help=remedies.for_shape(value, array))
                return False
        return True

    def check_symbols(self, found: Mapping[Value, ArrayOrColumn]) -> None:
        """Every symbol but the batch size has one value in all arrays, within its bound; so have expressions
        of them."""
        sizes: dict[str, tuple[int, Value]] = {}
        for value, axis, dim, size in _dims(found):
            symbol = as_symbol(dim)
            if symbol is None or symbol.name == self.program.batch_symbol:
                continue
            known, first = sizes.setdefault(symbol.name, (size, value))
            if known != size:
                title = f"{symbol.name} is {known} in {self.called(first.name)} and {size} in {self.called(value.name)}"
                text = f"dimension {axis} of `{value.name}` is {size}"
                self.report("E0607", title, value, text, help="make them equal")
            elif not symbol.holds(size):
                limit = f"at most {symbol.upper}" if size > symbol.lower else f"at least {symbol.lower}"
                title = f"{self.called(value.name)} has {symbol.name} = {size}, and {limit} is allowed"
                text = f"dimension {axis} is {size}"
                advice = "cut it to that size, or raise the bound"
                if size < symbol.lower:
                    advice = "fill it up to that size, or lower the bound"
                self.report("E0607", title, value, text, help=advice)
        self.check_expressions(found, {name: size for name, (size, _) in sizes.items()})

    def check_expressions(self, found: Mapping[Value, ArrayOrColumn], sizes: dict[str, int]) -> None:
        for value, axis, dim, size in _dims(found):
            names = [symbol.name for symbol in symbols(dim)]
            if as_symbol(dim) is None and names and all(name in sizes for name in names):
                wanted = evaluate(dim, sizes)
                if wanted != size:
                    known = ", ".join(f"{name} = {sizes[name]}" for name in names)
                    title = f"dimension {axis} of {self.called(value.name)} is {size}, and {dim} is {wanted}"
                    self.report("E0607", title, value, f"with {known}", help="make them agree")

    def check_lengths(self, found: Mapping[Value, ArrayOrColumn]) -> None:
        first = next(iter(found), None)
        for value, array in found.items():
            if first is not None and len(array) != len(found[first]):
                title = (
                    f"{self.called(first.name)} has {_count(len(found[first]), 'row')} "
                    f"and {self.called(value.name)} has {len(array)}"
                )
                self.report("E0608", title, value, help="every array has one row for each sample, in the same order")
                return
        if first is not None and len(found[first]) == 0:
            self.report("E0609", f"{self.called(first.name)} has no rows", first, help="give at least one sample")

    def check_finite(self, value: Value, array: ArrayOrColumn) -> None:
        found = array.stored if isinstance(array, Column) else array.dtype
        if found.kind in "biu":
            return
        count, row, example = 0, -1, 0.0
        for start, block in blocks(array):
            bad = ~np.isfinite(block)
            if bad.any() and row < 0:
                first = int(np.argmax(bad.reshape(len(bad), -1).any(axis=1)))
                row, example = start + first, float(block[first][bad[first]].flat[0])
            count += int(np.count_nonzero(bad))
        if count:
            title = f"{self.called(value.name)} holds {_count(count, 'number')} that are NaN or infinite"
            title = title if count > 1 else f"{self.called(value.name)} holds a number that is NaN or infinite"
            advice = f"leave such rows out, or fill them: np.nan_to_num({value.name})"
            self.report("E0610", title, value, f"row {row} is the first: it holds {example}", help=advice)

    def check_range(self, item: IndexRange, array: ArrayOrColumn) -> None:
        if array.dtype.kind not in "iu":
            return
        lows, highs, row, example = [], [], -1, 0
        for start, block in blocks(array):
            counted_in = block != item.ignored
            bad = ((block < 0) | (block >= item.size)) & counted_in
            if bad.any() and row < 0:
                first = int(np.argmax(bad.reshape(len(bad), -1).any(axis=1)))
                row, example = start + first, int(block[first][bad[first]].flat[0])
            if counted_in.any():
                lows.append(int(block[counted_in].min()))
                highs.append(int(block[counted_in].max()))
        if row < 0:
            return
        low, high = min(lows), max(highs)
        title = f"{self.called(item.input)} has the value {example} in row {row}: 0 to {item.size - 1} are allowed"
        counted = low == 1 and high == item.size
        advice = (
            f"count from 0: {item.input} - 1" if counted
            else f"the values go from {low} to {high}: correct them, or make room for {high + 1}" if low >= 0
            else f"the values go from -1 to {high}: a loss and its measures pass over -1 with ignore=-1" if low == -1
            else f"the values go from {low} to {high}: negative ones stand for nothing, leave those rows out"
        )  # fmt: skip
        self.report_range("E0611", item, title, advice)

    def report_names(self, item: IndexRange, names: tuple[str, ...]) -> None:
        """The data has more classes or characters than the program, or fewer."""
        what = "characters" if all(len(name) == 1 for name in names) else "classes"
        title = f"{self.called(item.input)} has {len(names)} different {what}, and the network {item.size}"
        listed = "".join(names) if what == "characters" else ", ".join(names)
        listed = listed if len(listed) <= _LISTED else listed[:_LISTED] + " …"
        note = f"they are {json.dumps(listed, ensure_ascii=False) if what == 'characters' else listed}"
        self.report_range("E0615", item, title, f"let the network have {len(names)}", note)

    def report_range(self, code: str, item: IndexRange, title: str, advice: str, note: str = "") -> None:
        labels = [Label(self.at, "")] if self.at else []
        text = f"it stands for one of {item.size} here"
        notes = [note] if note else []
        self.sink.report(error(code, title, item.span, text, labels=labels, notes=notes, help=advice))


def _dims(found: Mapping[Value, ArrayOrColumn]) -> Iterator[tuple[Value, int, Dim, int]]:
    for value, array in found.items():
        for axis, (dim, size) in enumerate(zip(value.type.shape, array.shape, strict=True)):
            yield value, axis, dim, size


def _shape(shape: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
