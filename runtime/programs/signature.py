"""Arrays against the inputs of a model: names, element types, sizes, and an explanation of what does not fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from compiler.diagnostics import Diagnostic, DiagnosticError, did_you_mean, error
from compiler.ir.dims import Symbol
from compiler.ir.types import DType
from compiler.ops.base import Array
from runtime.data.remedies import for_order
from runtime.data.widening import ArrayLike, as_array, keeps_values


@dataclass(frozen=True, slots=True)
class Port:
    """An input or an output. A size is a number, the text of a symbol or expression, or None where anything
    goes; ``shape`` is None where not even the number of dimensions is told."""

    name: str
    dtype: DType
    shape: tuple[int | str | None, ...] | None

    def __str__(self) -> str:
        if self.shape is None:
            return f"{self.dtype}[...]"
        return f"{self.dtype}[{', '.join('?' if size is None else str(size) for size in self.shape)}]"

    @property
    def row(self) -> Port:
        """One row of it: without the axis of the batch."""
        return self if self.shape is None else replace(self, shape=self.shape[1:])


def by_name(ports: Sequence[Port], given: ArrayLike | Mapping[str, ArrayLike], model: str) -> dict[str, Array]:
    """The arrays by name: ``given`` has them so, or is the one input of the ``model``. Lists of Python numbers take
    the element type of the input. Raises DiagnosticError (E0910) for one without a name where there are several."""
    if not isinstance(given, Mapping):
        if len(ports) != 1:
            title = f"{model} takes {len(ports)} inputs, and one array without a name was given"
            names = ", ".join(f"{port.name!r}: …" for port in ports)
            raise DiagnosticError([error("E0910", title, None, help=f"name them: {{{names}}}")])
        given = {ports[0].name: given}
    wanted = {port.name: port.dtype for port in ports}
    return {
        name: as_array(value, wanted[name]) if name in wanted else np.asarray(value) for name, value in given.items()
    }


def match(
    ports: Sequence[Port],
    inputs: Mapping[str, Array],
    bounds: Mapping[str, Symbol],
    described: Mapping[str, str],
) -> dict[str, Array]:
    """The arrays for ``ports``, in native byte order, widened where that loses nothing. ``bounds`` has the
    symbols that have any; ``described`` tells what holds an array in the words of the user, such as its file's name.

    Raises DiagnosticError with everything that does not fit: names (E0910), element types (E0911), sizes (E0912).
    """
    given = {name: np.asarray(array) for name, array in inputs.items()}
    check(ports, given, bounds, described)
    return {port.name: np.asarray(given[port.name], port.dtype.numpy, order="C") for port in ports}


def check(
    ports: Sequence[Port], given: Mapping[str, Array], bounds: Mapping[str, Symbol], described: Mapping[str, str]
) -> None:
    """Raises DiagnosticError as :func:`match` does; the elements of the arrays are not looked at."""
    found = list(_names(ports, given))
    sizes: dict[str, tuple[int, str]] = {}
    for port in ports:
        if port.name in given:
            holder = described.get(port.name, "the array")
            found += _array(port, given[port.name], holder)
            found += _symbols(port, given[port.name], sizes, bounds)
    if found:
        raise DiagnosticError(found)


def _names(ports: Sequence[Port], given: Mapping[str, Array]) -> Iterator[Diagnostic]:
    known = [port.name for port in ports]
    missing = [port for port in ports if port.name not in given]
    listed = "the model takes " + ", ".join(f"{port.name}: {port}" for port in ports)
    for name in given:
        if name not in known:
            near = did_you_mean(name, [port.name for port in missing])
            missing = [port for port in missing if port.name != near]
            help = f"did you mean `{near}`?" if near else "leave it out"
            yield error("E0910", f"the model has no input `{name}`", None, notes=listed, help=help)
    for port in missing:
        yield error(
            "E0910",
            f"input `{port.name}` is missing",
            None,
            notes=listed,
            help=f"give an array of type {port} for `{port.name}`",
        )


def _array(port: Port, array: Array, holder: str) -> Iterator[Diagnostic]:
    held = f"{DType.of(array.dtype) or array.dtype}[{', '.join(map(str, array.shape))}]"
    both = f"input `{port.name}` is {port}; {holder} holds {held}"
    variable = port.name if port.name.isidentifier() else "x"
    if not keeps_values(array.dtype.newbyteorder("="), port.dtype):
        if array.dtype.hasobject:
            help = "make one array of numbers of it: all rows need the same length"
        elif array.dtype.kind in "USV":
            help = "give numbers: words have to be numbered first, as the data was that the model learned from"
        elif array.dtype.kind == "f" and not port.dtype.is_float:
            help = f"give whole numbers: {variable}.astype({_numpy_text(port.dtype)}) cuts off what is behind the point"
        else:
            help = f"convert it: {variable}.astype({_numpy_text(port.dtype)})"
        yield error("E0911", f"{both}: the element types differ", None, help=help)
    if port.shape is None:
        return
    if len(port.shape) != array.ndim:
        count = f"{array.ndim} dimension{'' if array.ndim == 1 else 's'}"
        fault = f"{both}: it has {count}, not {len(port.shape)}"
        yield error("E0912", fault, None, help=_reshaping(port.shape, array.shape, variable))
        return
    wrong = [
        f"dimension {axis} is {actual}, not {size}"
        for axis, (size, actual) in enumerate(zip(port.shape, array.shape, strict=True))
        if isinstance(size, int) and size != actual
    ]
    if wrong:
        yield error("E0912", f"{both}: {', '.join(wrong)}", None, help=_reshaping(port.shape, array.shape, variable))


def _symbols(
    port: Port, array: Array, sizes: dict[str, tuple[int, str]], bounds: Mapping[str, Symbol]
) -> Iterator[Diagnostic]:
    if port.shape is None or len(port.shape) != array.ndim:
        return
    for axis, (symbol, size) in enumerate(zip(port.shape, array.shape, strict=True)):
        if not isinstance(symbol, str):
            continue
        before, where = sizes.setdefault(symbol, (size, f"dimension {axis} of `{port.name}`"))
        if before != size:
            yield error(
                "E0912",
                f"{symbol} is {before} in {where}, but {size} in dimension {axis} of `{port.name}`",
                None,
                notes=f"{symbol} stands for one size, the same wherever it appears",
                help=f"give arrays that agree on {symbol}",
            )
        elif symbol in bounds and not bounds[symbol].holds(size):
            nearest = bounds[symbol].nearest(size)
            advice = f"cut dimension {axis} to {nearest} or less"
            yield error(
                "E0912",
                f"{symbol} is {size} in dimension {axis} of `{port.name}`, but {bounds[symbol].bounds_text}",
                None,
                help=advice if size > nearest else f"fill dimension {axis} up to {nearest} or more",
            )


def _numpy_text(dtype: DType) -> str:
    return "bool" if dtype is DType.BOOL else f"np.{dtype.numpy.name}"


def _reshaping(wanted: tuple[int | str | None, ...], actual: tuple[int, ...], variable: str) -> str:
    """How to bring an array into shape: one batch axis to add, another order of its axes, one free size that the rest
    decides, or no idea."""
    sizes = [size if isinstance(size, int) else -1 for size in wanted]
    if sizes.count(-1) == 1:
        if len(actual) + 1 == len(sizes) and sizes[0] == -1 and tuple(sizes[1:]) == actual:
            return f"add the axis {wanted[0]}: {variable}[np.newaxis]"
        if len(actual) == len(sizes) and sizes[0] == -1 and (advice := for_order(variable, actual[1:], sizes[1:])):
            return advice
        fixed = prod(size for size in sizes if size != -1)
        if len(actual) == len(sizes) and actual[sizes.index(-1)] * fixed != prod(actual):
            return "give an array of that shape"  # another number of rows would mix them
        if prod(actual) and fixed and prod(actual) % fixed == 0:
            shape = ", ".join(map(str, sizes))
            return f"if the order of the elements is right, reshape it: {variable}.reshape({shape})"
    return "give an array of that shape"
