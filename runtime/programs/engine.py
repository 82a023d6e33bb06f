"""Running a generated NumPy module: one binding for each combination of sizes, BLAS on one thread for each part."""

from __future__ import annotations

import linecache
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from typing import Any, TypeAlias

import numpy as np

from compiler.collection import uncollected
from compiler.diagnostics import Diagnostic, DiagnosticError, error
from runtime.disk.tensors import Array
from runtime.programs import helpers, threads, visible
from runtime.programs.blas import single_threaded_blas
from runtime.programs.forked import HelperGone

_Function: TypeAlias = Callable[..., dict[str, Array]]

# How many bindings of a function a thread keeps: training needs a full batch and the last one of an epoch.
BINDINGS = 8

_numbers = count(1)


class InputError(ValueError):
    """Arrays that a function can't take; the message says which and what it needs."""


class Engine:
    """The functions of a generated module, working on the arrays of ``kept``.

    Several threads may call at once: each has bindings of its own, so that none overwrites the results of another,
    and functions with updates run one after the other. What a function reads while another thread updates it is up
    to the caller. A binding's memory is given back when its thread ends, or when ``BINDINGS`` other
    combinations of sizes have been used since.
    """

    def __init__(self, text: str, kept: Mapping[str, Array], name: str = "network") -> None:
        """``text`` is executed as it is: it has to come from ``compiler.targets.numpy``."""
        self.kept = dict(kept)
        self._module = _execute(text, name, self)
        self._signatures: dict[str, dict[str, Any]] = self._module["SIGNATURES"]
        self._arguments = {key: tuple(signature["inputs"]) for key, signature in self._signatures.items()}
        self._bindings = _Bindings()
        self._updating = threading.Lock()
        self._sharing: Mapping[str, Callable[..., Any]] = {"share": threads.share}
        self._process: int | None = None
        if helpers.can_help() and visible.is_visible(self.kept.values()):
            self._sharing = {"share": helpers.share, "memory": visible.memory}
            self._process = visible.process

    @property
    def functions(self) -> tuple[str, ...]:
        """The names that :meth:`call` takes."""
        return tuple(self._signatures)

    @property
    def neighbours(self) -> Iterable[Sequence[str]]:
        """The names of arrays that had best lie one behind the other where they are kept, as they are updated in one
        go then; the numbers are the same wherever they lie."""
        for signature in self._signatures.values():
            yield from signature.get("neighbours", ())

    def call(self, name: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run the function ``name`` on the arrays that it takes out of ``inputs``, by name.

        The results are the function's own: its next call in this thread overwrites them, so that only a copy of one
        can be an argument again. Floating-point warnings are silenced, as the numbers show what they tell. Raises
        InputError for an array of a wrong type or shape, ValueError for a size out of its symbol's range, KeyError
        where an array is missing or there is no such function, DiagnosticError E0611 for an index out of range, E0820
        where a process is gone that shared the work, E0821 in a process that was forked since the engine was made, if
        both would work on the same memory.
        """
        if self._process is not None and self._process != visible.process:
            raise visible.elsewhere()
        arrays = [inputs[argument] for argument in self._arguments[name]]
        key = (name, *[(array.shape, array.dtype) for array in arrays])
        bound = self._bindings.get(key) or self._bind(name, arrays, key)
        for index, array in enumerate(arrays):
            if not array.flags.c_contiguous:
                arrays[index] = np.ascontiguousarray(array)
        try:
            with single_threaded_blas():
                return bound(*arrays)
        except IndexError as failure:
            raise DiagnosticError([_out_of_range(failure)]) from None
        except HelperGone as failure:
            advice = (
                "set the environment variable DLC_THREADS to 1 to do without, and see whether memory is short",
                "a run that has a folder goes on from its last checkpoint with --resume",
            )
            raise DiagnosticError([error("E0820", str(failure), None, help=advice)]) from None

    def bind(self, name: str, inputs: Mapping[str, Array]) -> None:
        """Make the function ``name`` ready for inputs of these shapes without running it.

        Raises as :meth:`call` does; a ValueError also tells which layer can't take these sizes.
        """
        arrays = [inputs[argument] for argument in self._arguments[name]]
        key = (name, *[(array.shape, array.dtype) for array in arrays])
        if self._bindings.get(key) is None:
            self._bind(name, arrays, key)

    def _bind(self, name: str, arrays: Sequence[Array], key: tuple[object, ...]) -> _Function:
        signature = self._signatures[name]
        sizes = _sizes(name, signature, arrays)
        how = self._sharing if "in_parts" in signature else {}
        function: _Function = self._module[signature["bind"]](self.kept, **sizes, **how)
        bound: _Function = np.errstate(all="ignore")(function)
        if signature["updates"]:
            bound = _one_at_a_time(bound, self._updating)
        self._bindings.put(key, bound)
        return bound


class _Bindings(threading.local):
    """The bound functions of each thread, by function, shapes and types; those used last are kept."""

    def __init__(self) -> None:
        self._found: OrderedDict[tuple[object, ...], _Function] = OrderedDict()

    def get(self, key: tuple[object, ...]) -> _Function | None:
        bound = self._found.get(key)
        if bound is not None:
            self._found.move_to_end(key)
        return bound

    def put(self, key: tuple[object, ...], bound: _Function) -> None:
        self._found[key] = bound
        same = [other for other in self._found if other[0] == key[0]]
        if len(same) > BINDINGS:
            del self._found[same[0]]


def _out_of_range(failure: IndexError) -> Diagnostic:
    advice = "look at what it is computed from: indices count from 0"
    return error("E0611", str(failure), None, help=advice)


def _one_at_a_time(function: _Function, lock: threading.Lock) -> _Function:
    def guarded(*arrays: Array) -> dict[str, Array]:
        with lock:
            return function(*arrays)

    return guarded


def _execute(text: str, name: str, owner: object) -> dict[str, Any]:
    """The names of the executed module; tracebacks show its lines for as long as ``owner`` lives."""
    filename = f"<{name} {next(_numbers)}>"
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    weakref.finalize(owner, linecache.cache.pop, filename, None)
    module: dict[str, Any] = {"__name__": name, "__file__": filename}
    with uncollected():
        exec(compile(text, filename, "exec"), module)
    return module


# Arguments


def _sizes(name: str, signature: Mapping[str, Any], arrays: Sequence[Array]) -> dict[str, int]:
    """The size of each symbol, read off the shapes. Raises InputError where they do not fit the signature."""
    sizes: dict[str, int] = {}
    inputs: dict[str, tuple[str, tuple[int | str, ...]]] = signature["inputs"]
    for (argument, (dtype, shape)), array in zip(inputs.items(), arrays, strict=True):
        if array.dtype.name != dtype or not array.dtype.isnative or array.ndim != len(shape):
            raise _mismatch(name, argument, dtype, shape, array, {})
        for dim, size in zip(shape, array.shape, strict=True):
            if dim in signature["sizes"]:
                sizes.setdefault(str(dim), size)
    for size in signature["sizes"]:
        if size not in sizes:
            raise InputError(f"no argument of {name} tells how large {size} is")
    for (argument, (dtype, shape)), array in zip(inputs.items(), arrays, strict=True):
        # Dimensions such as 2*N are texts of the module, as is the code that runs.
        if array.shape != tuple(eval(str(dim), {}, dict(sizes)) for dim in shape):
            raise _mismatch(name, argument, dtype, shape, array, sizes)
    return sizes


def _mismatch(
    name: str, argument: str, dtype: str, shape: Sequence[int | str], array: Array, sizes: Mapping[str, int]
) -> InputError:
    where = f" where {', '.join(f'{size} = {number}' for size, number in sizes.items())}" if sizes else ""
    return InputError(
        f"{name} takes {argument} as {dtype}[{', '.join(map(str, shape))}]{where}, "
        f"not {array.dtype}[{', '.join(map(str, array.shape))}]"
    )
