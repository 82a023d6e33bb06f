"""Certification: that it passes what is right, fails what is wrong, and names the layer at fault."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
import pytest

from compiler.diagnostics import DiagnosticError, Source
from compiler.ir.builder import Builder
from compiler.ir.dims import Dim, symbol
from compiler.ir.graph import Graph, Origin, Role, Value
from compiler.ir.tolerance import tolerance
from compiler.ir.types import DType, TensorType
from compiler.ops.activation import Relu, Tanh
from compiler.ops.along import OneHot, TakeAlong
from compiler.ops.base import Array
from compiler.ops.convert import Cast
from compiler.ops.elementwise import Add, Multiply
from compiler.ops.gather import Gather
from compiler.ops.indexing import index_ranges
from compiler.ops.interpret import interpret, interpret_outputs
from compiler.ops.matmul import MatMul
from compiler.ops.shape import Reshape, Transpose
from compiler.ops.slice import Slice
from compiler.ops.unary import Log
from compiler.targets.onnx import export
from compiler.targets.onnx.metadata import Description, describe
from runtime.inference import cases as cases_module
from runtime.inference.cases import random_inputs, size_cases
from runtime.inference.certify import Agreement, Certificate, certified_export, certify
from runtime.inference.locate import Trial, first_fault
from runtime.inference.session import InferenceSession

N, T = symbol("N"), symbol("T", 16)
F32, I64, U8 = DType.F32, DType.I64, DType.U8
TEXT = """model Digits(x: f32[N, 4]) -> f32[N, 3] {
    hidden: dense(8) -> relu
    head: dense(3)
}
"""
SOURCE = Source("digits.dl", TEXT)


def at(label: str) -> Origin:
    start = TEXT.index(label)
    return Origin((SOURCE.span(start, start + len(label)),), f"Digits.{label}")


def digits() -> Graph:
    b = Builder("Digits")
    value = b.input("x", TensorType(F32, (N, 4)))
    for label, inputs, outputs in (("hidden", 4, 8), ("head", 8, 3)):
        kernel = TensorType(F32, (inputs, outputs))
        weight = b.input(f"Digits.{label}.weight", kernel, Role.WEIGHT)
        bias = b.input(f"Digits.{label}.bias", kernel.with_shape((outputs,)), Role.WEIGHT)
        with b.at(at(label)):
            value = b.add(Add(), b.add(MatMul(), value, weight), bias)
            value = b.add(Relu(), value) if label == "hidden" else value
    b.output("logits", value)
    return b.finish()


def random_weights(graph: Graph) -> dict[str, Array]:
    generator = np.random.default_rng(1)
    return {
        value.name: generator.standard_normal(value.type.shape).astype(value.type.dtype.numpy)
        for value in graph.inputs_of(Role.WEIGHT)
    }


def meaning(graph: Graph, weights: Mapping[str, Array]) -> Callable[[Mapping[str, Array]], Mapping[str, Array]]:
    """Stands for the NumPy program, in an arithmetic of its own."""
    return lambda inputs: interpret_outputs(graph, {**weights, **inputs})


@pytest.fixture
def graph() -> Graph:
    return digits()


@pytest.fixture
def weights(graph: Graph) -> dict[str, Array]:
    return random_weights(graph)


def edited(content: bytes, edit: Callable[[onnx.ModelProto], None]) -> bytes:
    model = onnx.load_model_from_string(content)
    edit(model)
    return model.SerializeToString()


def failure(content: bytes, graph: Graph, weights: Mapping[str, Array]) -> DiagnosticError:
    with pytest.raises(DiagnosticError) as raised:
        certify(content, graph, weights, meaning(graph, weights))
    return raised.value


class TestCertificate:
    def test_what_is_right_passes_at_every_size(self, graph, weights):
        certificate = certify(export(graph, weights), graph, weights, meaning(graph, weights))
        assert [dict(sizes) for sizes in certificate.cases] == [{"N": 1}, {"N": 2}, {"N": 7}, {"N": 64}]
        assert certificate.providers == ("CPUExecutionProvider",)
        assert certificate.agreement.share <= 1
        assert certificate.agreement.largest < 1e-4

    def test_the_largest_difference_is_reported(self, graph, weights):
        exact = meaning(graph, weights)
        content = export(graph, weights)
        noisy = certify(content, graph, weights, lambda inputs: {"logits": exact(inputs)["logits"] + np.float32(6e-6)})
        assert 5e-6 < noisy.agreement.largest < 8e-6
        assert 0.1 < noisy.agreement.share <= 1

    def test_words(self, graph, weights):
        certificate = certify(export(graph, weights), graph, weights, meaning(graph, weights))
        words = certificate.as_metadata()
        assert words["sizes"] == "N=1; N=2; N=7; N=64"
        assert words["tolerance"] == "f32 1e-05 + 1e-05*max|x|"
        assert words["optimisations"] == "off, on"
        assert f"{words['runtime']} (CPU) at N=1, 2, 7, 64; largest difference" in certificate.summary()
        assert "\n" not in certificate.summary()

    def test_words_for_other_numbers_of_symbols(self):
        fixed = Certificate({I64: tolerance(I64)}, Agreement(), ({},), ("CUDAExecutionProvider",), "1")
        assert "(CUDA) at its fixed sizes;" in fixed.summary()
        assert (fixed.as_metadata()["sizes"], fixed.as_metadata()["tolerance"]) == ("fixed", "i64 exact")
        two = Certificate({}, Agreement(), ({"N": 1, "T": 5}, {"N": 2, "T": 1}), (), "1")
        assert "(CPU) at N=1, T=5; N=2, T=1;" in two.summary()

    def test_real_samples_are_tried_too(self, graph, weights):
        tried = []

        def reference(inputs: Mapping[str, Array]) -> Mapping[str, Array]:
            tried.append(inputs["x"])
            return meaning(graph, weights)(inputs)

        rows = np.full((11, 4), 0.25, np.float32)
        samples = {"x": rows, "label": np.zeros(11, np.int64)}
        certificate = certify(export(graph, weights), graph, weights, reference, samples=samples)
        assert certificate.cases[-1] == {"N": 11}
        np.testing.assert_array_equal(tried[-1], rows)
        assert len(tried) == 5


class TestFailure:
    def test_a_changed_weight_names_its_layer(self, graph, weights):
        def edit(model: onnx.ModelProto) -> None:
            for item in model.graph.initializer:
                if item.name == "Digits.hidden.weight":
                    changed = onnx.numpy_helper.to_array(item).copy()
                    changed[2, 3] += 0.01
                    item.raw_data = changed.tobytes()

        error = failure(edited(export(graph, weights), edit), graph, weights)
        (diagnostic,) = error.diagnostics
        assert diagnostic.code == "E0914"
        assert diagnostic.title == "the ONNX file and the NumPy program differ from Digits.hidden on"
        assert str(diagnostic.primary.span) == "digits.dl:2:5"
        assert "output `logits`, with N=2 and optimisations off" in diagnostic.notes[0]
        assert "Digits.hidden (matmul) is the first that differs" in diagnostic.notes[1]
        assert "digits.dl:2:5" in str(error)

    def test_a_changed_node_names_its_layer(self, graph, weights):
        def edit(model: onnx.ModelProto) -> None:
            (relu,) = (node for node in model.graph.node if node.op_type == "Relu")
            relu.op_type = "Tanh"

        (diagnostic,) = failure(edited(export(graph, weights), edit), graph, weights).diagnostics
        assert "Digits.hidden (relu) is the first that differs" in diagnostic.notes[1]

    def test_a_later_layer_is_named_when_only_it_differs(self, graph, weights):
        def edit(model: onnx.ModelProto) -> None:
            model.graph.node[-1].op_type = "Sub"

        (diagnostic,) = failure(edited(export(graph, weights), edit), graph, weights).diagnostics
        assert str(diagnostic.primary.span) == "digits.dl:3:5"
        assert "Digits.head (add)" in diagnostic.notes[1]

    def test_two_faults_name_the_first(self, graph, weights):
        def edit(model: onnx.ModelProto) -> None:
            for node in model.graph.node:
                if node.op_type == "Add":
                    node.op_type = "Sub"

        (diagnostic,) = failure(edited(export(graph, weights), edit), graph, weights).diagnostics
        assert "Digits.hidden (add)" in diagnostic.notes[1]

    def test_nan_against_a_number_fails(self, graph, weights):
        def edit(model: onnx.ModelProto) -> None:
            model.graph.initializer[-1].raw_data = np.full(3, np.nan, np.float32).tobytes()

        (diagnostic,) = failure(edited(export(graph, weights), edit), graph, weights).diagnostics
        assert "ONNX Runtime gives nan" in diagnostic.notes[0]
        assert "beyond any tolerance" in diagnostic.notes[1]

    def test_where_the_numpy_program_is_wrong_no_layer_is_blamed(self, graph, weights):
        def zeros(inputs: Mapping[str, Array]) -> Mapping[str, Array]:
            return {"logits": np.zeros((len(inputs["x"]), 3), np.float32)}

        with pytest.raises(DiagnosticError) as raised:
            certify(export(graph, weights), graph, weights, zeros)
        (diagnostic,) = raised.value.diagnostics
        assert (diagnostic.code, diagnostic.primary) == ("E0914", None)
        assert "the NumPy program is in doubt" in diagnostic.notes[1]

    @pytest.mark.parametrize("wrong", [np.zeros((1, 3)), np.zeros((3, 1), np.float32)])
    def test_another_shape_or_element_type_fails(self, graph, weights, wrong):
        with pytest.raises(DiagnosticError, match="ONNX Runtime gives float32") as raised:
            certify(export(graph, weights), graph, weights, lambda inputs: {"logits": wrong})
        assert raised.value.diagnostics[0].code == "E0914"

    def test_nothing_finite_proves_nothing(self):
        b = Builder("Net")
        x = b.input("x", TensorType(F32, (N,)))
        w = b.input("w", TensorType(F32), Role.WEIGHT)
        b.output("y", b.add(Log(), b.add(Multiply(), b.add(Multiply(), x, x), w)))
        graph, weights = b.finish(), {"w": np.array(-1, np.float32)}
        assert failure(export(graph, weights), graph, weights).diagnostics[0].code == "E0915"


class TestFusions:
    """A difference that appears only while ONNX Runtime fuses nodes: looking at every value at once hides it."""

    @pytest.mark.parametrize("first_wrong", range(6))
    def test_found_by_halving(self, monkeypatch, first_wrong):
        b = Builder("chain")
        value = b.input("x", TensorType(F32, (N,)))
        for _ in range(5):
            value = b.add(Tanh(), value)
        b.output("y", value)
        graph = b.finish()
        inputs = {"x": np.ones(2, np.float32)}
        true = interpret(graph, inputs)

        def look(trial: Trial, values: object) -> dict[Value, Array]:
            wanted = list(values)
            if len(wanted) > 1:
                return {value: true[value] for value in wanted}
            made = [node.output for node in graph.nodes]
            return {value: true[value] + (made.index(value) >= first_wrong) for value in wanted}

        monkeypatch.setattr(Trial, "look", look)
        fault = first_fault(Trial(export(graph, {}), graph, {}, inputs, {"N": 2}, "cpu", True))
        if first_wrong == 5:
            assert fault is None
        else:
            assert fault is not None
            assert (fault.node, fault.fused) == (graph.nodes[first_wrong], True)


class TestCertifiedExport:
    def test_same_bytes_again(self, graph, weights):
        description = Description(source_sha256="ab", labels=("one", "two"), metrics={"val.accuracy": 0.98})
        first = certified_export(graph, weights, meaning(graph, weights), description=description)
        again = certified_export(digits(), dict(weights), meaning(graph, weights), description=description)
        assert first == again

    def test_the_file_tells_what_was_found(self, graph, weights):
        description = Description(source_sha256="ab", labels=("one", "two"), metrics={"val.accuracy": 0.98})
        content, certificate = certified_export(graph, weights, meaning(graph, weights), description=description)
        told = describe(InferenceSession(content).metadata)
        assert (told.source_sha256, told.labels, told.metrics) == ("ab", ("one", "two"), {"val.accuracy": 0.98})
        assert told.certificate == certificate.as_metadata()
        assert told.version

    def test_the_network_is_the_one_that_was_certified(self, graph, weights):
        content, _ = certified_export(graph, weights, meaning(graph, weights))
        plain = onnx.load_model_from_string(export(graph, weights))
        assert onnx.load_model_from_string(content).graph == plain.graph

    def test_other_opsets(self, graph, weights):
        content, _ = certified_export(graph, weights, meaning(graph, weights), opset=17)
        assert onnx.load_model_from_string(content).opset_import[0].version == 17


def single(operation: object, *types: TensorType) -> Graph:
    b = Builder("single")
    b.output("y", b.add(operation, *(b.input(name, type) for name, type in zip("abc", types, strict=False))))
    return b.finish()


def shorter(dim: Dim, *shape: Dim) -> Graph:
    """A graph in which ``dim`` has to be a size too."""
    b = Builder("shorter")
    b.input("whole", TensorType(F32, shape))
    b.output("y", b.add(Relu(), b.input("part", TensorType(F32, (dim,)))))
    return b.finish()


class TestSizes:
    def test_two_symbols_change_together_within_the_bound(self):
        cases = size_cases(single(Relu(), TensorType(F32, (N, T))))
        assert [case["N"] for case in cases] == [1, 2, 7, 64]
        assert len({case["T"] for case in cases}) == 4
        assert all(1 <= case["T"] <= 16 for case in cases)

    def test_a_bounded_first_symbol_is_tried_at_its_bound(self):
        assert [case["T"] for case in size_cases(single(Relu(), TensorType(F32, (T,))))] == [1, 2, 7, 16]

    def test_fixed_sizes_are_one_case(self):
        assert size_cases(single(Relu(), TensorType(F32, (3,)))) == [{}]

    def test_sizes_suit_every_dimension(self):
        assert [case["N"] for case in size_cases(shorter(N - 4, N))] == [7, 64]
        assert [case["N"] for case in size_cases(shorter(N - 200, N))] == [256]
        assert size_cases(shorter(N - 5000, N)) == []
        assert size_cases(shorter(T - 16, T)) == []
        cases = size_cases(shorter(T - 9, N, T))
        assert [case["N"] for case in cases] == [1, 2, 7, 64]
        assert all(9 < case["T"] <= 16 for case in cases)

    def test_where_no_sizes_suit_nothing_is_proved(self):
        graph = shorter(T - 16, T)
        assert failure(export(graph, {}), graph, {}).diagnostics[0].code == "E0915"

    def test_cases_that_need_too_much_memory_are_left_out(self, monkeypatch):
        monkeypatch.setattr(cases_module, "_MOST_BYTES", 2 * 4 * 100 * 8)
        graph = single(Relu(), TensorType(F32, (N, 100)))
        assert [case["N"] for case in size_cases(graph)] == [1, 2, 7]
        assert [case["N"] for case in size_cases(single(Relu(), TensorType(F32, (N, 10**6))))] == [1]

    def test_a_graph_of_two_symbols_is_certified(self):
        b = Builder("turn")
        x = b.input("x", TensorType(F32, (N, T, 2)))
        b.output("y", b.add(Reshape((T, 2 * N)), b.add(Transpose((1, 0, 2)), x)))
        graph = b.finish()
        certificate = certify(export(graph, {}), graph, {}, meaning(graph, {}))
        assert certificate.agreement.largest == 0
        assert len(certificate.cases) == 4


class TestRandomInputs:
    def drawn(self, type: TensorType, ranges: Mapping[str, int] | None = None, unit: bool = False) -> Array:
        generator = np.random.default_rng(0)
        return random_inputs([Value("x", type)], {"N": 1000}, ranges or {}, generator, unit)["x"]

    @pytest.mark.parametrize("dtype", [dtype for dtype in DType if dtype is not DType.BF16])
    def test_shape_and_element_type(self, dtype):
        array = self.drawn(TensorType(dtype, (N, 2)))
        assert array.dtype == dtype.numpy
        assert array.shape == (1000, 2)

    def test_small_integers_take_every_value(self):
        assert set(self.drawn(TensorType(U8, (N, 8))).ravel().tolist()) == set(range(256))
        assert set(self.drawn(TensorType(DType.I8, (N, 8))).ravel().tolist()) == set(range(-128, 128))

    def test_integers_that_index_stay_in_range(self):
        assert set(self.drawn(TensorType(I64, (N,)), {"x": 5}).tolist()) == {0, 1, 2, 3, 4}
        assert set(self.drawn(TensorType(I64, (N,))).tolist()) == {0, 1}

    def test_floats_have_signs_or_lie_between_0_and_1(self):
        assert self.drawn(TensorType(F32, (N,))).min() < -1
        unit = self.drawn(TensorType(F32, (N,)), unit=True)
        assert unit.min() >= 0
        assert unit.max() <= 1

    def test_scalars(self):
        assert self.drawn(TensorType(I64)).shape == ()


class TestIndexRanges:
    def test_indices_are_followed_to_what_they_index(self):
        b = Builder("embed")
        tokens = b.input("tokens", TensorType(U8, (N, T)))
        table = b.input("table", TensorType(F32, (65, 3)), Role.WEIGHT)
        flat = b.add(Reshape((N * T,)), b.add(Cast(I64), tokens))
        b.output("vectors", b.add(Gather(0), table, flat))
        graph, weights = b.finish(), {"table": np.random.default_rng(0).standard_normal((65, 3)).astype(np.float32)}
        assert index_ranges(graph) == {"tokens": 65}
        tried = []

        def reference(inputs: Mapping[str, Array]) -> Mapping[str, Array]:
            tried.append(int(inputs["tokens"].max()))
            return meaning(graph, weights)(inputs)

        certify(export(graph, weights), graph, weights, reference)
        assert max(tried) == 64

    def test_the_least_of_several_counts(self):
        b = Builder("two")
        index = b.input("index", TensorType(I64, (N,)))
        b.output("hot", b.add(OneHot(9), index))
        x = b.input("x", TensorType(F32, (4,)))
        b.output("taken", b.add(TakeAlong(-1), x, b.add(Slice((0,), (1,), (1,)), index)))
        b.output("sum", b.add(Add(), index, b.input("plain", TensorType(I64, (N,)))))
        assert index_ranges(b.finish()) == {"index": 4}

    def test_a_symbolic_size_and_arithmetic_say_nothing(self):
        b = Builder("none")
        x, index = b.input("x", TensorType(F32, (N, 2))), b.input("index", TensorType(I64, (N,)))
        b.output("a", b.add(Gather(0), x, index))
        b.output("b", b.add(OneHot(5), b.add(Add(), index, index)))
        assert index_ranges(b.finish()) == {}
