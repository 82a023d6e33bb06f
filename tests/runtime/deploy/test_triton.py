"""Model repositories for Triton, read back by the schema that Triton publishes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest

import dlc
from compiler.diagnostics import DiagnosticError
from runtime.deploy.triton import Triton, deploy_triton, legal_name


def parsed(folder: Path) -> Any:
    """The configuration, by the schema: a field or a type that it does not have is an error."""
    schema = pytest.importorskip("tritonclient.grpc.model_config_pb2")
    from google.protobuf import text_format

    found = text_format.Parse((folder / "config.pbtxt").read_text(), schema.ModelConfig())
    assert found.name == folder.name
    assert found.platform == "onnxruntime_onnx"
    assert (folder / "1" / found.default_model_filename).is_file()
    _check_as_triton_does(found)
    return found


def _check_as_triton_does(found: Any) -> None:
    """What the server asks of every input and output beyond the schema: sizes, and shapes that are empty only where
    there is a batch."""
    for tensor in (*found.input, *found.output):
        assert tensor.name
        assert tensor.data_type
        assert tensor.dims
        assert all(size == -1 or size >= 1 for size in tensor.dims)
        if tensor.HasField("reshape"):
            assert (list(tensor.dims), list(tensor.reshape.shape)) == ([1], [])
            assert found.max_batch_size > 0
    assert found.HasField("dynamic_batching") == (found.max_batch_size > 0)


def shapes(tensors: Any) -> dict[str, tuple[str, list[int], bool]]:
    types = {2: "UINT8", 9: "INT64", 11: "FP32"}
    return {x.name: (types[x.data_type], list(x.dims), x.HasField("reshape")) for x in tensors}


def test_a_model_with_batches(models: Path, tmp_path: Path) -> None:
    made = deploy_triton(models / "net.onnx", tmp_path, "net", Triton(batch=16, delay=0.002, instances=2))
    assert (made.folder, made.batch, made.alone) == (tmp_path / "net", 16, "")
    found = parsed(made.folder)
    assert found.max_batch_size == 16
    assert found.dynamic_batching.max_queue_delay_microseconds == 2000
    # A tensor with no dimension but its batch is one with a size of 1 outside.
    assert shapes(found.input) == {"x": ("FP32", [3], False), "k": ("INT64", [1], True)}
    assert shapes(found.output) == {"scores": ("FP32", [4], False), "twice": ("FP32", [3], False)}
    assert [(group.count, group.kind) for group in found.instance_group] == [(2, 2)]
    assert (made.folder / "1" / "model.onnx").read_bytes() == (models / "net.onnx").read_bytes()


def test_several_free_sizes(models: Path, tmp_path: Path) -> None:
    found = parsed(deploy_triton(models / "steps.onnx", tmp_path, "steps", Triton()).folder)
    assert shapes(found.input) == {"x": ("FP32", [-1, 2], False)}
    assert shapes(found.output) == {"output": ("FP32", [-1, 3], False)}


def test_outputs_whose_shapes_the_file_does_not_tell(models: Path, tmp_path: Path) -> None:
    model = onnx.load(models / "net.onnx")
    for item in model.graph.output:
        item.type.tensor_type.ClearField("shape")
    onnx.save(model, tmp_path / "untold.onnx")
    made = deploy_triton(tmp_path / "untold.onnx", tmp_path, "untold", Triton(batch=16))
    assert made.batch == 16
    assert shapes(parsed(made.folder).output) == {"scores": ("FP32", [4], False), "twice": ("FP32", [3], False)}
    assert not onnx.load(made.folder / "1" / "model.onnx").graph.output[0].type.tensor_type.HasField("shape")
    for item in model.graph.input:
        item.type.tensor_type.ClearField("shape")
    onnx.save(model, tmp_path / "untold.onnx")
    with pytest.raises(DiagnosticError, match="does not say how many dimensions the input `x` has"):
        deploy_triton(tmp_path / "untold.onnx", tmp_path, "untold", Triton(), replace=True)


@pytest.mark.parametrize(("name", "dims"), [("one", [3]), ("mixed", [-1, 3])])
def test_models_without_batches(models: Path, tmp_path: Path, name: str, dims: list[int]) -> None:
    found = parsed(deploy_triton(models / f"{name}.onnx", tmp_path, name, Triton()).folder)
    assert found.max_batch_size == 0
    assert shapes(found.input) == {"x": ("FP32", dims, False)}


def test_labels(models: Path, tmp_path: Path) -> None:
    folder = deploy_triton(models / "images.onnx", tmp_path, "images", Triton()).folder
    assert parsed(folder).output[0].label_filename == "labels.txt"
    assert (folder / "labels.txt").read_text().splitlines() == ["cat", "dog", "größer"]


def test_a_gpu_and_threads(models: Path, tmp_path: Path) -> None:
    found = parsed(deploy_triton(models / "net.onnx", tmp_path, "net", Triton(device="cuda", threads=3)).folder)
    assert found.instance_group[0].kind == 1
    assert found.parameters["intra_op_thread_count"].string_value == "3"


def test_scalars_are_refused(tmp_path: Path) -> None:
    text = "model Scale(x: f32[N, 3], by: f32[]) -> f32[N, 3] {\n    x * by\n}\n"
    dlc.loads(text).export(tmp_path / "scale.onnx")
    with pytest.raises(DiagnosticError, match="the input `by` is a scalar, which Triton does not have"):
        deploy_triton(tmp_path / "scale.onnx", tmp_path / "models", "scale", Triton())
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("text", "legal"),
    [("digits", "digits"), ("my net (2)", "my_net__2_"), (".hidden", "hidden"), ("ÄÖ", "__"), ("..", "model")],
)
def test_names(text: str, legal: str) -> None:
    assert legal_name(text) == legal
