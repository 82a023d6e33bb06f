"""Every facet of every operation, from its samples.

Types are inferred as they come out, gradients are those of central differences, the NumPy program and ONNX Runtime
compute what the reference does, and the text form is read back: in f32, and with f64 in its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from compiler.diagnostics import DiagnosticError
from compiler.ir.dims import evaluate
from compiler.ir.graph import Graph, Value
from compiler.ir.text import parse_graph, to_text
from compiler.ir.tolerance import GRADIENT, excess, tolerance
from compiler.ir.types import DType, TensorType
from compiler.ir.verify import verify
from compiler.ops import Emit, has_facet, registry
from compiler.ops.base import Array, Sample
from compiler.ops.interpret import interpret_outputs
from compiler.ops.unary import Exp, Log
from compiler.targets.numpy import generate
from compiler.targets.onnx import export
from compiler.targets.onnx.inner import all_nodes
from compiler.targets.onnx.releases import DEFAULT, OPSETS

pytestmark = pytest.mark.filterwarnings("error")


def parameters(facet: str) -> Iterator[object]:
    for opcode, cls in sorted(registry().items()):
        if has_facet(cls, facet):  # type: ignore[arg-type]
            for index, sample in enumerate(cls.samples()):
                yield pytest.param(sample, id=f"{opcode}-{index}")


each_sample = pytest.mark.parametrize("sample", list(parameters("reference")))
wide = pytest.mark.parametrize("wide", [False, True], ids=["f32", "f64"])


def test_every_operation_has_samples() -> None:
    without = {opcode for opcode, cls in registry().items() if not cls.samples()}
    assert without == set()


def reference(sample: Sample, operands: tuple[Array, ...]) -> tuple[Array, ...]:
    with np.errstate(all="ignore"):
        return sample.operation.reference(sample.sizes or {}, *operands)


def check_close(actual: Array, expected: Array, shown: str = "") -> None:
    assert actual.dtype == expected.dtype
    dtype = DType.of(expected.dtype)
    assert dtype is not None
    assert excess(np.asarray(actual), expected, tolerance(dtype)) <= 1, f"{actual} for {expected}\n{shown}"


# Types


@each_sample
@wide
def test_inferred_types_are_those_of_the_reference(sample: Sample, wide: bool, cases: Any) -> None:
    sample = cases.in_f64(sample) if wide else sample
    check_types(sample, reference(sample, cases.operands(sample)))


def check_types(sample: Sample, results: tuple[Array, ...]) -> None:
    inferred = sample.operation.infer(sample.operands)
    assert len(inferred) == len(results)
    for type, result in zip(inferred, results, strict=True):
        assert result.dtype == type.dtype.numpy
        assert result.shape == tuple(evaluate(dim, sample.sizes or {}) for dim in type.shape)


# Gradients


@pytest.mark.parametrize("sample", list(parameters("gradient")))
def test_gradients_are_those_of_central_differences(sample: Sample, cases: Any) -> None:
    sample = cases.in_f64(sample)
    operands = cases.operands(sample)
    result = sample.operation.infer(sample.operands)[0].dtype
    if result is DType.F64:
        check_gradients(sample, operands, cases)
    elif result.is_float:
        gradient_graph(sample, cases)  # too coarse for differences; the types are checked


def check_gradients(sample: Sample, operands: tuple[Array, ...], cases: Any) -> None:
    random = np.random.default_rng(1)
    results = cases.flowing(sample.operation, reference(sample, operands))
    floats = (result for result in results if result.dtype == np.float64)
    cotangents = [random.normal(size=result.shape) for result in floats]
    graph = gradient_graph(sample, cases)
    named = {f"cotangent {index}": cotangent for index, cotangent in enumerate(cotangents)}
    found = interpret_outputs(graph, {**cases.arrays(sample, operands), **named})
    stops = sample.operation.opcode == "stop_gradient"
    for index, operand in enumerate(operands):
        name = f"gradient {index}"
        if name in found:
            expected = differences(sample, operands, index, cotangents)
            assert excess(found[name], expected, GRADIENT) <= 1, f"operand {index}: {found[name]} for {expected}"
        elif operand.dtype == np.float64 and sample.values is None and not stops:
            # No gradient for floats means that they change nothing, jumps aside.
            assert not differences(sample, operands, index, cotangents).any()


def gradient_graph(sample: Sample, cases: Any) -> Graph:
    """The gradients of the sum of all ``result * cotangent``, summed to the operands' shapes as autodiff does it."""
    b = Emit("gradients")
    values = cases.inputs(b, sample)
    results = b.add_node(sample.operation, values)
    gradients = sample.operation.gradient(b, values, results, cases.cotangents(b, results))
    assert len(gradients) == len(values)
    for index, (value, gradient) in enumerate(zip(values, gradients, strict=True)):
        if gradient is not None:
            assert value.type.dtype.is_float, "only floats have gradients"
            summed = b.sum_to(gradient, value.type.shape)
            assert summed.type == value.type
            b.output(f"gradient {index}", summed)
    graph = b.finish()
    verify(graph)
    return graph


