"""dlc compile: ONNX files and NumPy programs."""

from __future__ import annotations

import hashlib
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from runtime.disk.tensors import read_tensors
from runtime.inference.session import InferenceSession

BLOCKER = """
import sys
class OnlyNumPy:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in ('compiler', 'runtime', 'grammar', 'dlc', 'onnx', 'onnxruntime', 'lark', 'rich'):
            raise ImportError(name)
sys.meta_path.insert(0, OnlyNumPy())
"""


def test_an_onnx_file_of_trained_weights(dlc: Callable[..., Any], net: Path) -> None:
    dlc("train", net)
    outcome = dlc("compile", net, "--weights", "runs/net")
    assert (outcome.code, outcome.err) == (0, "")
    size = Path("net.onnx").stat().st_size
    assert outcome.out.startswith(f"wrote net.onnx, {size:,} bytes; certified: ")
    made = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in onnx.load("net.onnx").graph.initializer}
    weights, _ = read_tensors(Path("runs/net/weights.safetensors"))
    assert np.array_equal(made["Net.head.dense.weight"], weights["Net.head.dense.weight"])


def test_the_same_twice(dlc: Callable[..., Any], net: Path) -> None:
    for name in ("a.onnx", "b.onnx"):
        dlc("compile", net, "-o", name)
    assert Path("a.onnx").read_bytes() == Path("b.onnx").read_bytes()


def test_fresh_weights_are_said_to_be_fresh(dlc: Callable[..., Any], net: Path) -> None:
    outcome = dlc("compile", net, "-o", "made/net.onnx")
    assert outcome.code == 0
    assert outcome.err == "note: no --weights: the file gets fresh weights, as at the start of a training\n"
    assert Path("made/net.onnx").exists()


def test_what_the_file_says_of_itself(dlc: Callable[..., Any], net: Path) -> None:
    dlc("compile", net)
    metadata = {item.key: item.value for item in onnx.load("net.onnx").metadata_props}
    assert metadata["dlc.source.sha256"] == hashlib.sha256(net.read_bytes()).hexdigest()
    assert "dlc.certificate.tolerance" in metadata


def test_without_certificate_and_with_another_opset(dlc: Callable[..., Any], net: Path) -> None:
    outcome = dlc("compile", net, "--no-certify", "--opset", 20)
    assert outcome.out.endswith("; not certified\n")
    assert onnx.load("net.onnx").opset_import[0].version == 20
    assert not any("certificate" in item.key for item in onnx.load("net.onnx").metadata_props)
    assert "error[E0902]: ONNX opset 5" in dlc("compile", net, "--opset", 5).err


def test_author_license_and_description_are_in_the_file(dlc: Callable[..., Any], net: Path) -> None:
    net.write_text('author "Ada, Charles"\nlicense "MIT"\ndescription "The larger of two."\n' + net.read_text())
    dlc("train", net, "--epochs", 1)
    dlc("compile", net, "--no-certify")
    dlc("compile", "runs/net/net.onnx", "-o", "again.onnx")
    for path in ("runs/net/net.onnx", "net.onnx", "again.onnx"):
        model = onnx.load(path)
        metadata = {item.key: item.value for item in model.metadata_props}
        assert (metadata["model_author"], metadata["model_license"]) == ("Ada, Charles", "MIT")
        assert model.doc_string == "The larger of two."
        assert ("dlc.metrics" in metadata) == (path != "net.onnx")


def test_indices_are_held_against_the_range_in_the_file(dlc: Callable[..., Any], net: Path) -> None:
    net.write_text("model Words(word: i64[N, T]) -> f32[N, T, 2] { embed(5, 2) }")
    assert dlc("compile", net).code == 0
    assert {item.key: item.value for item in onnx.load("net.onnx").metadata_props}["dlc.ranges"] == '{"word": [0, 4]}'
    np.save("words.npy", np.array([[0, 4], [5, 1]]))
    outcome = dlc("run", "net.onnx", "--input", "word=words.npy")
    assert outcome.code == 1
    assert "error[E0917]: input `word` takes 0 to 4, and words.npy holds 5 at [1, 0]\n" in outcome.err
    assert dlc("bench", "net.onnx", "--runs", 1, "--batch", 2).code == 0


