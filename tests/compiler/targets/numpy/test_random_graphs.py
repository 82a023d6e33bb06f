"""Random graphs of integers, in which every result is exact, beside the reference interpreter.

Mostly they test sharing of memory: views, results in place, updates that read each other, results that are inputs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compiler.ir.dims import symbol
from compiler.ir.graph import Graph, Role, Value
from compiler.ir.types import DType, TensorType, TypeMismatch
from compiler.ir.verify import verify
from compiler.ops import Emit

N = symbol("N")
I64 = DType.I64
SHAPES = ((N, 4), (4,), (N, 2, 2), (4, 4), (), (1, 4))
KEPT = {"a": (4, 4), "b": (4, 4), "c": (4,), "d": ()}

Pick = Callable[[int], int]


def unary(b: Emit, x: Value, pick: Pick) -> Value:
    return (b.neg, b.abs, b.sign, b.relu, b.square, lambda v: b.leaky_relu(v, 0.0))[pick(5)](x)


def binary(b: Emit, x: Value, y: Value, pick: Pick) -> Value:
    return (b.add, b.sub, b.mul, b.maximum, b.minimum)[pick(5)](x, y)


def view(b: Emit, x: Value, pick: Pick) -> Value:
    rank = x.type.rank
    match pick(5):
        case 0:
            return b.transpose(x, tuple(reversed(range(rank))))
        case 1:
            return b.reshape(x, SHAPES[pick(len(SHAPES))])
        case 2:
            return b.reshape(x, (x.type.size,))
        case 3:
            return b.slice(x, (0,) * rank, x.type.shape, (-1,) * rank if pick(2) else (1,) * rank)
        case _:
            return b.expand(x, SHAPES[pick(len(SHAPES))])


def other(b: Emit, x: Value, y: Value, pick: Pick) -> Value:
    match pick(5):
        case 0:
            return b.sum(x, (pick(max(1, x.type.rank)),), keepdims=bool(pick(2)))
        case 1:
            return b.select(b.less(x, y), x, y)
        case 2:
            return b.concat([x, y], pick(max(1, x.type.rank)))
        case 3:
            return b.gather(x, b.mod(y, b.scalar(1, I64)), 0)
        case _:
            return b.add(x, b.constant(np.arange(4) - 1))


def build(numbers: list[int]) -> Graph:
    """The graph that these choices lead to; steps whose operands do not fit are left out."""
    position = 0

    def pick(count: int) -> int:
        nonlocal position
        position += 1
        return numbers[position % len(numbers)] % count

    b = Emit("g")
    pool = [b.input(f"x{i}", TensorType(I64, shape)) for i, shape in enumerate(SHAPES[:3])]
    pool += [b.input(name, TensorType(I64, shape), Role.STATE) for name, shape in KEPT.items()]
    for _ in range(5 + pick(12)):
        # Late values are read more often, so that chains form.
        x, y = (pool[-1 - pick(min(len(pool), 4 + 6 * pick(2)))] for _ in range(2))
        try:
            kind = pick(6)
            made = (
                unary(b, x, pick) if kind == 0 else binary(b, x, y, pick) if kind < 3
                else view(b, x, pick) if kind < 5 else other(b, x, y, pick)
            )  # fmt: skip
        except (TypeMismatch, ValueError, ZeroDivisionError):
            continue
        pool.append(made)
    for name, shape in KEPT.items():
        fitting = [value for value in pool if value.type == TensorType(I64, shape)]
        if pick(4):
            b.output(name, fitting[-1 - pick(min(len(fitting), 4))], updates=name)
    for index in range(1 + pick(3)):
        b.output(f"y{index}", pool[-1 - pick(len(pool))])
    return b.finish()


@settings(max_examples=400, suppress_health_check=list(HealthCheck))
@given(st.lists(st.integers(0, 10**6), min_size=60, max_size=60))
def test_program_equals_reference_at_each_call_and_size(pair, numbers: list[int]) -> None:
    graph = build(numbers)
    verify(graph)
    random = np.random.default_rng(numbers[0])

    def arrays(shapes: list[tuple[object, ...]], size: int) -> list[np.ndarray]:
        return [np.asarray(random.integers(-3, 4, [size if d is N else d for d in shape])) for shape in shapes]

    program = pair(graph, dict(zip(KEPT, arrays(list(KEPT.values()), 1), strict=True)))
    for size in (3, 3, 5, 1, 3):
        data = dict(zip(("x0", "x1", "x2"), arrays(list(SHAPES[:3]), size), strict=True))
        before = {name: array.copy() for name, array in data.items()}
        program.step(data)
        for name, array in before.items():
            np.testing.assert_array_equal(data[name], array, "an argument was written")
