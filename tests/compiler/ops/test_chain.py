"""Groups of elementwise operations: random ones against the reference, their buffers, and the loop over parts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import compiler.ops.chain as chain
from compiler.ir.dims import symbol
from compiler.ir.graph import Graph
from compiler.ir.tolerance import excess, tolerance
from compiler.ir.types import DType, TensorType, TypeMismatch
from compiler.ops import ElementwiseChain, Emit, Op, Step, has_facet
from compiler.ops.activation import LeakyRelu, Relu, Sigmoid, Silu, Tanh
from compiler.ops.base import Array
from compiler.ops.choose import Mask, Select
from compiler.ops.compare import Greater, LessEqual, LogicalNot, LogicalOr
from compiler.ops.elementwise import Add, Maximum, Minimum, Multiply, Subtract
from compiler.ops.interpret import interpret_outputs
from compiler.ops.unary import Absolute, Negative, Square
from compiler.targets.numpy import generate

F64 = DType.F64
# Only such as are rounded the same way in any program, so that comparisons of their results come out the same.
FLOATS: list[tuple[Op, int]] = [
    *((operation, 1) for operation in (Negative(), Square(), Absolute(), Relu(), LeakyRelu(0.5))),
    *((operation, 2) for operation in (Add(), Subtract(), Multiply(), Maximum(), Minimum())),
]
SHAPES = ((4, 6), (6,), (4, 1), ())


@st.composite
def groups(draw: st.DrawFn) -> tuple[ElementwiseChain, tuple[TensorType, ...]]:
    """Steps that use every operand and every earlier step, on floats and truth values of several shapes."""
    shapes = draw(st.lists(st.sampled_from(SHAPES), min_size=1, max_size=3))
    kinds = [F64] * len(shapes)
    steps: list[Step] = []

    def pick(kind: DType) -> int:
        return draw(st.sampled_from([index for index, other in enumerate(kinds) if other is kind]))

    for _ in range(draw(st.integers(1, 7))):
        truths = DType.BOOL in kinds
        form = draw(
            st.sampled_from(["float", "float", "compare", "choose", "logic"] if truths else ["float", "compare"])
        )
        if form == "float":
            operation, count = draw(st.sampled_from(FLOATS))
            step = Step(operation, tuple(pick(F64) for _ in range(count)))
        elif form == "compare":
            step = Step(draw(st.sampled_from([Greater(), LessEqual()])), (pick(F64), pick(F64)))
        elif form == "logic":
            unary = draw(st.booleans())
            step = Step(LogicalNot() if unary else LogicalOr(), tuple(pick(DType.BOOL) for _ in range(2 - unary)))
        elif draw(st.booleans()):
            step = Step(Select(), (pick(DType.BOOL), pick(F64), pick(F64)))
        else:
            step = Step(Mask(), (pick(F64), pick(DType.BOOL)))
        steps.append(step)
        kinds.append(DType.BOOL if form in ("compare", "logic") else F64)
    return finished(steps, kinds, [TensorType(F64, shape) for shape in shapes])


def finished(steps: list[Step], kinds: list[DType], types: list[TensorType]) -> Any:
    """The group, with what is left unread added up by further steps."""
    read = {value for step in steps for value in step.operands}
    total = len(kinds) - 1
    for value in range(len(kinds) - 1):
        if value not in read:
            by = Add() if kinds[value] is kinds[total] is F64 else None
            by = by or (LogicalOr() if kinds[value] is kinds[total] else Mask())
            pair = (value, total) if kinds[value] is F64 else (total, value)
            steps.append(Step(by, pair))
            kinds.append(F64 if F64 in (kinds[value], kinds[total]) else DType.BOOL)
            total = len(kinds) - 1
    return ElementwiseChain(tuple(steps)), tuple(types)


def one_node(operation: Op, types: tuple[TensorType, ...], owned: bool) -> Graph:
    b = Emit("step")
    values = [b.input(f"x{index}", type) for index, type in enumerate(types)]
    if owned:
        values = [b.maximum(value, value) for value in values]
    b.output("y", b.add(operation, *values))
    return b.finish()


def check(operation: Op, types: tuple[TensorType, ...], owned: bool) -> str:
    """Run the program and the reference; gives the program's text."""
    graph = one_node(operation, types, owned)
    random = np.random.default_rng(0)
    arrays = [np.asarray(random.normal(size=type.shape)) for type in types]  # type: ignore[arg-type]
    text = generate([graph])
    module: dict[str, Any] = {"__name__": "generated"}
    exec(compile(text, "generated.py", "exec"), module)
    found: Array = module["bind_step"]({})(*(array.copy() for array in arrays))["y"]
    expected = interpret_outputs(graph, {f"x{index}": array for index, array in enumerate(arrays)})["y"]
    assert excess(found, expected, tolerance(F64)) <= 1, text
    return text


