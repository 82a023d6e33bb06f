"""The exporter, judged by onnx's own reader, checker and reference evaluator."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from compiler.diagnostics import DiagnosticError
from compiler.ir.builder import Builder
from compiler.ir.dims import Dim, Symbol, evaluate, symbol
from compiler.ir.graph import Graph, Operation, Role
from compiler.ir.types import DType, TensorType
from compiler.ops.activation import Gelu, Relu
from compiler.ops.base import Array, OnnxLowering, Op, Sizes, without
from compiler.ops.elementwise import Add, Multiply
from compiler.ops.interpret import interpret_outputs
from compiler.ops.random import RandomKeep
from compiler.ops.shape import Reshape
from compiler.targets.onnx import export
from compiler.targets.onnx import model as model_module
from compiler.targets.onnx.file import with_metadata
from compiler.targets.onnx.metadata import bounds
from compiler.targets.onnx.model import ExportError
from compiler.targets.onnx.names import value_names

N, T = symbol("N"), symbol("T", 64)
F32 = DType.F32


def loaded(content: bytes) -> onnx.ModelProto:
    return onnx.load_model_from_string(content)


def typed(item: onnx.ValueInfoProto) -> tuple[str, int, list[int | str]]:
    tensor = item.type.tensor_type
    return item.name, tensor.elem_type, [dim.dim_param or dim.dim_value for dim in tensor.shape.dim]


def one(operation: Operation, *types: TensorType) -> Graph:
    """The graph of a single operation on inputs a, b …, with the result y."""
    b = Builder("one")
    values = [b.input(name, type) for name, type in zip("abcdef", types, strict=False)]
    b.output("y", b.add(operation, *values))
    return b.finish()


def codes(error: DiagnosticError) -> list[str]:
    return [diagnostic.code for diagnostic in error.diagnostics]


class TestFile:
    def test_computes_what_the_graph_means(self, network):
        x = np.random.default_rng(0).standard_normal((5, 4), np.float32)
        (actual,) = ReferenceEvaluator(loaded(export(*network))).run(None, {"x": x})
        expected = interpret_outputs(network.graph, {"x": x, **network.weights})["logits"]
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)

    def test_interface_has_symbolic_axes_and_no_weights(self, network):
        graph = loaded(export(*network)).graph
        assert [typed(item) for item in graph.input] == [("x", onnx.TensorProto.FLOAT, ["N", 4])]
        assert [typed(item) for item in graph.output] == [("logits", onnx.TensorProto.FLOAT, ["N", 3])]

    def test_weights_are_embedded_under_their_names_little_endian(self, network):
        found = {item.name: item for item in loaded(export(*network)).graph.initializer}
        assert list(found) == list(network.weights)
        for name, array in network.weights.items():
            assert found[name].raw_data == array.astype("<f4").tobytes()
            np.testing.assert_array_equal(onnx.numpy_helper.to_array(found[name]), array)

    def test_big_endian_weights_are_the_same_file(self, network):
        swapped = {name: array.astype(">f4") for name, array in network.weights.items()}
        assert export(network.graph, swapped) == export(*network)

    def test_names_come_from_labels(self, network):
        nodes = loaded(export(*network)).graph.node
        assert [node.name for node in nodes] == [
            "Digits.hidden/MatMul", "Digits.hidden/Add", "Digits.hidden/Relu", "Digits.head/MatMul", "Digits.head/Add",
        ]  # fmt: skip
        assert [node.output[0] for node in nodes] == [
            "Digits.hidden/matmul", "Digits.hidden/add", "Digits.hidden/relu", "Digits.head/matmul", "logits",
        ]  # fmt: skip

    def test_nodes_say_where_they_come_from(self, network):
        nodes = loaded(export(*network)).graph.node
        places = [{entry.key: entry.value for entry in node.metadata_props} for node in nodes]
        assert places[0] == places[2] == {"source": "digits.dl:2:5"}
        assert places[4] == {"source": "digits.dl:3:5"}

    def test_before_ir_10_the_place_is_in_the_doc_string(self, network):
        nodes = loaded(export(*network, opset=19)).graph.node
        assert nodes[4].doc_string == "source: digits.dl:3:5"
        assert not nodes[4].metadata_props

    def test_header(self, network):
        model = loaded(export(*network, metadata={"b": "2", "a": "1"}))
        assert (model.ir_version, model.producer_name) == (10, "dlc")
        assert [(item.domain, item.version) for item in model.opset_import] == [("", 21)]
        assert [(entry.key, entry.value) for entry in model.metadata_props] == [("a", "1"), ("b", "2")]

    def test_intermediate_types_are_told(self, network):
        told = [typed(item) for item in loaded(export(*network)).graph.value_info]
        assert ("Digits.hidden/relu", onnx.TensorProto.FLOAT, ["N", 8]) in told

    def test_expressions_of_symbols_are_told_as_text(self):
        graph = one(Reshape((2, N, 2 * T)), TensorType(F32, (N, T, 4)))
        (output,) = loaded(export(graph, {})).graph.output
        assert typed(output)[2] == [2, "N", "2*T"]

    @pytest.mark.parametrize("opset", range(17, 24))
    def test_every_opset(self, network, opset):
        model = loaded(export(*network, opset=opset))
        assert model.opset_import[0].version == opset
        assert model.ir_version == {17: 8, 18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11}[opset]

    def test_unused_weight_is_left_out(self):
        b = Builder("g")
        x = b.input("x", TensorType(F32, (N,)))
        b.input("w", TensorType(F32, (3,)), Role.WEIGHT)
        b.output("y", b.add(Relu(), x))
        model = loaded(export(b.finish(), {"w": np.ones(3, np.float32)}))
        assert not model.graph.initializer
        assert [item.name for item in model.graph.input] == ["x"]

    def test_bounds_are_kept(self):
        content = export(one(Relu(), TensorType(F32, (N, T))), {})
        entries = {entry.key: entry.value for entry in loaded(content).metadata_props}
        assert bounds(entries) == {"T": Symbol("T", 64)}


class TestDeterminism:
    def test_same_bytes_again_and_in_another_process(self, network):
        content = export(*network, metadata={"z": "1", "a": "2"})
        assert export(*network, metadata={"a": "2", "z": "1"}) == content
        script = (
            "import hashlib\n"
            "from compiler.ir.builder import Builder\n"
            "from compiler.ir.dims import symbol\n"
            "from compiler.ir.types import DType, TensorType\n"
            "from compiler.ops.shape import Reshape\n"
            "from compiler.targets.onnx import export\n"
            "N, T = symbol('N'), symbol('T')\n"
            "b = Builder('g')\n"
            "x = b.input('x', TensorType(DType.F32, (N, T, 4)))\n"
            "b.output('y', b.add(Reshape((2, N, 2 * T)), x))\n"
            "print(hashlib.sha256(export(b.finish(), {}, metadata={'k': 'v'})).hexdigest())\n"
        )
        runs = {
            subprocess.run(
                [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
            ).stdout
            for seed in ("1", "2")
        }
        assert len(runs) == 1

    def test_metadata_added_later_gives_the_same_bytes(self, network):
        assert with_metadata(export(*network), {"k": "v"}) == export(*network, metadata={"k": "v"})


class TestOutputs:
    def test_an_input_or_weight_as_output_is_a_copy(self):
        b = Builder("g")
        x = b.input("x", TensorType(F32, (N,)))
        w = b.input("w", TensorType(F32, (2,)), Role.WEIGHT)
        for name, value in (("same", x), ("again", x), ("weight", w)):
            b.output(name, value)
        model = loaded(export(b.finish(), {"w": np.array([1, 2], np.float32)}))
        assert [(node.op_type, *node.input, *node.output) for node in model.graph.node] == [
            ("Identity", "x", "same"),
            ("Identity", "x", "again"),
            ("Identity", "w", "weight"),
        ]
        results = ReferenceEvaluator(model).run(None, {"x": np.zeros(3, np.float32)})
        np.testing.assert_array_equal(results[2], [1, 2])

    def test_one_value_under_two_names(self):
        b = Builder("g")
        y = b.add(Relu(), b.input("x", TensorType(F32, (N,))))
        b.output("first", y)
        b.output("second", y)
        nodes = loaded(export(b.finish(), {})).graph.node
        assert [(node.op_type, node.output[0]) for node in nodes] == [("Relu", "first"), ("Identity", "second")]

    def test_input_and_output_of_one_name_are_refused(self):
        b = Builder("Net")
        x = b.input("output", TensorType(F32, (N,)))
        b.output("output", b.add(Relu(), x))
        with pytest.raises(DiagnosticError) as raised:
            export(b.finish(), {})
        assert codes(raised.value) == ["E0903"]


@dataclass(frozen=True)
class Custom(Op):
    """An operation made for one test: f32[N, T] to f32[N, T], or to one size, lowered by a function."""

    lower: Callable[[OnnxLowering], None]
    shape: tuple[Dim, ...] | None = None

    opcode = "custom"

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        return (inputs[0] if self.shape is None else TensorType(DType.I64, (len(self.shape),)),)

    gradient = numpy = without("a test does not need it")

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        return operands

    def onnx(self, c: OnnxLowering) -> None:
        self.lower(c)

    @classmethod
    def samples(cls) -> Sequence[object]:
        return ()


def lowered(
    lower: Callable[[OnnxLowering], None], shape: tuple[Dim, ...] | None = None, **options: int
) -> onnx.ModelProto:
    return loaded(export(one(Custom(lower, shape), TensorType(F32, (N, T))), {}, **options))


class TestSizes:
    @pytest.mark.parametrize(
        "dims",
        [
            (N,),
            (2, N, 3, 4, T, 5),
            (N * T, 3 * N * N, N * T * T + 7),
            (N + T, N - T + 70, 100 - N, 5 * N - 2 * T + 200),
            (N // 2, (N + 1) // 2, (N * T + 3) // 4, N % 3),
            ((N - 9) // 4 + 50, 60 - (T - 40) // 7, (N // T) + 1, (T + 5) // N),
            (((N + 1) // 2 + T) // 3, N * (T // 2)),
            (4, 5),
            (),
        ],
        ids=str,
    )
    @pytest.mark.parametrize("sizes", [(1, 1), (2, 7), (7, 2), (64, 33)])
    def test_arithmetic_on_symbols(self, dims, sizes):
        model = lowered(lambda c: c.node("Identity", (c.shape(dims),), c.outputs), dims)
        bound = dict(zip("NT", sizes, strict=True))
        (actual,) = ReferenceEvaluator(model).run(None, {"a": np.zeros(sizes, np.float32)})
        assert actual.dtype == np.int64
        assert actual.tolist() == [evaluate(dim, bound) for dim in dims]

    def test_static_shape_is_a_constant(self):
        model = lowered(lambda c: c.node("Identity", (c.shape((2, 3)),), c.outputs), (2, 3))
        assert [node.op_type for node in model.graph.node] == ["Identity"]

    def test_each_size_is_worked_out_once(self):
        dims = (N * T + 1, N * T + 1, N)

        def lower(c: OnnxLowering) -> None:
            assert c.shape(dims) == c.shape(dims)
            c.node("Sub", (c.shape(dims), c.shape((N * T + 1, N, N))), c.outputs)

        kinds = sorted(node.op_type for node in lowered(lower, dims).graph.node)
        assert kinds == ["Add", "Concat", "Concat", "Mul", "Shape", "Shape", "Sub"]


class TestLowering:
    def test_equal_constants_are_kept_once(self):
        def lower(c: OnnxLowering) -> None:
            half = c.scalar(0.5, F32)
            assert c.constant(np.array(0.5, np.float32)) == half
            assert c.scalar(0.5, DType.F64) != half
            assert c.constant(np.array([0.5], np.float32)) != half
            c.node("Mul", (c.node("Add", (c.inputs[0], half)), half), c.outputs)

        (constant,) = lowered(lower).graph.initializer
        assert onnx.numpy_helper.to_array(constant) == np.float32(0.5)

    def test_minus_zero_and_nan_are_constants_of_their_own(self):
        def lower(c: OnnxLowering) -> None:
            names = {c.scalar(number, F32) for number in (0.0, -0.0, float("nan"), float("nan"))}
            assert len(names) == 3
            c.node("Add", (c.inputs[0], c.scalar(-0.0, F32)), c.outputs)

        assert len(lowered(lower).graph.initializer) == 1

    @pytest.mark.parametrize("dtype", list(DType))
    def test_constants_of_every_dtype(self, dtype):
        def lower(c: OnnxLowering) -> None:
            large = c.constant(np.array([0, 1, 3], dtype.numpy), hint="table")
            largest = c.node("ReduceMax", (c.node("Cast", (large,), to=F32),), keepdims=0)
            c.node("Add", (c.inputs[0], largest), c.outputs)

        model = lowered(lower)
        (result,) = ReferenceEvaluator(model).run(None, {"a": np.zeros((1, 1), np.float32)})
        assert result.item() == (1 if dtype is DType.BOOL else 3)

    def test_attributes_take_the_declared_kind(self):
        def lower(c: OnnxLowering) -> None:
            x = c.node("LeakyRelu", c.inputs, alpha=1)
            x = c.node("Transpose", (x,), perm=(1, 0))
            c.node("Transpose", (x,), c.outputs, perm=[1, 0])

        (leaky, *_) = lowered(lower).graph.node
        assert (leaky.attribute[0].type, leaky.attribute[0].f) == (onnx.AttributeProto.FLOAT, 1.0)

    def test_optional_operands_can_be_left_out(self):
        model = lowered(lambda c: c.node("Clip", (c.inputs[0], "", c.scalar(1, F32)), c.outputs))
        (result,) = ReferenceEvaluator(model).run(None, {"a": np.array([[-3, 3]], np.float32)})
        assert result.tolist() == [[-3, 1]]

    def test_unknown_attribute_names_the_operation(self):
        with pytest.raises(ValueError, match="Relu with 1 inputs and") as raised:
            lowered(lambda c: c.node("Relu", c.inputs, c.outputs, slope=2))
        assert "while lowering custom" in raised.value.__notes__[0]

    def test_alias_makes_no_node(self):
        b = Builder("g")
        x = b.input("x", TensorType(F32, (N, T)))
        same = b.add(Custom(lambda c: c.alias(c.inputs[0])), x)
        b.output("y", b.add(Relu(), same))
        nodes = loaded(export(b.finish(), {})).graph.node
        assert [(node.op_type, *node.input, *node.output) for node in nodes] == [("Relu", "x", "y")]

    def test_alias_that_is_an_output_is_a_copy(self):
        (node,) = lowered(lambda c: c.alias(c.inputs[0])).graph.node
        assert (node.op_type, *node.input, *node.output) == ("Identity", "a", "y")

    def test_alias_of_nothing_is_a_mistake(self):
        with pytest.raises(ExportError, match="does not make elsewhere"):
            lowered(lambda c: c.alias("elsewhere"))

    def test_forgotten_result_is_a_mistake(self):
        with pytest.raises(ExportError, match=r"custom .* does not make y"):
            lowered(lambda c: c.node("Relu", c.inputs))

    def test_onnx_check_runs(self):
        """A result of another element type than the graph has: nothing but onnx's full check can see it."""
        with pytest.raises(ExportError, match="onnx refuses"):
            lowered(lambda c: c.node("Cast", c.inputs, c.outputs, to=DType.F64))