def differences(sample: Sample, operands: tuple[Array, ...], index: int, cotangents: list[Array]) -> Array:
    """The gradient by central differences, from the reference in f64."""
    gradient = np.empty_like(operands[index])
    for place in np.ndindex(gradient.shape):
        step = 1e-6 * max(1.0, abs(operands[index][place]))
        sides = []
        for moved in (step, -step):
            copies = [operand.copy() for operand in operands]
            copies[index][place] += moved
            floats = [result for result in reference(sample, tuple(copies)) if result.dtype == np.float64]
            used = floats[: len(cotangents)]
            sides.append([result * cotangent for result, cotangent in zip(used, cotangents, strict=True)])
        gradient[place] = sum((above - below).sum() for above, below in zip(*sides, strict=True)) / (2 * step)
    return gradient


# The NumPy program


def program_graph(sample: Sample, cases: Any, form: str) -> Graph:
    """One node. Its operands are inputs (``plain``), arrays of the program which the result may take over (``owned``),
    or views of such arrays that are not contiguous (``turned``)."""
    b = Emit("step")
    turned = replace(sample, operands=tuple(type.with_shape(reversed(type.shape)) for type in sample.operands))
    values = cases.inputs(b, turned if form == "turned" else sample)
    if form != "plain":
        values = tuple(owned(b, value) for value in values)
    if form == "turned":
        values = tuple(b.transpose(value, tuple(reversed(range(value.type.rank)))) for value in values)
    for index, value in enumerate(b.add_node(sample.operation, values)):
        b.output(f"y{index}", value)
    return b.finish()


def owned(b: Emit, value: Value) -> Value:
    """A copy."""
    return b.logical_or(value, value) if value.type.dtype is DType.BOOL else b.maximum(value, value)


@dataclass
class Program:
    """A generated module with one function."""

    graph: Graph

    def __post_init__(self) -> None:
        self.text = generate([self.graph])
        self.module: dict[str, Any] = {"__name__": "generated"}
        exec(compile(self.text, "generated.py", "exec"), self.module)

    def __call__(self, arrays: dict[str, Array], sizes: dict[str, int]) -> dict[str, Array]:
        step = self.module["bind_step"]({}, *(sizes[symbol.name] for symbol in self.graph.symbols))
        with np.errstate(all="ignore"):
            results: dict[str, Array] = step(*(arrays[item.name].copy() for item in self.graph.inputs))
        return results


@pytest.mark.parametrize("sample", list(parameters("numpy")))
@pytest.mark.parametrize("form", ["plain", "owned", "turned"])
@wide
def test_numpy_program_equals_the_reference(sample: Sample, wide: bool, form: str, cases: Any) -> None:
    sample = cases.in_f64(sample) if wide else sample
    graph = program_graph(sample, cases, form)
    program = Program(graph)
    operands = cases.operands(sample)
    given = tuple(o.T.copy() for o in operands) if form == "turned" else operands
    found = program(cases.arrays(sample, given), dict(sample.sizes or {}))
    for index, expected in enumerate(reference(sample, operands)):
        check_close(found[f"y{index}"], expected, program.text)


# ONNX


@pytest.mark.parametrize("sample", list(parameters("onnx")))
@wide
def test_onnx_runtime_equals_the_reference(sample: Sample, wide: bool, cases: Any) -> None:
    sample = cases.in_f64(sample) if wide else sample
    graph = onnx_graph(sample, cases)
    try:
        file = export(graph, {})
    except DiagnosticError as refused:
        assert_refused_for_f64(sample, refused)
        return
    operands = cases.operands(sample)
    expected = interpret_outputs(graph, cases.arrays(sample, operands))
    for optimised in (False, True):
        for name, result in run_onnx(file, cases.arrays(sample, operands), optimised).items():
            check_close(result, expected[name])


