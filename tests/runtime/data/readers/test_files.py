"""Arrays in NumPy's files and in IDX, whole and row by row."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.diagnostics import DiagnosticError
from compiler.sources import DataPath, DataSource
from runtime.data import memory
from runtime.data.columns import ArrayOrColumn, blocks, gather
from runtime.data.filerows import FileRows
from runtime.data.sources import load_arrays

IMAGES = np.arange(5 * 2 * 3, dtype=np.uint8).reshape(5, 2, 3)


def idx(array: np.ndarray[Any, Any]) -> bytes:
    """The array as an IDX file."""
    code = {"u1": 8, "i1": 9, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}[array.dtype.str[1:]]
    sizes = np.array(array.shape, ">u4").tobytes()
    return bytes([0, 0, code, array.ndim]) + sizes + array.astype(array.dtype.newbyteorder(">")).tobytes()


def files(**paths: str) -> DataSource:
    return DataSource("files", {}, inputs={name: DataPath(path) for name, path in paths.items()})


@pytest.fixture
def tight(monkeypatch: pytest.MonkeyPatch) -> None:
    """No array fits into the memory."""
    monkeypatch.setattr(memory, "_HELD", 0)


def content(array: ArrayOrColumn) -> np.ndarray[Any, Any]:
    return gather(array, np.arange(len(array)))


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_idx(tmp_path: Path, dtype: str, compress: Callable[[bytes], bytes]) -> None:
    array = IMAGES.astype(dtype)
    (tmp_path / "images-idx3-ubyte.gz").write_bytes(compress(idx(array)))
    found = load_arrays(files(image="images-idx3-ubyte.gz"), folder=tmp_path)["image"]
    np.testing.assert_array_equal(found, array, strict=True)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda whole: whole[:30], "it ends after 14 of 30 bytes of its array"),
        (lambda whole: whole[:9], "it ends before its array begins"),
        (lambda whole: gzip.compress(whole[:30]), "it ends after 14 of 30 bytes of its array"),
        (lambda whole: b"\x01" + whole[1:], "it is no IDX file"),
        (lambda whole: gzip.compress(whole)[:40], "it is truncated or damaged"),
        (lambda whole: b"", "it is no IDX file"),
    ],
)
def test_damaged_idx(tmp_path: Path, spoil: Callable[[bytes], bytes], why: str) -> None:
    (tmp_path / "a.gz").write_bytes(spoil(idx(IMAGES)))
    with pytest.raises(DiagnosticError, match="E0602") as caught:
        load_arrays(files(image="a.gz"), folder=tmp_path)["image"]
    assert f"a.gz: {why}" in str(caught.value)


def test_npy_of_each_input(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", IMAGES)
    np.save(tmp_path / "y.npy", np.arange(5))
    arrays = load_arrays(files(image="x.npy", label="y.npy"), folder=tmp_path)
    assert list(arrays) == ["image", "label"]
    np.testing.assert_array_equal(arrays["image"], IMAGES, strict=True)
    assert list(load_arrays("x.npy", folder=tmp_path)) == ["x"]
    with pytest.raises(DiagnosticError, match=r"there is no file .*z\.npy"):
        load_arrays(files(image="z.npy"), folder=tmp_path)


def test_npz_under_other_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "mnist.npz", x_train=IMAGES, y=np.arange(5))
    source = DataSource("npz", {"path": DataPath("mnist.npz")}, inputs={"image": "x_train"})
    arrays = load_arrays(source, folder=tmp_path)
    assert set(arrays) == {"image", "x_train", "y"}
    np.testing.assert_array_equal(arrays["image"], IMAGES, strict=True)
    with pytest.raises(DiagnosticError, match="there is no array `x_tain` in it"):
        load_arrays(DataSource("npz", source.arguments, inputs={"image": "x_tain"}), folder=tmp_path)


def test_asking_for_a_name_reads_nothing(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.array([{}], object))
    (tmp_path / "y.npy").write_bytes(b"spoilt")
    for arrays, name in (
        (load_arrays("x.npz", folder=tmp_path), "x"),
        (load_arrays(DataSource("npz", {"path": DataPath("x.npz")}, inputs={"z": "x"}), folder=tmp_path), "z"),
        (load_arrays(files(y="y.npy"), folder=tmp_path), "y"),
    ):
        assert name in arrays
        assert name in arrays.content
        assert "other" not in arrays.content
        with pytest.raises(DiagnosticError):
            arrays[name]


@pytest.mark.usefixtures("tight")
class TestLargerThanMemory:
    def check(self, found: ArrayOrColumn, wanted: np.ndarray[Any, Any]) -> None:
        assert isinstance(found, FileRows)
        assert (found.shape, found.ndim, len(found)) == (wanted.shape, wanted.ndim, len(wanted))
        np.testing.assert_array_equal(content(found), wanted)
        rows = np.array([3, 4, 0, 1, 1])
        np.testing.assert_array_equal(gather(found, rows), wanted[rows])
        np.testing.assert_array_equal(gather(found, rows[:0]), wanted[:0])
        np.testing.assert_array_equal(np.concatenate([block for _, block in blocks(found)]), wanted)
        as_floats = found.cast(np.dtype(np.float32))
        np.testing.assert_array_equal(gather(as_floats, rows), wanted[rows].astype(np.float32), strict=True)

    @pytest.mark.parametrize("array", [IMAGES, IMAGES.astype(">f4"), np.arange(5.0)], ids=["u8", "foreign", "1-d"])
    def test_npy_and_npz(self, tmp_path: Path, array: np.ndarray[Any, Any]) -> None:
        np.save(tmp_path / "x.npy", array)
        np.savez(tmp_path / "x.npz", other=np.zeros(7), x=array)
        self.check(load_arrays("x.npy", folder=tmp_path)["x"], array)
        self.check(load_arrays("x.npz", folder=tmp_path)["x"], array)

    def test_idx(self, tmp_path: Path) -> None:
        (tmp_path / "x").write_bytes(idx(IMAGES.astype("i2")))
        self.check(load_arrays(files(x="x"), folder=tmp_path)["x"], IMAGES.astype("i2"))

    def test_what_is_compressed_cannot_stay(self, tmp_path: Path) -> None:
        np.savez_compressed(tmp_path / "x.npz", x=IMAGES)
        (tmp_path / "x.gz").write_bytes(gzip.compress(idx(IMAGES)))
        with pytest.raises(DiagnosticError, match=r"np.savez instead of np.savez_compressed"):
            load_arrays("x.npz", folder=tmp_path)["x"]
        with pytest.raises(DiagnosticError, match="gunzip"):
            load_arrays(files(x="x.gz"), folder=tmp_path)["x"]

    def test_column_after_column_is_read_whole(self, tmp_path: Path) -> None:
        np.save(tmp_path / "x.npy", np.asfortranarray(IMAGES))
        np.testing.assert_array_equal(load_arrays("x.npy", folder=tmp_path)["x"], IMAGES)

    def test_objects_are_refused(self, tmp_path: Path) -> None:
        np.save(tmp_path / "x.npy", np.array([{}], object))
        with pytest.raises(DiagnosticError, match="E0604"):
            load_arrays("x.npy", folder=tmp_path)["x"]

    @pytest.mark.parametrize("name", ["x.npy", "x"])
    def test_a_file_that_is_too_short(self, tmp_path: Path, name: str) -> None:
        np.save(tmp_path / "x.npy", IMAGES)
        (tmp_path / "x").write_bytes(idx(IMAGES))
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[:-1])
        with pytest.raises(DiagnosticError, match=r"E0602.*(truncated|ends after 29 of 30)"):
            load_arrays(files(x=name), folder=tmp_path)["x"]

    def test_a_file_that_is_cut_short_meanwhile(self, tmp_path: Path) -> None:
        np.save(tmp_path / "x.npy", IMAGES)
        found = load_arrays("x.npy", folder=tmp_path)["x"]
        with open(tmp_path / "x.npy", "r+b") as file:
            file.truncate(128 + 13)
        with pytest.raises(DiagnosticError, match=r"x\.npy: it ends in row 2"):
            content(found)


@given(place=st.integers(0, 45), byte=st.integers(0, 255), cut=st.integers(0, 46), compress=st.booleans())
def test_a_damaged_idx_is_an_array_or_a_diagnostic(
    tmp_path_factory: pytest.TempPathFactory, place: int, byte: int, cut: int, compress: bool
) -> None:
    whole = bytearray(idx(IMAGES))
    whole[place] = byte
    folder = tmp_path_factory.mktemp("damaged", numbered=True)
    (folder / "x").write_bytes(gzip.compress(bytes(whole[:cut])) if compress else bytes(whole[:cut]))
    with suppress(DiagnosticError):
        assert len(load_arrays(files(x="x"), folder=folder)["x"]) >= 0


def test_what_the_process_may_take(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    group = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "_CONTROL_GROUPS", (group,))
    group.write_text("max\n")
    whole = memory.allowance()
    group.write_text("8000000\n")
    assert memory.allowance() == 8_000_000 < whole
    assert memory.holds(1_000_000)
    assert not memory.holds(1_000_001)
    monkeypatch.setattr(resource, "getrlimit", lambda which: (4_000_000, 4_000_000))
    assert memory.allowance() == 4_000_000


def test_a_file_of_npy_in_memory_is_not_an_idx(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, IMAGES)
    (tmp_path / "images").write_bytes(buffer.getvalue())
    np.testing.assert_array_equal(load_arrays(files(x="images"), folder=tmp_path)["x"], IMAGES)
