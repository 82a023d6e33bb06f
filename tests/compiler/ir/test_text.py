from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from compiler.diagnostics.source import Source
from compiler.ir.builder import Builder
from compiler.ir.dims import Dim, symbol
from compiler.ir.graph import Graph, Operation, Origin, Role
from compiler.ir.text import GraphTextError, parse_graph, to_text
from compiler.ir.types import DType, TensorType, TypeMismatch
from compiler.ir.verify import verify

thorough = settings(max_examples=200)
N, T = symbol("N"), symbol("T", 64)
ROW = TensorType(DType.F32, (N, 4))


class Mode(Enum):
    WRAP = "wrap"
    FILL = "fill"


@dataclass(frozen=True)
class Join(Operation):
    opcode = "join"

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        a, b = inputs
        if a.dtype != b.dtype:
            raise TypeMismatch("E0303", f"cannot join {a} and {b}")
        return (a,)


@dataclass(frozen=True)
class Split(Operation):
    opcode = "split"
    parts: int = 2

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        return inputs * self.parts


@dataclass(frozen=True)
class Leaky(Operation):
    opcode = "leaky"
    slope: float = 0.01

    def __post_init__(self) -> None:
        if self.slope > 1:
            raise ValueError("the slope is above 1")

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        return inputs


@dataclass(frozen=True)
class Step:
    operation: Operation
    operands: tuple[int, ...]


@dataclass(frozen=True)
class Chain(Operation):
    opcode = "chain"
    steps: tuple[Step, ...]

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        return inputs[:1]


@dataclass(frozen=True)
class Anything(Operation):
    """Anything that an attribute can be."""

    opcode = "any"
    value: Any = 0
    shape: tuple[Dim, ...] = ()
    mode: Mode = Mode.WRAP
    names: tuple[str, ...] = field(default_factory=tuple)

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        return inputs


OPERATIONS: Mapping[str, type[Operation]] = {c.opcode: c for c in (Join, Split, Leaky, Chain, Anything)}


def sample() -> Graph:
    source = Source("digits.dl", "model D(x) {\n    relu\n}\n")
    builder = Builder("digits.step")
    x = builder.input("image", ROW)
    w = builder.input("D.head.weight", ROW, Role.WEIGHT)
    tokens = builder.input("tokens", TensorType(DType.I64, (N, T)), Role.STATE)
    with builder.at(Origin((source.span(17, 21),), "D.head", ("simplify", "fuse"))):
        y = builder.add(Join(), x, w)
    with builder.at(Origin(scope="D")):
        z = builder.add(Leaky(0.5), y)
    left, right = builder.add_node(Split(), (z,), ("left", "weird name\n"))
    chained = builder.add(Chain((Step(Join(), (0, 1)), Step(Leaky(-0.25), (2,)))), left, right)
    shaped = builder.add(Anything(shape=(N, 4, (T + 1) // 2)), tokens)
    builder.output("logits", chained)
    builder.output("D.head.weight", right, updates="D.head.weight")
    builder.output("gradient:D.head.weight", left)
    builder.output("next", shaped, updates="tokens")
    return builder.finish()


SAMPLE = r"""
graph digits.step where T <= 64 {
    data %image: f32[N, 4]
    weight %D.head.weight: f32[N, 4]
    state %tokens: i64[N, T]

    %t0: f32[N, 4] = join(%image, %D.head.weight)                         # digits.dl:2:5 D.head via simplify, fuse
    %t1: f32[N, 4] = leaky(%t0) {slope=0.5}                               # D
    %left: f32[N, 4], %"weird name\n": f32[N, 4] = split(%t1)
    %t2: f32[N, 4] = chain(%left, %"weird name\n") {steps=[[@join, [0, 1]], [@leaky{slope=-0.25}, [2]]]}
    %t3: i64[N, T] = any(%tokens) {shape=[N, 4, (T + 1)//2]}

    return logits=%t2
    update %D.head.weight=%"weird name\n"
    return gradient:D.head.weight=%left
    update %tokens=%t3 as next
}
""".removeprefix("\n")


def without_comments(text: str) -> str:
    return "".join(line.split("  #")[0].rstrip() + "\n" for line in text.splitlines())


def test_text_of_a_graph() -> None:
    assert to_text(sample()) == SAMPLE


def test_round_trip() -> None:
    graph = parse_graph(SAMPLE, OPERATIONS)
    verify(graph)
    assert to_text(graph) == without_comments(SAMPLE)
    before = sample()
    assert [node.operation for node in graph.nodes] == [node.operation for node in before.nodes]
    assert [str(v) for v in graph.values()] == [str(v) for v in before.values()]
    assert [v.type for v in graph.values()] == [v.type for v in before.values()]
    assert [(o.name, o.value.name, o.updates) for o in graph.outputs] == [
        (o.name, o.value.name, o.updates) for o in before.outputs
    ]
    assert graph.symbols == before.symbols


def test_line_ends_and_comments_mean_nothing() -> None:
    graph = parse_graph("graph g{data%x:f32[N]%y:f32[N]=leaky(%x){slope=0.5}# } \nreturn a=%x,b=%y}", OPERATIONS)
    assert to_text(graph) == (
        "graph g {\n    data %x: f32[N]\n\n    %y: f32[N] = leaky(%x) {slope=0.5}\n\n"
        "    return a=%x\n    return b=%y\n}\n"
    )


@pytest.mark.parametrize("name", ["graph", "data", "where", "return", "f32", "true", "inf", "N", "as"])
def test_words_of_the_form_are_names_too(name: str) -> None:
    builder = Builder(name)
    builder.output(name, builder.add(Leaky(), builder.input(name, ROW)), updates=None)
    text = to_text(builder.finish())
    assert '"' not in text
    assert to_text(parse_graph(text, OPERATIONS)) == text


def test_an_empty_graph() -> None:
    text = to_text(Builder("empty").finish())
    assert text == "graph empty {\n}\n"
    assert to_text(parse_graph(text, OPERATIONS)) == text


def read_back(operation: Operation) -> Operation:
    """The operation after a journey through text, which has to be printed the same again."""
    builder = Builder("g")
    builder.add(operation, builder.input("x", TensorType(DType.F32, (N, T))))
    text = to_text(builder.finish())
    graph = parse_graph(text, OPERATIONS)
    assert to_text(graph) == text
    return graph.nodes[0].operation


dimensions = st.builds(
    lambda a, b, c, d: (a * N + b * N * T - c) // d + c, st.integers(-3, 3), *[st.integers(1, 5)] * 3
)
attributes = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), dimensions,
        st.sampled_from(DType), st.just(TensorType(DType.F16, (N, 3))), st.builds(Leaky, st.floats(-1, 1)),
    ),
    lambda inner: st.lists(inner, max_size=3).map(tuple),
    max_leaves=5,
)  # fmt: skip


