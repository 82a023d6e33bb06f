"""Models whose weights do not fit into one ONNX file: here a file ends at a few bytes."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import dlc as package
from compiler.diagnostics import DiagnosticError
from compiler.targets.onnx import export_any
from compiler.targets.onnx import model as model_module
from compiler.targets.onnx.read import external as external_module
from compiler.targets.onnx.read import load as load_module
from runtime.inference import saving
from runtime.inference.session import InferenceSession

LARGE = "model Net(x: f32[N, 64]) -> f32[N, 32] { dense(256) -> relu -> dense(32) }\n"


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(model_module, "MOST_WEIGHTS", 5000)
    Path("net.dl").write_text(LARGE)
    return Path("net.dl")


def files() -> list[str]:
    return sorted(path.name for path in Path().iterdir() if path.suffix != ".dl")


def test_the_weights_lie_beside_the_model(dlc: Callable[..., Any], net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = dlc("compile", net)
    assert outcome.code == 0
    assert "; certified: equal to ONNX Runtime" in outcome.out
    model, data = files()
    assert model == "net.onnx"
    assert re.fullmatch(r"net\.onnx\.[0-9a-f]{8}\.data", data)
    assert f" bytes and {data}, {Path(data).stat().st_size:,} bytes; certified" in outcome.out
    assert Path("net.onnx").stat().st_size < 6000 < Path(data).stat().st_size
    onnx.checker.check_model("net.onnx", full_check=True)

    x = np.random.default_rng(0).standard_normal((3, 64)).astype(np.float32)
    np.save("x.npy", x)
    assert dlc("run", "net.onnx", "--input", "x=x.npy", "-o", "y.npy").code == 0
    shown = dlc("show", "net.onnx").out
    assert "in other files" in shown
    assert dlc("bench", "net.onnx", "--runs", 1, "--batch", 2).code == 0
    assert dlc("bench", "net.onnx", "--runs", 1, "--batch", 2, "--profile").code == 0

    monkeypatch.setattr(model_module, "MOST_WEIGHTS", 2**31)
    dlc("compile", net, "-o", "one.onnx")
    assert np.array_equal(np.load("y.npy"), package.InferenceSession("one.onnx").run({"x": x})["output"])
    # What goes on from it is one file again, and a smaller model leaves no data behind.
    assert dlc("compile", "net.onnx", "-o", "again.onnx").code == 0
    assert dlc("compile", net).code == 0
    assert [name for name in files() if name.endswith(".data")] == []


def test_the_same_twice_and_other_weights_take_the_place(dlc: Callable[..., Any], net: Path) -> None:
    dlc("compile", net)
    before = {name: Path(name).read_bytes() for name in files()}
    dlc("compile", net)
    assert {name: Path(name).read_bytes() for name in files()} == before
    net.write_text(LARGE.replace("256", "257"))
    dlc("compile", net)
    (_, data) = files()
    assert data not in before


def test_a_failure_in_between_leaves_the_old_pair(
    dlc: Callable[..., Any], net: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dlc("compile", net)
    before = {name: Path(name).read_bytes() for name in files()}
    written: list[str] = []

    def failing(path: Path, *content: bytes) -> None:
        written.append(path.name)
        if path.name == "net.onnx":
            raise KeyboardInterrupt
        path.write_bytes(b"".join(content))

    net.write_text(LARGE.replace("256", "257"))
    with monkeypatch.context() as patch:
        patch.setattr(saving, "save_output", failing)
        dlc("compile", net)
    assert written[0].endswith(".data"), "the data come first"
    assert written[1] == "net.onnx"
    assert {name: Path(name).read_bytes() for name in before} == before
    x = np.ones((2, 64), np.float32)
    assert package.InferenceSession("net.onnx").run({"x": x})["output"].shape == (2, 32)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data.unlink(), "No such file"),
        (lambda data: data.write_bytes(data.read_bytes()[:-1]), "bytes, and the model reads"),
        (lambda data: os.link(data, "other"), "is a link or no ordinary file"),
        (lambda data: (data.unlink(), data.mkdir()), "is a link or no ordinary file"),
    ],
)
def test_data_that_can_not_be_had(
    dlc: Callable[..., Any], net: Path, change: Callable[[Path], object], said: str
) -> None:
    dlc("compile", net)
    data = Path(files()[1])
    change(data)
    for command in (["run", "net.onnx", "--input", "x=x.npy"], ["bench", "net.onnx", "--runs", 1]):
        outcome = dlc(*command)
        assert outcome.code == 1
        assert "error[E0921]" in outcome.err
        assert said in outcome.err
    assert dlc("show", "net.onnx").code == 0, "it reads no data"


def test_a_fault_is_found_in_a_large_model_too(net: Path) -> None:
    import compiler
    from runtime.inference.certify import certify
    from runtime.programs.project import open_project

    program = open_project(net).model()
    graph = compiler.onnx_graph(program)
    random = np.random.default_rng(0)
    weights = {
        w.name: random.standard_normal([int(d) for d in w.type.shape]).astype(np.float32) for w in program.weights
    }
    content = export_any(graph, weights)
    assert not isinstance(content, bytes)
    session = InferenceSession(content)

    def wrong(inputs: Any) -> dict[str, Any]:
        return {name: array + 1 for name, array in session.run(inputs).items()}

    with pytest.raises(DiagnosticError, match="the ONNX file and the NumPy program differ"):
        certify(content, graph, weights, wrong)


@pytest.fixture
def foreign(dlc: Callable[..., Any], net: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of another tool whose weights are in two files and, as the limit is here, too many for one."""
    monkeypatch.setattr(load_module, "MOST_WEIGHTS", 5000)
    monkeypatch.setattr(external_module, "_MAPPED", 2000)
    monkeypatch.setattr(model_module, "MOST_WEIGHTS", 2**31)
    assert dlc("compile", net, "-o", "whole.onnx").code == 0
    monkeypatch.setattr(model_module, "MOST_WEIGHTS", 5000)
    folder = Path("elsewhere")
    folder.mkdir()
    model = onnx.load("whole.onnx")
    onnx.external_data_helper.convert_model_to_external_data(model, all_tensors_to_one_file=False, size_threshold=100)
    onnx.save(model, folder / "net.onnx")
    assert len(list(folder.iterdir())) > 2
    return folder / "net.onnx"


