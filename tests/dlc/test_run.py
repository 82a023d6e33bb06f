"""dlc run: ONNX files on arrays from files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def model(dlc: Callable[..., Any], net: Path) -> Path:
    dlc("compile", net)
    return Path("net.onnx")


def test_outputs_are_printed(dlc: Callable[..., Any], model: Path) -> None:
    np.save("x.npy", np.zeros((2, 3), np.float32))
    outcome = dlc("run", model, "--input", "x=x.npy")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == "output: f32[2, 2]\n[[0. 0.]\n [0. 0.]]\n"


def test_outputs_are_saved(dlc: Callable[..., Any], model: Path) -> None:
    import dlc as python

    outcome = dlc("run", model, "--input", "x=net.npz", "-o", "made/out.npz")
    assert outcome.out == "wrote output to made/out.npz\n"
    x = np.load("net.npz")["x"]
    expected = python.open_onnx(model).run({"x": x})["output"]
    assert np.array_equal(np.load("made/out.npz")["output"], expected)
    dlc("run", model, "--input", "x=net.npz", "-o", "out.npy")
    assert np.array_equal(np.load("out.npy"), expected)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], "E0910", "input `x` is missing"),
        (["--input", "X=x.npy"], "E0910", "did you mean `x`?"),
        (["--input", "x=y.npy"], "E0911", "y.npy holds f64[2, 3]: the element types differ"),
        (["--input", "x=z.npy"], "E0912", "z.npy holds f32[3]: it has 1 dimension, not 2"),
        (["--input", "x=nowhere.npy"], "E0601", "there is no file nowhere.npy"),
        (["--input", "x=other.npz"], "E0605", "there is no array `x` in other.npz"),
        (["--input", "x=broken.npy"], "E0602", "cannot read broken.npy"),
        (["--input", "x=objects.npy"], "E0604", "never unpickled"),
        (["--input", "x=x.txt"], "E0603", "not a known kind of data file"),
        (["--input", "x=x.npy", "-o", "out.txt"], "E0603", "name an .npz or a .npy file"),
        (["--input", "x=x.npy", "-o", "x.txt/out.npz"], "E0801", "cannot write x.txt/out.npz"),
    ],
)
def test_mistakes(dlc: Callable[..., Any], model: Path, arguments: list[str], code: str, said: str) -> None:
    np.save("x.npy", np.zeros((2, 3), np.float32))
    np.save("y.npy", np.zeros((2, 3)))
    np.save("z.npy", np.zeros(3, np.float32))
    np.save("objects.npy", np.array([None]))
    np.savez("other.npz", z=np.zeros(3))
    Path("broken.npy").write_bytes(b"\x93NUMPY")
    Path("x.txt").write_text("1 2 3")
    outcome = dlc("run", model, *arguments)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith(f"error[{code}]: ")
    assert said in outcome.err


def test_files_that_are_no_models(dlc: Callable[..., Any], net: Path) -> None:
    assert dlc("run", "nowhere.onnx").err.startswith("error[E0905]: cannot read nowhere.onnx: ")
    assert dlc("run", net).err.startswith("error[E0906]: ")


def test_wrong_usage(dlc: Callable[..., Any], model: Path) -> None:
    assert dlc("run", model, "--input", "x.npy").code == 2