@given(groups(), st.booleans())
@settings(max_examples=150)
def test_random_groups(group: tuple[ElementwiseChain, tuple[TensorType, ...]], owned: bool) -> None:
    check(*group, owned)


@given(groups(), st.booleans())
@settings(max_examples=150)
def test_random_groups_in_parts(group: tuple[ElementwiseChain, tuple[TensorType, ...]], owned: bool) -> None:
    operation, types = group
    flat = tuple(type if type.shape == () else type.with_shape((4, 6)) for type in types)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chain, "LARGE", 8)
        patch.setattr(chain, "BLOCK", 7)
        text = check(operation, flat, owned)
    assert ("for start" in text) == (operation.infer(flat)[0].shape != ())


def test_scalars_are_there_during_the_whole_loop() -> None:
    """They are computed before the loop, also where their step stands behind one that reads an earlier scalar."""
    steps = (
        Step(Negative(), (1,)),
        Step(Add(), (0, 2)),
        Step(Square(), (2,)),
        Step(Multiply(), (3, 4)),
    )
    text = check(ElementwiseChain(steps), (TensorType(F64, (LARGE_ROWS, 250)), TensorType(F64)), owned=False)
    assert text.index("np.square") < text.index("for start") < text.index("np.add")


def buffers(text: str) -> int:
    return text.count("= _array(")


X = TensorType(F64, (4, 6))
LARGE_ROWS = chain.LARGE // 250 + 1


def test_steps_in_place_take_no_other_buffer() -> None:
    steps = (Step(Square(), (0,)), Step(Add(), (2, 1)), Step(Tanh(), (3,)), Step(Multiply(), (4, 0)))
    assert buffers(check(ElementwiseChain(steps), (X, X), owned=False)) == 1


def test_a_buffer_is_used_again() -> None:
    """Each of the two branches lives while the other is made: one buffer beside the result's."""
    steps = (
        Step(Tanh(), (0,)),
        Step(Square(), (0,)),
        Step(Add(), (1, 2)),
        Step(Sigmoid(), (0,)),
        Step(Multiply(), (3, 4)),
    )
    assert buffers(check(ElementwiseChain(steps), (X,), owned=False)) == 2


def test_the_result_takes_over_an_operand_only_where_that_is_safe() -> None:
    assert ElementwiseChain((Step(Add(), (0, 1)), Step(Relu(), (2,)))).inplace == (0, 1)
    assert ElementwiseChain((Step(Tanh(), (0,)), Step(Silu(), (1,)), Step(Multiply(), (2, 0)))).inplace == (0,)
    # The last step reads x a second time after it began to write.
    assert ElementwiseChain((Step(Silu(), (0,)),)).inplace == ()


def test_small_arrays_and_broadcast_ones_are_not_taken_in_parts() -> None:
    steps = (Step(Add(), (0, 1)), Step(Tanh(), (2,)))
    large, row = TensorType(F64, (LARGE_ROWS, 250)), TensorType(F64, (250,))
    assert "for start" in check(ElementwiseChain(steps), (large, large), owned=False)
    assert "for start" not in check(ElementwiseChain(steps), (large, row), owned=False)
    assert "for start" not in check(ElementwiseChain(steps), (X, X), owned=False)
    symbolic = TensorType(F64, (symbol("N"), 250))
    assert "for start" not in generate([one_node(ElementwiseChain(steps), (symbolic, symbolic), False)])


def test_an_unread_step_is_refused() -> None:
    with pytest.raises(ValueError, match="every step of a group but the last"):
        ElementwiseChain((Step(Tanh(), (0,)), Step(Square(), (0,)), Step(Add(), (2, 0))))


def test_types_are_those_of_the_expansion() -> None:
    group = ElementwiseChain((Step(Add(), (0, 1)), Step(Greater(), (2, 0))))
    n = symbol("N")
    assert group.infer((TensorType(F64, (n, 3)), TensorType(F64, (3,)))) == (TensorType(DType.BOOL, (n, 3)),)
    with pytest.raises(TypeMismatch, match="cannot add"):
        group.infer((TensorType(F64, (4,)), TensorType(F64, (3,))))
    assert not has_facet(group, "gradient")
    assert not has_facet(group, "onnx")
