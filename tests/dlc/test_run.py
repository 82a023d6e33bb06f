"""dlc run: ONNX files on arrays from files."""

from __future__ import annotations

import csv
import io
import json
import sys
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
    with np.load("net.npz") as file:
        x = file["x"]
    expected = python.InferenceSession(model).run({"x": x})["output"]
    assert np.array_equal(np.load("made/out.npz")["output"], expected)
    dlc("run", model, "--input", "x=net.npz", "-o", "out.npy")
    assert np.array_equal(np.load("out.npy"), expected)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], "E0910", "input `x` is missing\n  = note: it is f32[N, 3]\n  = help: name a file for it: --input x=FILE"),
        (["--input", "X=x.npy"], "E0910", "did you mean `x`?"),
        (["--input", "x=y.npy"], "E0911", "y.npy holds f64[2, 3]: the element types differ"),
        (["--input", "x=z.npy"], "E0912", "z.npy holds f32[3]: it has 1 dimension, not 2"),
        (["--input", "x=nowhere.npy"], "E0601", "there is no file nowhere.npy"),
        (["--input", "x=nowhere"], "E0601", "help: see how the path is spelled"),
        (["--input", "x=folder"], "E0602", "cannot read folder for `x`: it takes f32[N, 3], which is no picture"),
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
    Path("folder").mkdir()
    outcome = dlc("run", model, *arguments)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith(f"error[{code}]: ")
    assert said in outcome.err


def test_files_that_are_no_models(dlc: Callable[..., Any], net: Path) -> None:
    assert dlc("run", "nowhere.onnx").err.startswith("error[E0905]: cannot read nowhere.onnx: ")
    assert dlc("run", net).err.startswith("error[E0906]: ")


def test_wrong_usage(dlc: Callable[..., Any], model: Path) -> None:
    assert dlc("run", model, "--input", "x.npy").code == 2


NAMED = ("no", "yes, it is")


@pytest.fixture
def classifier(model: Path) -> Path:
    """The model with names for its two classes, and weights that tell them apart."""
    import onnx
    from onnx import numpy_helper

    from compiler.targets.onnx.metadata import Description

    loaded = onnx.load(model)
    generator = np.random.default_rng(3)
    for weight in loaded.graph.initializer:
        shape = numpy_helper.to_array(weight).shape
        weight.CopyFrom(numpy_helper.from_array(generator.standard_normal(shape).astype(np.float32), weight.name))
    for key, text in Description(labels=NAMED).as_metadata().items():
        loaded.metadata_props.add(key=key, value=text)
    onnx.save(loaded, "named.onnx")
    return Path("named.onnx")