class TestNames:
    def test_names_are_unique_and_known_from_the_graph(self):
        b = Builder("g")
        value = b.input("x", TensorType(F32, (N,)))
        for _ in range(3):
            value = b.add(Add(), value, value)
        (named,) = b.add_node(Relu(), (value,), ("skip",))
        b.output("add_2", named)
        graph = b.finish()
        names = value_names(graph)
        assert [names[value] for value in graph.values()] == ["x", "add", "add_3", "add_4", "add_2"]
        written = {name for node in loaded(export(graph, {})).graph.node for name in node.output}
        assert written == set(names.values()) - {"x"}

    def test_a_value_keeps_the_name_it_was_given(self):
        b = Builder("g")
        (named,) = b.add_node(Relu(), (b.input("x", TensorType(F32, (N,))),), ("skip",))
        b.output("y", b.add(Multiply(), named, named))
        assert [node.output[0] for node in loaded(export(b.finish(), {})).graph.node] == ["skip", "y"]


class TestRefusals:
    def test_all_operations_without_an_onnx_form_are_reported(self, network):
        refuse = type("Refuse", (Custom,), {"opcode": "draw", "onnx": without("its numbers come from outside")})
        b = Builder("Digits")
        x = b.input("x", TensorType(F32, (N, T)))
        with b.at(network.graph.nodes[0].origin):
            y = b.add(refuse(print), x)
        with b.at(network.graph.nodes[-1].origin):
            y = b.add(refuse(print), b.add(Relu(), y))
        b.output("y", y)
        with pytest.raises(DiagnosticError) as raised:
            export(b.finish(), {})
        assert codes(raised.value) == ["E0901", "E0901"]
        text = str(raised.value)
        assert "draw cannot be exported to ONNX" in text
        assert "models/digits.dl:2:5" in text
        assert "models/digits.dl:3:5" in text
        assert "its numbers come from outside" in text
        assert "--target numpy" in text

    @pytest.mark.parametrize("opset", [16, 24])
    def test_versions_out_of_range(self, network, opset):
        with pytest.raises(DiagnosticError, match="is not supported") as raised:
            export(*network, opset=opset)
        assert codes(raised.value) == ["E0902"]

    def test_an_operation_newer_than_the_opset(self):
        graph = one(RandomKeep((3,), 0, rate=0.5), TensorType(DType.I64), TensorType(DType.I64))
        with pytest.raises(DiagnosticError, match="random_keep needs ONNX opset 18, and opset 17 was asked") as raised:
            export(graph, {}, opset=17)
        assert codes(raised.value) == ["E0902"]

    @pytest.mark.parametrize("approximate", ["none", "tanh"])
    def test_gelu_before_opset_20_is_written_out(self, approximate):
        graph = one(Gelu(approximate), TensorType(F32, (N,)))
        x = np.linspace(-4, 4, 9, dtype=np.float32)
        (actual,) = ReferenceEvaluator(loaded(export(graph, {}, opset=19))).run(None, {"a": x})
        assert np.allclose(actual, interpret_outputs(graph, {"a": x})["y"], atol=1e-6)
        assert [node.op_type for node in loaded(export(graph, {}, opset=20)).graph.node] == ["Gelu"]
        assert "Gelu" not in [node.op_type for node in loaded(export(graph, {}, opset=19)).graph.node]

    def test_too_many_bytes(self, network, monkeypatch):
        monkeypatch.setattr(model_module, "MOST_WEIGHTS", 100)
        with pytest.raises(DiagnosticError, match="too many for one ONNX file") as raised:
            export(*network)
        assert codes(raised.value) == ["E0904"]

    def test_missing_or_wrong_weights_are_the_caller_s_mistake(self, network):
        with pytest.raises(ValueError, match=r"no content is given for weight Digits\.hidden\.weight"):
            export(network.graph, {})
        wrong = {**network.weights, "Digits.head.bias": np.zeros(3)}
        with pytest.raises(ValueError, match=r"Digits\.head\.bias is f32\[3\], not float64\[3\]"):
            export(network.graph, wrong)


def test_reshape_of_symbols_agrees_with_numpy():
    graph = one(Reshape((2, N, 2 * T)), TensorType(F32, (N, T, 4)))
    array = np.arange(3 * 5 * 4, dtype=np.float32).reshape(3, 5, 4)
    (actual,) = ReferenceEvaluator(loaded(export(graph, {}))).run(None, {"a": array})
    np.testing.assert_array_equal(actual, array.reshape(2, 3, 10))