def test_for_a_release_of_onnx_runtime(dlc: Callable[..., Any], net: Path) -> None:
    assert dlc("compile", net, "--for", "onnxruntime==1.17").code == 0
    model = onnx.load("net.onnx")
    assert (model.opset_import[0].version, model.ir_version) == (20, 9)
    assert dlc("compile", "net.onnx", "-o", "again.onnx", "--for", "1.12").code == 0
    assert onnx.load("again.onnx").opset_import[0].version == 17
    assert dlc("train", net, "--for", "onnxruntime>=1.16", "--epochs", 1).code == 0
    assert onnx.load("runs/net/net.onnx").opset_import[0].version == 19
    assert dlc("compile", net, "--for", "1.17", "--opset", 17).code == 2
    assert dlc("compile", net, "--for", "onnxruntime==1.5").err == (
        "error[E0902]: ONNX Runtime 1.5 reads no opset that dlc writes\n"
        "  = note: dlc writes opset 17 to 23, which ONNX Runtime reads from 1.12 on\n"
        "  = help: use ONNX Runtime 1.12 or later where the model runs\n"
    )


def test_a_model_for_phones(dlc: Callable[..., Any], net: Path) -> None:
    dlc("train", net, "--epochs", 1)
    outcome = dlc("compile", net, "--weights", "runs/net", "-o", "net.ort")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith("wrote net.ort, "), "the converter says nothing"
    assert "certified: " in outcome.out
    assert Path("net.required_operators.config").read_text().startswith("ai.onnx;13;Gemm\n")
    x = np.random.default_rng(1).standard_normal((5, 3)).astype(np.float32)
    phone, whole = InferenceSession("net.ort"), InferenceSession("runs/net/net.onnx")
    assert np.allclose(phone.run({"x": x})["output"], whole.run({"x": x})["output"], atol=1e-6)
    assert phone.description.metrics == {}
    assert phone.description.source_sha256 == whole.description.source_sha256
    np.save("x.npy", x)
    assert dlc("run", "net.ort", "--input", "x=x.npy", "-o", "y.npy").code == 0
    assert dlc("bench", "net.ort", "--runs", 1, "--batch", 1).code == 0
    assert dlc("compile", "runs/net/net.onnx", "-o", "again.ort", "--no-certify").code == 0
    assert Path("again.ort").exists()


def test_what_an_opset_lacks_is_named_before_a_training(dlc: Callable[..., Any], net: Path) -> None:
    net.write_text(net.read_text().replace("head: dense(2)", "it + normal(N, units)\n    head: dense(2)"))
    for command in ("compile", "train"):
        outcome = dlc(command, net, "--opset", 17)
        assert outcome.code == 1
        assert "needs ONNX opset 18, and opset 17 was asked for\n --> net.dl:5:10\n" in outcome.err
    assert not Path("runs").exists()


def test_cuda_that_is_not_there(dlc: Callable[..., Any], net: Path) -> None:
    try:
        import torch
    except ImportError:
        present = Path("/dev/nvidia0").exists()
    else:
        present = torch.cuda.is_available() or Path("/dev/nvidia0").exists()
    if present:
        pytest.skip("this machine has an NVIDIA device")
    outcome = dlc("compile", net, "--device", "cuda")
    assert outcome.code == 1
    assert "error[E0909]: CUDA was asked for and cannot be used\n" in outcome.err
    assert not Path("net.onnx").exists()


def test_numpy_code_gives_the_numbers_of_the_trainer(dlc: Callable[..., Any], net: Path) -> None:
    dlc("train", net, "--batch", 60, "--epochs", 1, "--seed", 3, "--out", "run")
    text = net.read_text().replace("    validate 20%\n    test 20%\n", "").replace("seed 1", "seed 3")
    net.write_text(text.replace("batch 8", "batch 60").replace("epochs 5", "epochs 4"))
    dlc("train", net, "--out", "whole", "--no-export")
    outcome = dlc("compile", net, "--target", "numpy")
    assert outcome.out.startswith("wrote net_net.py, ")
    module = runpy.run_path("net_net.py")
    kept = {name: np.array(array) for name, array in module["bind_initial"]({"seed": np.array(3)})().items()}
    step = module["bind_step0"](kept, N=60)
    with np.load("net.npz") as file:
        x = dict(file)
    from runtime.data.order import Stream, shuffled

    rows = shuffled(60, 3, Stream.SPLIT)
    for epoch in range(1, 5):
        order = rows[shuffled(60, 3, Stream.EPOCH, epoch)]
        step(x["x"][order], x["y"][order])
    weights, _ = read_tensors(Path("whole/weights.safetensors"))
    for name, array in weights.items():
        assert np.array_equal(kept[name], array), name
    infer = module["bind_infer"](kept, N=60)
    import dlc as python

    model = python.load(net)
    model.load_weights("whole")
    assert np.array_equal(infer(x["x"])["output"], model.predict(x["x"]))