@pytest.mark.parametrize("opset", [opset for opset in OPSETS if opset != DEFAULT])
@pytest.mark.parametrize("sample", list(parameters("onnx")))
def test_every_opset_has_it_or_refuses_it_by_name(sample: Sample, opset: int, cases: Any) -> None:
    graph = onnx_graph(sample, cases)
    if opset == 17 and sample.operation.opcode.startswith("random"):
        # Its bits are mixed by BitwiseXor, for which that opset has nothing else.
        with pytest.raises(DiagnosticError, match=f"E0902.*{sample.operation.opcode} needs ONNX opset 18"):
            export(graph, {}, opset=opset)
        return
    operands = cases.operands(sample)
    expected = interpret_outputs(graph, cases.arrays(sample, operands))
    file = export(graph, {}, opset=opset)
    assert not idle_nodes(file)
    for name, result in run_onnx(file, cases.arrays(sample, operands), True).items():
        check_close(result, expected[name])


def idle_nodes(file: bytes) -> list[str]:
    """The nodes of which nothing is read."""
    graph = onnx.ModelProto.FromString(file).graph
    read = {item.name for item in graph.output} | {name for node in all_nodes(graph.node) for name in node.input}
    return [node.name for node in graph.node if not read & set(node.output)]


def onnx_graph(sample: Sample, cases: Any) -> Graph:
    b = Emit("step")
    for index, value in enumerate(b.add_node(sample.operation, cases.inputs(b, sample))):
        # ONNX Runtime's Python interface hands out no bf16.
        b.output(f"y{index}", b.cast(value, DType.F32) if value.type.dtype is DType.BF16 else value)
    return b.finish()


def run_onnx(file: bytes, arrays: dict[str, Array], optimised: bool) -> dict[str, Array]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimised else levels.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_inputs()]
    results = session.run(None, {name: arrays[name] for name in names})
    outputs = [item.name for item in session.get_outputs()]
    return {name: np.asarray(result) for name, result in zip(outputs, results, strict=True)}


def assert_refused_for_f64(sample: Sample, refused: DiagnosticError) -> None:
    assert sample.operands[0].dtype is DType.F64
    assert re.search(r"ONNX Runtime has no .* for f64", str(refused.diagnostics[0].notes))


# The text form


@each_sample
def test_text_form_is_read_back(sample: Sample, cases: Any) -> None:
    b = Emit("g")
    for index, value in enumerate(b.add_node(sample.operation, cases.inputs(b, sample))):
        b.output(f"y{index}", value)
    graph = b.finish()
    text = to_text(graph)
    again = parse_graph(text, registry())
    assert again.nodes[0].operation == sample.operation
    assert hash(again.nodes[0].operation) == hash(sample.operation)
    assert [value.type for value in again.values()] == [value.type for value in graph.values()]
    assert to_text(again) == text


# The checks themselves: each is shown a wrong operation.


class WrongGradient(Exp):
    def gradient(self, b: Emit, inputs: Any, outputs: Any, gradients: Any) -> Any:
        return (b.mul(gradients[0], b.mul(outputs[0], 1.00001)),)


class NoGradient(Exp):
    def gradient(self, b: Emit, inputs: Any, outputs: Any, gradients: Any) -> Any:
        return (None,)


class WrongType(Exp):
    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        return (inputs[0].with_dtype(DType.F64),)


@pytest.mark.parametrize("cls", [WrongGradient, NoGradient])
def test_a_wrong_gradient_is_found(cls: type[Exp], cases: Any) -> None:
    sample = cases.in_f64(Sample(cls(), (TensorType(DType.F32, (3,)),)))
    with pytest.raises(AssertionError):
        check_gradients(sample, cases.operands(sample), cases)
    right = cases.in_f64(Sample(Exp(), (TensorType(DType.F32, (3,)),)))
    check_gradients(right, cases.operands(right), cases)


def test_a_wrong_type_is_found(cases: Any) -> None:
    sample = Sample(WrongType(), (TensorType(DType.F32, (3,)),))
    with pytest.raises(AssertionError):
        check_types(sample, reference(sample, cases.operands(sample)))


class WrongNumpy(Log):
    def numpy(self, c: Any) -> None:
        c.line(f"np.log2({c.inputs[0]}, out={c.outputs[0]})")

    def onnx(self, c: Any) -> None:
        c.node("Exp", c.inputs, c.outputs)


def test_a_wrong_lowering_is_found(cases: Any) -> None:
    sample = Sample(WrongNumpy(), (TensorType(DType.F32, (3,)),), 0.5, 2)
    with pytest.raises(AssertionError):
        test_numpy_program_equals_the_reference(sample, False, "plain", cases)
    with pytest.raises(AssertionError):
        test_onnx_runtime_equals_the_reference(sample, False, cases)
