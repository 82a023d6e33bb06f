"""Data files that can't be read: each with its exact report, at the place of the ``data`` statement."""

import os
from pathlib import Path

import numpy as np
import pytest

from compiler.diagnostics import DiagnosticError, Source, Span
from runtime.data.sources import load_arrays

SOURCE = Source("net.dl", 'train net(x: f32[N, 2]) {\n    data "digits.npz"\n}\n')
AT = SOURCE.span(35, 47)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    return tmp_path


def failure(path: str, *, ask: str | None = None, at: Span | None = AT) -> str:
    with pytest.raises(DiagnosticError) as caught:
        load_arrays(path, folder="model", at=at)[ask or ""]
    return str(caught.value)


def place(title: str, *footer: str) -> str:
    head = [f"error{title}", " --> net.dl:2:10", "  |", '2 |     data "digits.npz"', "  |          ^^^^^^^^^^^^"]
    return "\n".join([*head, "  |", *footer])


def test_reads_the_named_arrays(here: Path) -> None:
    np.savez(here / "model" / "digits.npz", x=np.ones((3, 2)), y=np.arange(3))
    arrays = load_arrays("digits.npz", folder="model")
    assert list(arrays) == ["x", "y"]
    assert len(arrays) == 2
    np.testing.assert_array_equal(arrays["y"], [0, 1, 2])
    assert "x" in arrays
    assert "z" not in arrays
    with pytest.raises(KeyError):
        arrays["z"]


def test_an_absolute_path_stays(here: Path) -> None:
    np.savez(here / "a.npz", x=np.ones(2))
    assert list(load_arrays(here / "a.npz", folder="model")) == ["x"]


def test_missing_with_a_near_name(here: Path) -> None:
    np.savez(here / "model" / "digit.npz", x=np.ones(2))
    np.savez(here / "model" / "other.npz", x=np.ones(2))
    (here / "model" / "readme.txt").touch()
    assert failure("digits.npz") == place(
        "[E0601]: there is no file model/digits.npz",
        "  = note: data files in model: digit.npz, other.npz",
        "  = help: did you mean digit.npz?",
    )


def test_missing_beside_the_model_file_but_in_the_current_folder(here: Path) -> None:
    np.savez(here / "digits.npz", x=np.ones(2))
    assert failure("digits.npz") == place(
        "[E0601]: there is no file model/digits.npz",
        "  = help: digits.npz exists in the current folder, but paths start at the folder of the model file",
    )


def test_missing_without_anything_near() -> None:
    assert failure("digits.npz", at=None) == (
        "error[E0601]: there is no file model/digits.npz\n  = help: see how the path is spelled"
    )


def test_missing_folder() -> None:
    assert failure("dta/digits.npz") == place(
        "[E0601]: there is no file model/dta/digits.npz",
        "  = help: there is no folder model/dta either: see how the path is spelled",
    )


def test_a_folder(here: Path) -> None:
    (here / "model" / "digits.npz").mkdir()
    assert failure("digits.npz") == place(
        "[E0602]: cannot read model/digits.npz: it is a folder", "  = help: name a file in it"
    )


@pytest.mark.parametrize(("name", "kind"), [("x.pkl", ".pkl"), ("x", "a name without an ending")])
def test_an_unknown_kind(here: Path, name: str, kind: str) -> None:
    (here / "model" / name).touch()
    assert failure(name) == place(
        f"[E0603]: cannot read model/{name}: {kind} is not a known kind of data file",
        "  = help: known kinds: .npz, .npy, .csv, IDX and folders of pictures; readers such as text(…) take others",
    )


@pytest.mark.parametrize("content", [b"", b"hello, world", b"PK\x03\x04 cut", b"\x80\x04K\x01."])
def test_not_an_npz(here: Path, content: bytes) -> None:
    (here / "model" / "digits.npz").write_bytes(content)
    assert failure("digits.npz") == place(
        "[E0602]: cannot read model/digits.npz: it is truncated, damaged or not an .npz file",
        "  = help: make the file again, or take another copy of it; np.load(path) reads it when it is whole",
    )


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_npz(here: Path, save: object, share: float) -> None:
    path = here / "model" / "digits.npz"
    np.savez(path, x=np.random.default_rng(0).normal(size=(200, 20)))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    assert "[E0602]: cannot read model/digits.npz: it is truncated, damaged" in failure("digits.npz")


def test_a_damaged_array(here: Path) -> None:
    path = here / "model" / "digits.npz"
    np.savez(path, x=np.zeros((200, 20)))
    content = bytearray(path.read_bytes())
    content[5000:5010] = b"0123456789"
    path.write_bytes(content)
    assert failure("digits.npz", ask="x") == place(
        "[E0602]: cannot read model/digits.npz: `x` in it is truncated or damaged (Bad CRC-32 for file 'x.npy')",
        "  = help: make the file again, or take another copy of it; np.load(path) reads it when it is whole",
    )


def test_a_header_that_promises_too_much(here: Path) -> None:
    path = here / "model" / "digits.npz"
    np.savez(path, x=np.zeros((200, 20)))
    path.write_bytes(path.read_bytes().replace(b"(200, 20)", b"(9**9, 1)"))
    assert "[E0602]" in failure("digits.npz", ask="x")


def test_a_single_array_without_a_name(here: Path) -> None:
    np.save(here / "a.npy", np.ones(3))
    os.rename(here / "a.npy", here / "model" / "digits.npz")
    assert failure("digits.npz") == place(
        "[E0602]: cannot read model/digits.npz: it holds a single array without a name, as np.save writes it",
        "  = help: write it with np.savez, or name it .npy and read it with files(INPUT=…)",
    )


def test_objects_are_never_unpickled(here: Path) -> None:
    objects = np.empty(2, object)
    objects[:] = [[1], [2, 3]]
    np.savez(here / "model" / "digits.npz", x=objects, y=np.ones(2))
    assert failure("digits.npz", ask="x") == place(
        "[E0604]: cannot read model/digits.npz: `x` holds Python objects, not numbers, and objects are never unpickled",
        "  = help: save numbers in one rectangular shape: np.savez(path, x=np.array(rows, dtype=np.float32))",
    )
    # One that nobody asks for does no harm.
    np.testing.assert_array_equal(load_arrays("digits.npz", folder="model")["y"], [1, 1])