def test_a_large_file_from_elsewhere_is_compiled_shown_and_compared(dlc: Callable[..., Any], foreign: Path) -> None:
    outcome = dlc("compile", foreign, "-o", "again.onnx")
    assert outcome.code == 0
    assert "; certified: equal to ONNX Runtime" in outcome.out
    assert any(re.fullmatch(r"again\.onnx\.[0-9a-f]{8}\.data", name) for name in files())
    x = np.random.default_rng(0).standard_normal((3, 64)).astype(np.float32)
    results = [package.InferenceSession(path).run(x)["output"] for path in (foreign, "again.onnx", "whole.onnx")]
    assert np.allclose(results[0], results[1], atol=1e-5)
    assert np.array_equal(results[0], results[2])
    assert "in other files" in dlc("show", foreign).out
    assert dlc("diff", foreign, "whole.onnx").code == 0
    assert dlc("compile", foreign, "-o", "plain.onnx", "--no-certify").code == 0
    assert dlc("import", foreign, "-o", "net2.dl").code == 0
    for command in (["compile", foreign, "-o", "net.ort"], ["bench", foreign, "--runs", 1, "--profile"]):
        outcome = dlc(*command)
        assert outcome.code == 1
        assert "error[E0904]" in outcome.err
    assert dlc("deploy", "--to", "triton", "models", foreign).code == 0
    served = package.InferenceSession(next(Path("models").rglob("model.onnx")))
    assert np.array_equal(served.run(x)["output"], results[0])


def test_a_model_goes_on_from_a_large_file(dlc: Callable[..., Any], foreign: Path) -> None:
    Path("more.dl").write_text(
        f"""import "{foreign}" as Net

model More(x: f32[N, 64]) -> f32[N, 2] {{
    Net
    dense(2)
}}

train more(x: f32[N, 64], y: f32[N, 2]) {{
    minimize mse(More(x), y) with sgd(0.1)
    data "more.npz"
    batch 4
    epochs 1
}}
"""
    )
    random = np.random.default_rng(0)
    np.savez("more.npz", x=random.random((8, 64), np.float32), y=random.random((8, 2), np.float32))
    outcome = dlc("train", "more.dl")
    assert outcome.code == 0
    kept = Path("runs/more/imports")
    assert [path.suffix for path in sorted(kept.rglob("*")) if path.is_file()] == [".onnx", ".data"]
    # The run needs nothing but its folder.
    shutil.rmtree(foreign.parent)
    assert dlc("check", "runs/more/source.dl").code == 0
    assert dlc("compile", "runs/more/source.dl", "--weights", "runs/more", "-o", "more.onnx").code == 0
