"""Inputs to try a program on: sizes for its symbols, and seeded random arrays of these sizes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice, product
from math import prod

import numpy as np

from compiler.ir.dims import Dim, Symbol, evaluate
from compiler.ir.graph import Graph, Value
from compiler.ir.types import DType
from compiler.ops.base import Array, Sizes

# Sizes of the first symbol, which is nearly always the batch, and of the others, the most telling first.
_FIRST = (1, 2, 7, 64)
_LARGER = (128, 256, 512, 1024, 2048, 4096)  # for a graph that takes none of the usual ones, such as a wide window
_OTHERS = (5, 1, 2, 16, 3, 8, 32, 64, 128, 224)
_MOST_TRIED = 1000  # combinations looked at before a graph is taken to allow no other
_MOST_BYTES = 2**32  # of all values of a graph together


def size_cases(graph: Graph) -> list[Sizes]:
    """Sizes for every symbol of ``graph``: each of 1, 2, 7 and 64 for the first one that fits its bound, its bound
    where that is less than 64, and changing sizes of the others. All dimensions in the graph are at least 1 then.

    A case that would take more than 4 GiB is left out unless it is the only one. Empty where no sizes suit the graph.
    """
    first, *others = graph.symbols or (None,)
    if first is None:
        return [{}]
    dims = {dim for value in graph.values() for dim in value.type.shape if not isinstance(dim, int)}
    cases: list[Sizes] = []
    larger = tuple(size for size in _LARGER if first.holds(size))
    for index, size in enumerate((*_bounded(_FIRST, first), *larger)):
        if size in larger and cases:
            break
        case = next(_fitting(first, size, others, index, dims), None)
        if case is not None and (not cases or _bytes(graph, case) <= _MOST_BYTES):
            cases.append(case)
    return cases


def _fitting(first: Symbol, size: int, others: Sequence[Symbol], turn: int, dims: Iterable[Dim]) -> Iterator[Sizes]:
    """Combinations with this size of the first symbol in which every dimension is a size; ``turn`` picks the order."""
    choices = []
    for symbol in others:
        usual = _bounded(_OTHERS, symbol)
        turned = turn % len(usual)
        choices.append(usual[turned:] + usual[:turned])
    for combination in islice(product(*choices), _MOST_TRIED):
        case = {first.name: size} | {s.name: n for s, n in zip(others, combination, strict=True)}
        if all(evaluate(dim, case) >= 1 for dim in dims):
            yield case


def _bounded(sizes: tuple[int, ...], symbol: Symbol) -> tuple[int, ...]:
    """Those of ``sizes`` that the symbol may have, and its bounds, unless the upper one is larger than all of them."""
    ends = {symbol.lower, symbol.lower if symbol.upper is None or symbol.upper > max(sizes) else symbol.upper}
    kept = tuple(size for size in sizes if symbol.holds(size))
    return kept + tuple(sorted(end for end in ends if end not in kept))


def _bytes(graph: Graph, sizes: Sizes) -> int:
    return sum(
        value.type.dtype.bytes * prod(evaluate(dim, sizes) for dim in value.type.shape) for value in graph.values()
    )


def random_inputs(
    values: Iterable[Value], sizes: Sizes, ranges: Mapping[str, int], generator: np.random.Generator, unit: bool
) -> dict[str, Array]:
    """An array for each value. Floats are standard normal, or uniform from 0 to 1 with ``unit``; u8 and i8
    take all of their values; other integers lie below ``ranges[name]``, or are 0 and 1, which any index allows."""
    return {
        value.name: random_array(
            value.type.dtype,
            tuple(evaluate(dim, sizes) for dim in value.type.shape),
            ranges.get(value.name),
            generator,
            unit,
        )
        for value in values
    }


def random_array(
    dtype: DType, shape: tuple[int, ...], size: int | None, generator: np.random.Generator, unit: bool
) -> Array:
    """One array, as :func:`random_inputs` has them; ``size`` is that of what its elements index, where it is known."""
    if dtype.is_float:
        drawn = generator.random(shape) if unit else generator.standard_normal(shape)
        return np.asarray(drawn, dtype.numpy)
    low, high = 0, 2
    if size is not None:
        high = size
    elif dtype in (DType.U8, DType.I8):
        limits = np.iinfo(dtype.numpy)
        low, high = int(limits.min), int(limits.max) + 1
    return np.asarray(generator.integers(low, high, shape), dtype.numpy)