@thorough
@given(attributes, st.lists(st.one_of(st.integers(0, 9), dimensions), max_size=3), st.sampled_from(Mode))
def test_attributes_round_trip(value: Any, shape: list[Dim], mode: Mode) -> None:
    operation = Anything(value, tuple(shape), mode, ("a", "b")[: len(shape)])
    again = read_back(operation)
    assert again == operation
    assert repr(again) == repr(operation)  # tells 1 from 1.0, True and -0.0


def test_not_a_number_round_trips() -> None:
    again = read_back(Anything(float("nan")))
    assert isinstance(again, Anything)
    assert np.isnan(again.value)


NATIVE = [dtype for dtype in DType if dtype is not DType.BF16]


@thorough
@given(st.sampled_from(NATIVE).flatmap(lambda d: arrays.arrays(d.numpy, arrays.array_shapes(min_dims=0, min_side=0))))
def test_arrays_round_trip_exactly(array: npt.NDArray[Any]) -> None:
    again = read_back(Anything(array))
    assert isinstance(again, Anything)
    assert again.value.dtype == array.dtype
    assert again.value.shape == array.shape
    np.testing.assert_array_equal(again.value, array)
    np.testing.assert_array_equal(np.signbit(again.value[array == 0]), np.signbit(array[array == 0]))


def test_every_bf16_round_trips() -> None:
    every = np.arange(2**16, dtype=np.uint16).view(DType.BF16.numpy)
    again = read_back(Anything(every))
    assert isinstance(again, Anything)
    np.testing.assert_array_equal(again.value.astype(np.float32), every.astype(np.float32))


def test_floats_are_printed_in_few_digits() -> None:
    text = to_text(_with(Anything(np.array([0.1, 1 / 3, 1e-8, 3.0], np.float32))))
    assert "f32[4](0.1, 0.33333334, 1e-08, 3.0)" in text


def _with(operation: Operation) -> Graph:
    builder = Builder("g")
    builder.add(operation, builder.input("x", ROW))
    return builder.finish()


def test_long_arrays_are_elided_for_people() -> None:
    graph = _with(Anything((np.zeros((3, 3), np.float32), np.arange(8))))
    assert "value=[f32[3, 3](…), i64[8](0, 1, 2, 3, 4, 5, 6, 7)]" in to_text(graph, full=False)
    assert "…" not in to_text(graph)
    with pytest.raises(GraphTextError):
        parse_graph(to_text(graph, full=False), OPERATIONS)


def test_defaults_are_left_out() -> None:
    def shown(operation: Operation) -> str:
        return next(line.partition("any(%x)")[2] for line in to_text(_with(operation)).splitlines() if "any" in line)

    assert shown(Anything()) == ""
    assert shown(Anything(0)) == ""
    assert shown(Anything(0.0)) == " {value=0.0}"
    assert shown(Anything(False)) == " {value=false}"
    assert shown(Anything(names=())) == ""
    assert shown(Anything(mode=Mode.FILL)) == ' {mode="fill"}'