def test_numpy_code_needs_only_numpy_and_shows_the_source(dlc: Callable[..., Any], net: Path) -> None:
    dlc("compile", net, "--target", "numpy", "-o", "made.py")
    text = Path("made.py").read_text()
    assert "# net.dl:4: dense(units) -> relu" in text
    assert "backward of net.dl:5: head: dense(2)" in text
    script = (
        BLOCKER + "import runpy; m = runpy.run_path('made.py'); print(sorted(k for k in m if k.startswith('bind_')))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert done.stdout == "['bind_evaluate', 'bind_infer', 'bind_initial', 'bind_step0']\n", done.stderr


def test_numpy_code_of_a_file_without_train_block(dlc: Callable[..., Any], net: Path) -> None:
    net.write_text(net.read_text()[: net.read_text().index("train net")])
    assert dlc("compile", net, "--target", "numpy").code == 0
    module = runpy.run_path("net_net.py")
    kept = module["bind_initial"]({"seed": np.array(0)})()
    assert module["bind_infer"](kept, N=5)(np.ones((5, 3), np.float32))["output"].shape == (5, 2)


def test_which_model_has_to_be_clear(dlc: Callable[..., Any], net: Path) -> None:
    net.write_text("model Other(x: f32[N, 2]) -> f32[N, 2] { dense(2) }\n" + net.read_text())
    outcome = dlc("compile", net)
    assert outcome.err == (
        "error[E0203]: net.dl has 2 models: Other, Net\n"
        "  = help: say which one, such as --model Other, or model='Other' from Python\n"
    )
    assert dlc("compile", net, "--model", "Other").code == 0
    assert dlc("compile", net, "--model", "Othr").err == (
        "error[E0203]: there is no model Othr\n  = help: did you mean Other?\n"
    )


def test_weights_and_outputs_that_cannot_be(dlc: Callable[..., Any], net: Path) -> None:
    Path("taken").write_text("")
    for arguments, said in (
        (["--weights", "nowhere"], "error[E0804]: there are no weights: nowhere does not exist\n"),
        (["--weights", "net.npz"], "error[E0805]: cannot read net.npz: "),
        (["-o", "taken/net.onnx"], "error[E0801]: cannot write taken/net.onnx: "),
        (["-o", "."], "error[E0801]: cannot write .: it is a folder\n"),
        (["--target", "numpy", "-o", "taken/net.py"], "error[E0801]: cannot write taken/net.py: "),
    ):
        outcome = dlc("compile", net, *arguments)
        assert outcome.code == 1
        assert said in outcome.err


def test_an_onnx_file_is_compiled_again(dlc: Callable[..., Any], net: Path) -> None:
    dlc("compile", net, "-o", "net.onnx")
    outcome = dlc("compile", "net.onnx", "-o", "again.onnx")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith(f"wrote again.onnx, {Path('again.onnx').stat().st_size:,} bytes; certified: ")


def test_an_onnx_file_takes_no_weights_and_needs_a_name_for_the_new_one(dlc: Callable[..., Any], net: Path) -> None:
    for arguments in (["-o", "again.onnx", "--weights", "runs/net"], []):
        assert dlc("compile", "net.onnx", *arguments).code == 2


def test_sizes_keep_their_bounds_where_a_file_is_compiled_again(dlc: Callable[..., Any], tmp_path: Path) -> None:
    text = """model Tiny(tokens: i64[N, T <= 8]) -> f32[N, T, 5] {
    embed(5, 4) -> position(8) -> layer_norm
    residual { attention(2, causal=true) }
    dense(5)
}
"""
    (tmp_path / "tiny.dl").write_text(text)
    dlc("compile", tmp_path / "tiny.dl", "-o", tmp_path / "tiny.onnx")
    outcome = dlc("compile", tmp_path / "tiny.onnx", "-o", tmp_path / "again.onnx")
    assert (outcome.code, outcome.err) == (0, "")
    metadata = {item.key: item.value for item in onnx.load(tmp_path / "again.onnx").metadata_props}
    assert metadata["dlc.bounds"] == "T <= 8"
