"""dlc compile --precision: smaller files from the command line and from Python."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import dlc as python
from compiler.diagnostics import DiagnosticError
from runtime.inference.precision import shrink
from runtime.inference.session import InferenceSession

WIDE = ["--set", "units=64"]


@pytest.fixture
def trained(dlc: Callable[..., Any], net: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``net.dl`` with a layer of 64 units more, trained to the run folder ``run``."""
    monkeypatch.setattr(shrink, "_RUNS", 2)
    monkeypatch.setattr(shrink, "survives", lambda content: True)
    net.write_text(net.read_text().replace("    head:", "    second: dense(64) -> relu\n    head:"))
    assert dlc("train", net, *WIDE, "--out", "run", "--no-export").code == 0
    return net


def lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


@pytest.mark.parametrize("precision", ["fp16", "int8", "int8-dynamic"])
def test_a_smaller_file(dlc: Callable[..., Any], trained: Path, precision: str) -> None:
    outcome = dlc("compile", trained, *WIDE, "--weights", "run", "--precision", precision)
    assert (outcome.code, outcome.err) == (0, "")
    size = Path(f"net.{precision}.onnx").stat().st_size
    head, _, before, after, _, written = lines(outcome.out)
    assert head == ["precision", "bytes", "size", "1", "row", "64", "rows", "loss", "accuracy"]
    assert before[:1] == ["f32"]
    assert after[:2] == [precision, f"{size:,}"]
    assert int(before[1].replace(",", "")) > size
    judged = "judged by 12 samples of net.npz: accuracy at most 0.5 points lower"
    assert " ".join(written) == f"wrote net.{precision}.onnx, {size:,} bytes; {judged}"
    assert InferenceSession(f"net.{precision}.onnx").metadata["dlc.precision.kind"] == precision
    shown = " ".join(dlc("show", f"net.{precision}.onnx").out.split())
    assert " precision gate: accuracy " in shown
    assert f" kind: {precision} " in shown


def test_all_precisions_in_one_table(dlc: Callable[..., Any], trained: Path) -> None:
    before = sorted(Path().iterdir())
    outcome = dlc("compile", trained, *WIDE, "--weights", "run", "--compare-precisions")
    assert (outcome.code, outcome.err) == (0, "")
    assert [line[0] for line in lines(outcome.out)[2:6]] == ["f32", "fp16", "int8", "int8-dynamic"]
    assert sorted(Path().iterdir()) == before


def test_what_cannot_be_is_said_beside_the_table(dlc: Callable[..., Any], trained: Path) -> None:
    dlc("train", trained, "--out", "small", "--no-export", "--set", "units=2")
    arguments = ["--weights", "small", "--compare-precisions", "--max-drop", 100, "--max-rise", 1000]
    outcome = dlc("compile", trained, "--set", "units=2", *arguments)
    assert outcome.code == 0
    assert outcome.err.splitlines() == [
        f"{name}: there is nothing in Net that {name} would make smaller: "
        "it has no weights in f32 with 256 numbers or more"
        for name in ("int8", "int8-dynamic")
    ]


def test_the_same_twice_and_nothing_left_behind(
    dlc: Callable[..., Any], trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    for name in ("a.onnx", "b.onnx"):
        assert dlc("compile", trained, *WIDE, "--weights", "run", "--precision", "int8", "-o", name).code == 0
    assert Path("a.onnx").read_bytes() == Path("b.onnx").read_bytes()
    assert not list((tmp_path / "tmp").iterdir())


def test_samples_of_another_file(dlc: Callable[..., Any], trained: Path) -> None:
    x = np.random.default_rng(1).standard_normal((30, 3)).astype(np.float32)
    np.savez("more.npz", x=x, y=(x[:, 0] > x[:, 1]).astype(np.int64))
    arguments = ["--weights", "run", "--precision", "fp16", "--data", "more.npz", "--max-drop", 10]
    outcome = dlc("compile", trained, *WIDE, *arguments)
    assert outcome.out.endswith("; judged by 30 samples of more.npz: accuracy at most 10 points lower\n")


def test_without_samples_apart(dlc: Callable[..., Any], trained: Path) -> None:
    trained.write_text(trained.read_text().replace("    validate 20%\n", ""))
    outcome = dlc("compile", trained, *WIDE, "--weights", "run", "--precision", "int8")
    assert outcome.code == 1
    assert outcome.err == (
        "error[E0931]: the train block `net` sets no samples apart that could tell what a smaller file loses\n"
        "  = help: name samples that the training did not see: --data FILE; "
        "or add a line like `validate 20%` and train\n"
    )
    assert not list(Path().glob("*.onnx"))


def test_options_that_do_not_go_together(dlc: Callable[..., Any], trained: Path) -> None:
    dlc("compile", trained, *WIDE, "--weights", "run", "-o", "net.onnx")
    for arguments, said in (
        ([trained, "--precision", "int8"], "trained weights"),
        ([trained, "--precision", "int4"], "'int4' is not one of"),
        (["net.onnx", "-o", "a.onnx", "--precision", "int8"], "does not tell how it is judged"),
        ([trained, "--weights", "run", "--precision", "int8", "--no-certify"], "certified"),
        ([trained, "--weights", "run", "--precision", "int8", "--target", "numpy"], "--target"),
        ([trained, "--weights", "run", "--compare-precisions", "-o", "a.onnx"], "writes no file"),
        ([trained, "--weights", "run", "--max-drop", 1], "--precision"),
        ([trained, "--weights", "run", "--precision", "int8", "--max-drop", -1], "--max-drop"),
    ):
        outcome = dlc("compile", *arguments)
        assert outcome.code == 2
        assert said in " ".join(outcome.err.split())


def test_the_block_that_runs_the_model_judges(dlc: Callable[..., Any], trained: Path) -> None:
    other = trained.read_text().replace("Net", "Other").replace("train net", "train other")
    trained.write_text(trained.read_text() + other.partition("\n")[2])
    arguments = ["compile", trained, *WIDE, "--weights", "run", "--precision", "fp16", "--model"]
    assert dlc(*arguments, "Net").code == 0
    assert "error[E0806]" in dlc(*arguments, "Other").err


def test_from_python(trained: Path) -> None:
    model = python.load(trained, set={"units": 64})
    model.load_weights("run")
    variant = model.shrink("made.onnx", "int8")
    assert variant.content == Path("made.onnx").read_bytes()
    assert variant.summary().startswith(f"int8: {len(variant.content):,} bytes, ")
    assert variant.share < 0.6
    with np.load("net.npz") as file:
        x = file["x"]
    scores = python.InferenceSession("made.onnx").run({"x": x})["output"]
    np.testing.assert_allclose(scores, model.predict(x), atol=0.02 * np.abs(scores).max())
    with pytest.raises(DiagnosticError, match="E0605"):
        model.shrink("other.onnx", data={"x": x})
    assert not Path("other.onnx").exists()


def test_from_python_after_a_fit_on_arrays(trained: Path) -> None:
    model = python.load(trained, set={"units": 64})
    arrays = dict(np.load("net.npz"))
    model.fit(arrays, validate=0.5, epochs=2)
    variant = model.shrink("made.onnx", "fp16", max_drop=5)
    assert set(variant.figures) == {"loss", "accuracy"}
    held = onnx.load("made.onnx").graph.initializer
    assert sum(item.data_type == onnx.TensorProto.FLOAT16 for item in held) >= 5