def test_what_can_not_be_printed() -> None:
    with pytest.raises(TypeError, match="can't be of type set"):
        to_text(_with(Anything({1})))
    with pytest.raises(TypeError, match="array of complex128"):
        to_text(_with(Anything(np.zeros(2, complex))))


INPUTS = "graph g where T <= 64 {\n  data %x: f32[N, T]\n  weight %w: f32[N, T]\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1:1: the text ends; expected 'graph'"),
        ("graph", "1:6: the text ends; expected a name or a quoted string"),
        ("graph g {\n  data x: f32[]\n}", "2:8: unexpected 'x'; expected a value such as %x"),
        ("graph g {\n  data %x: f33[]\n}", "2:12: unexpected 'f33'; expected an element type such as f32"),
        ("graph g {\n  data %x: f32[N}\n", "2:17: unexpected '}'; expected '+' or ',' or '-' or ']'"),
        ("graph g {\n  return y=%x\n}", "2:12: %x is not made before"),
        ("graph g {\n  ~\n}", "2:3: unexpected '~'; expected 'return' or 'update' or '}' or a value such as %x"),
        (INPUTS + "  data %x: f32[]\n}", "4:8: %x is made twice"),
        (INPUTS + "  %y: f32[N, T] = swap(%x)\n}", "4:19: there is no operation swap"),
        (INPUTS + "  %y: f32[N, T] = leaky(%z)\n}", "4:25: %z is not made before"),
        (INPUTS + "  %x: f32[N, T] = leaky(%x)\n}", "4:3: %x is made twice"),
        (INPUTS + "  %y: f32[T, N] = leaky(%x)\n}", "4:3: %y is written as f32[T, N] but leaky gives f32[N, T]"),
        (INPUTS + "  %y: f32[N, T] = join(%x)\n}", "4:19: join does not fit its operands or results: not enough"),
        (INPUTS + "  %y: f32[N, T] = split(%x)\n}", "4:19: split does not fit its operands or results"),
        (INPUTS + "  %y: f32[N, T], %y: f32[N, T] = split(%x)\n}", "4:18: %y is made twice"),
        (INPUTS + "  %y: f32[N, T] = leaky(%x) {slop=1.0}\n}", "4:30: leaky has no attribute slop"),
        (INPUTS + "  %y: f32[N, T] = leaky(%x) {slope=0.0, slope=0.1}\n}", "4:41: attribute slope is given twice"),
        (INPUTS + "  %y: f32[N, T] = leaky(%x) {slope=2.0}\n}", "4:19: leaky can't be made: the slope is above 1"),
        (INPUTS + "  %y: f32[N, T] = chain(%x)\n}", "4:19: chain can't be made: "),
        (INPUTS + "  %y: f32[N, T] = chain(%x) {steps=[[@swap, []]]}\n}", "4:39: there is no operation swap"),
        (INPUTS + "  %y: f32[N, T] = chain(%x) {steps=[[@join]]}\n}", "4:30: attribute steps"),
        (INPUTS + '  %y: f32[N, T] = any(%x) {mode="loop"}\n}', "4:28: attribute mode: 'loop' is not a valid Mode"),
        (INPUTS + "  %y: f32[N, T] = any(%x) {value=N//0}\n}", "4:34: division by zero"),
        (INPUTS + '  %y: f32[N, T] = any(%x) {value="\\q"}\n}', "4:34: not a string: "),
        (INPUTS + "  %y: f32[N, T] = any(%x) {value=f32[2](1.0)}\n}", "4:40: 1 numbers do not fill f32[2]"),
        (INPUTS + "  %y: f32[N, T] = any(%x) {value=f32[N](1.0)}\n}", "4:40: 1 numbers do not fill f32[N]"),
        (INPUTS + "  %y: f32[N, T] = any(%x) {value=u8[1](256)}\n}", "4:39: not the numbers of u8[1]: "),
        (INPUTS + "  return y=%x, y=%w\n}", "4:16: graph g has an output y already"),
        (INPUTS + "  update %v=%x\n}", "4:10: %v is not made before"),
        (INPUTS + "} graph", "4:3: unexpected 'graph'; expected the end"),
    ],
)  # fmt: skip
def test_mistakes_are_placed(text: str, message: str) -> None:
    with pytest.raises(GraphTextError) as caught:
        parse_graph(text, OPERATIONS)
    assert str(caught.value).startswith(message)
    line, column, _ = str(caught.value).split(":", 2)
    assert (caught.value.line, caught.value.column) == (int(line), int(column))


def test_work_is_linear(work) -> None:
    """Ten times the nodes are ten times the work."""

    def calls(length: int) -> int:
        builder = Builder("long")
        value = builder.input("x", TensorType(DType.F32, (N, T)))
        for index in range(length):
            value = builder.add(Leaky(1 / (index + 1)), value)
        graph = builder.finish()
        return work(lambda: to_text(parse_graph(to_text(graph), OPERATIONS)))

    calls(10)
    assert calls(1000) < 12 * calls(100)