def lines_in(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def test_lines_of_json(dlc: Callable[..., Any], classifier: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dlc as python

    with np.load("net.npz") as file:
        x = file["x"]
    lines_in(monkeypatch, "\n".join(json.dumps({"x": row}) for row in x.tolist()))
    outcome = dlc("run", classifier, "--jsonl", "-", "--batch", 7, "-o", "out.jsonl")
    assert (outcome.code, outcome.out, outcome.err) == (0, "wrote output to out.jsonl\n", "")
    expected = python.InferenceSession(classifier).run({"x": x})["output"]
    found = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    np.testing.assert_allclose([row["output"] for row in found], expected, rtol=1e-5, atol=1e-6)
    assert [row["label"] for row in found] == [NAMED[index] for index in expected.argmax(axis=1)]
    shares = np.exp(expected) / np.exp(expected).sum(axis=1, keepdims=True)
    np.testing.assert_allclose([row["probability"] for row in found], shares.max(axis=1), rtol=1e-5)


def test_a_list_of_json_has_what_lines_have(dlc: Callable[..., Any], classifier: Path) -> None:
    for name in ("out.json", "out.jsonl"):
        assert dlc("run", classifier, "--input", "x=net.npz", "--batch", 7, "-o", name).code == 0
    lines = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert json.loads(Path("out.json").read_text()) == lines
    assert len(lines) == 60
    np.save("none.npy", np.zeros((0, 3), np.float32))
    assert dlc("run", classifier, "--input", "x=none.npy", "-o", "none.json").code == 0
    assert json.loads(Path("none.json").read_text()) == []


def test_columns_of_a_table(dlc: Callable[..., Any], classifier: Path) -> None:
    with np.load("net.npz") as file:
        x = file["x"]
    np.savetxt("t.csv", np.c_[np.arange(60), x], delimiter=",", header="id,a1,a2,b", comments="", fmt="%.9g")
    for arguments in (["--input", "x=t.csv", "--columns", "x=a*, b"], ["--input", "x=net.npz", "--batch", 11]):
        assert dlc("run", classifier, *arguments, "-o", "out.csv").code == 0
        with open("out.csv", newline="") as file:
            head, *rows = csv.reader(file)
        assert head == ["output.no", "output.yes, it is", "label", "probability"]
        assert len(rows) == 60
        scores = np.array([row[:2] for row in rows], float)
        assert [row[2] for row in rows] == [NAMED[index] for index in scores.argmax(axis=1)]
    assert "E0912" in dlc("run", classifier, "--input", "x=t.csv").err  # four columns are too many


def test_batches_give_what_one_run_gives(dlc: Callable[..., Any], classifier: Path) -> None:
    import dlc as python

    with np.load("net.npz") as file:
        x = file["x"]
    for name in ("out.npy", "out.npz"):
        assert dlc("run", classifier, "--input", "x=net.npz", "--batch", 7, "-o", name, "--threads", 1).code == 0
    session = python.InferenceSession(classifier, threads=1)
    assert session.labels == NAMED
    session.warm_up({"x": x[:1]})
    parts = [part["output"] for part in session.batches({"x": x}, rows=7)]
    assert list(map(len, parts)) == [7] * 8 + [4]
    assert np.array_equal(np.load("out.npy"), np.concatenate(parts))
    assert np.array_equal(np.load("out.npz")["output"], np.concatenate(parts))
    np.testing.assert_allclose(np.concatenate(parts), session.run({"x": x})["output"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ('{"x": [1, 2, 3]}\n{"x": [1, 2]}\n', "E0616", "line 2 of standard input: `x` has the shape [2], and a row"),
        ('{"x": 1}', "E0616", 'such as {"x": […]}, where x is f32[3]\n'),
        ('\n{"x": [1, [2], 3]}', "E0616", "line 2 of standard input: `x` has lists of different lengths"),
        ('{"x": [1, 2, NaN]}', "E0616", "line 1 of standard input: NaN is no number in JSON"),
        ('{"x": [1, 2, ' + "9" * 5000 + "]}", "E0616", "line 1 of standard input: a number in it has too many digits"),
        ('{"x": [1, 2, 1e99]}', "E0616", "does not fit into f32"),
        ('{"x": ["a", 2, 3]}', "E0616", "`x` takes numbers (f32)"),
        ('{"y": [1, 2, 3]}', "E0616", "there is no `x` in it, but `y`"),
        ("[1, 2, 3]", "E0616", "it is no object with the inputs by name"),
        ('{"x": [1, 2', "E0616", "it is no JSON"),
        ('{"x": ' + "[" * 100_000, "E0616", "its lists are too deep"),
        ("\n", "E0618", "there is no line in standard input"),
    ],
)
def test_bad_lines(
    dlc: Callable[..., Any], model: Path, monkeypatch: pytest.MonkeyPatch, text: str, code: str, said: str
) -> None:
    lines_in(monkeypatch, text)
    Path("out.jsonl").write_text("old")
    outcome = dlc("run", model, "--jsonl", "-", "-o", "out.jsonl")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith(f"error[{code}]: ")
    assert said in outcome.err
    assert Path("out.jsonl").read_text() == "old"


def test_bad_rows_of_a_table_are_named(dlc: Callable[..., Any], model: Path) -> None:
    Path("t.csv").write_text("a,b,c\n1,2,3\n1,oops,3\n")
    outcome = dlc("run", model, "--input", "x=t.csv")
    assert outcome.code == 1
    assert "line 3, column b: 'oops' is not a number" in outcome.err
    assert outcome.err.endswith("= help: mend the file\n")  # rows can't be left out here, so nothing says so


def test_columns_of_text_are_left_out_by_name(dlc: Callable[..., Any], model: Path) -> None:
    Path("t.csv").write_text("a,b,kind,c\n1,2,red,3\n1,2,blue,3\n")
    outcome = dlc("run", model, "--input", "x=t.csv")
    assert outcome.err.endswith("or take the columns of numbers alone: dlc run … --columns 'x=a,b,c'\n")
    assert dlc("run", model, "--input", "x=t.csv", "--columns", "x=a,b,c").code == 0


def test_a_folder_is_no_model_but_may_hold_one(dlc: Callable[..., Any], model: Path) -> None:
    for command in (("run",), ("bench",), ("show",), ("deploy", "--to", "triton", "made")):
        outcome = dlc(*command, ".")
        assert (outcome.code, outcome.err) == (
            1, "error[E0905]: cannot read .: it is a folder\n  = help: name the file in it: net.onnx\n"
        )  # fmt: skip


def test_pictures(dlc: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pillow = pytest.importorskip("PIL.Image")
    monkeypatch.chdir(tmp_path)
    Path("dark.dl").write_text("model Dark(image: u8[N, 2, 3]) -> f32[N, 6] {\n    cast(f32) -> flatten\n}\n")
    assert dlc("compile", "dark.dl").code == 0
    pixels = np.random.default_rng(0).integers(0, 256, (3, 2, 3), np.uint8)
    Path("many").mkdir()
    for number, picture in enumerate(pixels):
        pillow.fromarray(picture).save(f"many/{number}.png")
    assert dlc("run", "dark.onnx", "--input", "image=many", "-o", "out.npy", "--batch", 2).code == 0
    assert np.array_equal(np.load("out.npy"), pixels.reshape(3, 6))
    outcome = dlc("run", "dark.onnx", "--input", "image=many/1.png", "-o", "-")
    assert outcome.code == 0
    assert json.loads(outcome.out)["output"] == pixels[1].ravel().tolist()
    pillow.fromarray(pixels[0].repeat(2, 0)).save("tall.png")
    refused = dlc("run", "dark.onnx", "--input", "image=tall.png").err
    assert "it is 4 by 3 pixels, not 2 by 3" in refused
    assert refused.endswith("= help: bring them to one size, --resize crop or stretch, or mend or remove them\n")
    assert dlc("run", "dark.onnx", "--input", "image=tall.png", "--resize", "stretch").code == 0


@pytest.mark.parametrize("few", [True, False], ids=["read at once", "read in parts"])
def test_pictures_with_their_channels_last_from_all_folders(
    dlc: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few: bool
) -> None:
    pillow = pytest.importorskip("PIL.Image")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("runtime.data.readers.images.holds", lambda size: few)
    Path("last.dl").write_text("model Last(image: u8[N, 5, 2, 3]) -> f32[N, 30] {\n    cast(f32) -> flatten\n}\n")
    assert dlc("compile", "last.dl").code == 0
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 2, 3), np.uint8)
    Path("all/deep/er").mkdir(parents=True)
    Path("all/.hidden").mkdir()
    for name, picture in zip(("a.png", "deep/b.png", "deep/er/c.png"), pixels, strict=True):
        pillow.fromarray(picture).save(f"all/{name}")
    Path("all/.hidden/d.png").write_bytes(b"")
    assert dlc("run", "last.onnx", "--input", "image=all", "-o", "out.npy", "--batch", 2).code == 0
    assert np.array_equal(np.load("out.npy"), pixels.reshape(3, 30))


def test_options_that_do_not_go_together(dlc: Callable[..., Any], model: Path) -> None:
    assert dlc("run", model, "--jsonl", "-", "--input", "x=net.npz").code == 2
    assert dlc("run", model, "--columns", "x=a").code == 2
