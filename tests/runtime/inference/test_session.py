"""Sessions: what they refuse, how they explain it, and that they stay quiet."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from compiler.diagnostics import Diagnostic, DiagnosticError, Source
from compiler.ir.builder import Builder
from compiler.ir.dims import symbol
from compiler.ir.graph import Graph, Origin
from compiler.ir.types import DType, TensorType
from compiler.ops.elementwise import Add
from compiler.targets.onnx import export
from compiler.targets.onnx.content import MOST_BYTES
from runtime.inference import cuda
from runtime.inference.session import InferenceSession
from runtime.programs.signature import Port

N, T = symbol("N"), symbol("T", 16)
F32 = DType.F32


def added(first: TensorType, second: TensorType) -> Graph:
    b = Builder("Sum")
    image, other = b.input("image", first), b.input("other", second)
    source = Source("sum.dl", "image + other")
    with b.at(Origin((source.span(0, 5),), "Sum.total")):
        b.output("total", b.add(Add(), image, other))
    return b.finish()


@pytest.fixture
def content() -> bytes:
    return export(added(TensorType(F32, (N, 8, T)), TensorType(F32, (N, 1, T))), {}, metadata={"k": "v"})


def onnx_file(
    nodes: Sequence[onnx.NodeProto], inputs: Sequence[onnx.ValueInfoProto], opset: int = 21, ir_version: int = 10
) -> bytes:
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_empty_tensor_value_info("y")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)
    return model.SerializeToString()


X = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N"])


def reported(content: bytes | str | Path, **options: object) -> tuple[Diagnostic, ...]:
    with pytest.raises(DiagnosticError) as raised:
        InferenceSession(content, **options)
    return raised.value.diagnostics


class TestLoading:
    def test_signature_and_metadata(self, content):
        session = InferenceSession(content)
        assert session.inputs == (Port("image", F32, ("N", 8, "T")), Port("other", F32, ("N", 1, "T")))
        assert session.outputs == (Port("total", F32, ("N", 8, "T")),)
        assert [str(port) for port in session.inputs] == ["f32[N, 8, T]", "f32[N, 1, T]"]
        assert session.metadata == {"k": "v", "dlc.bounds": "T <= 16"}
        assert session.providers == ("CPUExecutionProvider",)

    def test_from_a_path(self, content, tmp_path):
        path = tmp_path / "sum.onnx"
        path.write_bytes(content)
        assert (
            InferenceSession(path).outputs == InferenceSession(str(path)).outputs == InferenceSession(content).outputs
        )

    @pytest.mark.parametrize("settings", [{"device": "gpu"}, {"device": "CUDA"}, {"threads": 0}, {"threads": -1}])
    def test_settings_that_there_are_not(self, content, settings):
        with pytest.raises(ValueError, match="'cpu' or 'cuda', and 1 or more"):
            InferenceSession(content, **settings)

    @pytest.mark.parametrize("optimise", [True, False])
    def test_run(self, content, optimise):
        image, other = np.random.default_rng(0).standard_normal((2, 3, 8, 5)).astype(np.float32)
        session = InferenceSession(content, optimise=optimise, threads=1)
        total = session.run({"image": image, "other": other[:, :1]})["total"]
        np.testing.assert_array_equal(total, image + other[:, :1])

    def test_strange_layouts_and_byte_orders_are_understood(self, content):
        image = np.arange(48, dtype=">f4").reshape(3, 8, 2).T.copy().T
        other = np.zeros((3, 1, 4), np.float32)[..., ::2]
        np.testing.assert_array_equal(InferenceSession(content).run({"image": image, "other": other})["total"], image)

    def test_scalars(self):
        content = export(added(TensorType(F32), TensorType(F32)), {})
        result = InferenceSession(content).run({"image": np.float32(2), "other": np.array(3, np.float32)})["total"]
        assert (result.shape, float(result)) == ((), 5.0)


class TestRefusedFiles:
    def test_missing(self, tmp_path):
        (diagnostic,) = reported(tmp_path / "no.onnx")
        assert diagnostic.code == "E0905"
        assert diagnostic.title == f"cannot read {tmp_path / 'no.onnx'}: no such file or directory"

    def test_folder(self, tmp_path):
        (diagnostic,) = reported(tmp_path)
        assert diagnostic.title == f"cannot read {tmp_path}: it is a folder"

    def test_above_the_cap_nothing_is_read(self, tmp_path):
        path = tmp_path / "huge.onnx"
        with path.open("wb") as file:
            file.truncate(MOST_BYTES + 1)
        (diagnostic,) = reported(path)
        assert (diagnostic.code, "2.0 GiB" in diagnostic.title) == ("E0905", True)

    def test_truncated(self, content, tmp_path):
        path = tmp_path / "half.onnx"
        path.write_bytes(content[: len(content) // 2])
        (diagnostic,) = reported(path)
        assert diagnostic.code == "E0906"
        assert str(path) in diagnostic.title

    def test_data_in_another_file_is_not_opened(self, tmp_path, monkeypatch):
        """ONNX Runtime itself would read it from the working folder, even for a model given as bytes."""
        monkeypatch.chdir(tmp_path)
        Path("secret.bin").write_bytes(np.ones(4096, np.float32).tobytes())
        weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4096], data_location=TensorProto.EXTERNAL)
        weight.external_data.add(key="location", value="secret.bin")
        model = onnx.load_model_from_string(onnx_file([helper.make_node("Add", ["x", "w"], ["y"])], [X]))
        model.graph.initializer.append(weight)
        (diagnostic,) = reported(model.SerializeToString())
        assert diagnostic.code == "E0907"

    @pytest.mark.parametrize(
        ("content", "note"),
        [
            (onnx_file([helper.make_node("Relu", ["x"], ["y"])], [X], opset=28), "opset"),
            (onnx_file([helper.make_node("Relu", ["x"], ["y"])], [X], ir_version=14), "IR version"),
            (onnx_file([helper.make_node("Nonsense", ["x"], ["y"])], [X]), "Nonsense"),
            (onnx_file([helper.make_node("Relu", ["z"], ["y"])], [X]), "z"),
            (
                onnx_file(
                    [helper.make_node("Identity", ["x"], ["y"])],
                    [helper.make_tensor_value_info("x", TensorProto.STRING, ["N"])],
                ),
                "x is a tensor(string)",
            ),
        ],
    )
    def test_models_that_onnx_runtime_does_not_take(self, content, note):
        (diagnostic,) = reported(content)
        assert diagnostic.code == "E0908"
        assert note.lower() in diagnostic.notes[0].lower()
        assert "ONNXRuntimeError" not in diagnostic.notes[0]
        assert "onnxruntime_src" not in diagnostic.notes[0]


class TestInputs:
    def refused(self, content: bytes, **inputs: np.ndarray) -> list[tuple[str, str, str]]:
        with pytest.raises(DiagnosticError) as raised:
            InferenceSession(content).run(inputs, described={"image": "x.npy"})
        return [(d.code, d.title, d.help[0]) for d in raised.value.diagnostics]

    def other(self, n: int = 10, t: int = 4) -> np.ndarray:
        return np.zeros((n, 1, t), np.float32)

    def image(self, n: int = 10, t: int = 4) -> np.ndarray:
        return np.zeros((n, 8, t), np.float32)

    def test_misspelt_name(self, content):
        found = self.refused(content, imgae=self.image(), other=self.other())
        assert found == [("E0910", "the model has no input `imgae`", "did you mean `image`?")]

    def test_missing_and_unknown_names(self, content):
        found = self.refused(content, weights=self.image(), other=self.other())
        assert found == [
            ("E0910", "the model has no input `weights`", "leave it out"),
            ("E0910", "input `image` is missing", "give an array of type f32[N, 8, T] for `image`"),
        ]

    def test_element_type(self, content):
        found = self.refused(content, image=self.image().astype(np.float64), other=self.other())
        title = "input `image` is f32[N, 8, T]; x.npy holds f64[10, 8, 4]: the element types differ"
        assert found == [("E0911", title, "convert it: image.astype(np.float32)")]

    @pytest.mark.parametrize("dtype", ["f2", "u1", "i2", "?", ">f4"])
    def test_what_loses_nothing_is_widened(self, content, dtype):
        image = (self.image() + 3).astype(dtype)
        (wanted,) = InferenceSession(content).run({"image": image.astype(np.float32), "other": self.other()}).values()
        (found,) = InferenceSession(content).run({"image": image, "other": self.other()}).values()
        assert np.array_equal(found, wanted)

    def test_objects(self, content):
        found = self.refused(content, image=np.array([[1], [2, 3]], object), other=self.other())
        assert found[0][0] == "E0911"
        assert found[0][2] == "make one array of numbers of it: all rows need the same length"

    def test_rank(self, content):
        found = self.refused(content, image=np.zeros((10, 32), np.float32), other=self.other())
        title = "input `image` is f32[N, 8, T]; x.npy holds f32[10, 32]: it has 2 dimensions, not 3"
        assert found == [("E0912", title, "give an array of that shape")]

    def test_rank_that_a_reshape_or_a_batch_axis_mends(self):
        content = export(added(TensorType(F32, (N, 8, 8)), TensorType(F32, (8,))), {})
        other = np.zeros(8, np.float32)
        (flat,) = self.refused(content, image=np.zeros((10, 64), np.float32), other=other)
        assert flat[2] == "if the order of the elements is right, reshape it: image.reshape(-1, 8, 8)"
        (single,) = self.refused(content, image=np.zeros((8, 8), np.float32), other=other)
        assert single[2] == "add the axis N: image[np.newaxis]"

    def test_axes_in_another_order(self):
        content = export(added(TensorType(F32, (N, 3, 8, 8)), TensorType(F32, (8,))), {})
        image, other = np.zeros((10, 8, 8, 3), np.float32), np.zeros(8, np.float32)
        (found,) = self.refused(content, image=image, other=other)
        assert found[2] == "the axes are in another order: image.transpose(0, 3, 1, 2)"

    def test_fractions_for_whole_numbers(self):
        content = export(added(TensorType(DType.I64, (N, 4)), TensorType(DType.I64, (4,))), {})
        (found,) = self.refused(content, image=np.full((2, 4), 0.5), other=np.zeros(4, np.int64))
        assert found[0] == "E0911"
        assert found[2] == "give whole numbers: image.astype(np.int64) cuts off what is behind the point"

    def test_another_number_of_rows_is_no_way_to_reshape(self):
        content = export(added(TensorType(F32, (N, 4)), TensorType(F32, (4,))), {})
        (found,) = self.refused(content, image=np.zeros((10, 2), np.float32), other=np.zeros(4, np.float32))
        assert found[2] == "give an array of that shape"

    def test_fixed_size(self, content):
        found = self.refused(content, image=np.zeros((10, 7, 4), np.float32), other=self.other())
        title = "input `image` is f32[N, 8, T]; x.npy holds f32[10, 7, 4]: dimension 1 is 7, not 8"
        assert [(code, text) for code, text, _ in found] == [("E0912", title)]

    def test_symbols_have_to_agree(self, content):
        found = self.refused(content, image=self.image(n=10), other=self.other(n=9))
        title = "N is 10 in dimension 0 of `image`, but 9 in dimension 0 of `other`"
        assert found == [("E0912", title, "give arrays that agree on N")]

    def test_upper_bound(self, content):
        InferenceSession(content).run({"image": self.image(t=16), "other": self.other(t=16)})
        found = self.refused(content, image=self.image(t=17), other=self.other(t=17))
        assert found[0] == (
            "E0912",
            "T is 17 in dimension 2 of `image`, but T <= 16",
            "cut dimension 2 to 16 or less",
        )

    def test_everything_at_once(self, content):
        found = self.refused(content, image=np.zeros((10, 7, 4)), otter=self.other())
        assert [code for code, _, _ in found] == ["E0910", "E0911", "E0912"]

    def test_an_input_of_any_rank_takes_any_array(self):
        anything = helper.make_tensor_value_info("x", TensorProto.FLOAT, None)
        session = InferenceSession(onnx_file([helper.make_node("Relu", ["x"], ["y"])], [anything]))
        assert str(session.inputs[0]) == "f32[...]"
        assert session.run({"x": np.full((1, 2, 3), -1, np.float32)})["y"].tolist() == [[[0] * 3] * 2]


def test_a_value_that_stops_the_run_names_the_node():
    node = helper.make_node("Gather", ["x", "i"], ["y"], name="GPT.token/Gather")
    node.metadata_props.add(key="source", value="gpt.dl:5:9")
    index = helper.make_tensor_value_info("i", TensorProto.INT64, ["N"])
    session = InferenceSession(
        onnx_file([node], [helper.make_tensor_value_info("x", TensorProto.FLOAT, [65, 2]), index])
    )
    with pytest.raises(DiagnosticError) as raised:
        session.run({"x": np.zeros((65, 2), np.float32), "i": np.array([70])})
    (diagnostic,) = raised.value.diagnostics
    assert (diagnostic.code, diagnostic.title) == ("E0913", "ONNX Runtime stopped at GPT.token/Gather")
    assert "idx=70" in diagnostic.notes[0]
    assert diagnostic.notes[1] == "GPT.token/Gather was written at gpt.dl:5:9"


class TestCuda:
    @pytest.mark.skipif(cuda._loads("libcuda.so.1"), reason="this machine has an NVIDIA driver")
    def test_asked_for_without_a_driver_is_an_error(self, content):
        (diagnostic,) = reported(content, device="cuda")
        assert (diagnostic.code, diagnostic.title) == ("E0909", "CUDA was asked for and cannot be used")
        assert diagnostic.help[-1] == "or run on the CPU: --device cpu"

    def test_reasons(self, monkeypatch):
        monkeypatch.setattr(sys, "platform", "linux")
        monkeypatch.setattr(cuda, "_loads", lambda library: library == "libcudart.so.13")
        (driver, libraries) = cuda.why_not([cuda.PROVIDER], "13.0")
        assert driver[0] == "there is no NVIDIA driver (libcuda.so.1 is not found)"
        assert libraries[0] == "CUDA libraries are not found: libcublas.so.13, libcudnn.so.9"
        assert libraries[1] == "pip install 'onnxruntime-gpu[cuda,cudnn]'"
        ((built, remedy),) = cuda.why_not(["CPUExecutionProvider"], "")
        assert built == "the onnxruntime that is installed was built without CUDA"
        assert "onnxruntime-gpu" in remedy
        monkeypatch.setattr(sys, "platform", "darwin")
        assert [why for why, _ in cuda.why_not([], "")] == ["there is no CUDA for macOS"]
        monkeypatch.setattr(sys, "platform", "win32")
        monkeypatch.setattr(cuda, "_loads", lambda library: library == "nvcuda.dll")
        ((missing, _),) = cuda.why_not([cuda.PROVIDER], "13.0")
        assert missing == "CUDA libraries are not found: cudart64_13.dll, cublas64_13.dll, cudnn64_9.dll"


def test_broken_installation(content, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", type(sys)("onnxruntime"))
    (diagnostic,) = reported(content)
    assert (diagnostic.code, diagnostic.notes) == ("E0916", ("the package is there but empty",))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert reported(content)[0].code == "E0916"


def test_nothing_is_printed(content, tmp_path):
    path = tmp_path / "sum.onnx"
    path.write_bytes(content)
    script = (
        "import sys, numpy as np\n"
        "from compiler.diagnostics import DiagnosticError\n"
        "import runtime.inference.session as session\n"
        "assert not {'onnx', 'onnxruntime'} & set(sys.modules)\n"
        "x = np.zeros((2, 8, 4), np.float32)\n"
        "session.InferenceSession(sys.argv[1]).run({'image': x, 'other': x[:, :1]})\n"
        "for content, device in ((sys.argv[1], 'cuda'), (b'nonsense', 'cpu')):\n"
        "    try:\n"
        "        session.InferenceSession(content, device)\n"
        "    except DiagnosticError:\n"
        "        pass\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_the_one_input_needs_no_name_and_lists_take_its_element_type() -> None:
    session = InferenceSession(onnx_file([helper.make_node("Neg", ["x"], ["y"])], [X]))
    given = [session.run(x)["y"] for x in ([0.5, 1], np.array([0.5, 1], np.float32), {"x": [0.5, 1]})]
    assert [found.tolist() for found in given] == [[-0.5, -1.0]] * 3
    bound = session.bind([2, 3])
    bound.run()
    assert bound.result("y").tolist() == [-2.0, -3.0]
    session.warm_up([1.5])


def test_of_several_inputs_each_has_a_name(content) -> None:
    with pytest.raises(DiagnosticError) as raised:
        InferenceSession(content).run(np.zeros((3, 8, 5), np.float32))
    (found,) = raised.value.diagnostics
    assert (found.code, found.help) == ("E0910", ("name them: {'image': …, 'other': …}",))
