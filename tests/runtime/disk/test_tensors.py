from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from compiler.diagnostics import DiagnosticError
from runtime.disk.tensors import read_tensors, write_tensors


def tensors() -> dict[str, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    return {
        "b.weight": rng.normal(size=(3, 5)).astype(np.float32),
        "a.half": rng.normal(size=7).astype(np.float16),
        "step": np.array(12, np.int64),
        "mask": np.array([True, False, True]),
        "empty": np.zeros((0, 4), np.float64),
        "turned": np.arange(6, dtype=np.int32).reshape(2, 3).T,
    }


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_tensors(tmp_path / "x.safetensors", tensors(), {"epoch": 3, "names": ["ä"]})
    read, metadata = read_tensors(tmp_path / "x.safetensors")
    assert metadata == {"epoch": 3, "names": ["ä"]}
    assert set(read) == set(tensors())
    for name, array in tensors().items():
        assert read[name].dtype == array.dtype
        assert read[name].shape == array.shape
        np.testing.assert_array_equal(read[name], array)


def test_the_library_reads_the_same_tensors(tmp_path: Path) -> None:
    write_tensors(tmp_path / "x", tensors(), {})
    loaded = safetensors.numpy.load_file(tmp_path / "x")
    assert set(loaded) == set(tensors())
    for name, array in tensors().items():
        np.testing.assert_array_equal(loaded[name], array, strict=True)


def test_the_library_would_write_the_same_bytes(tmp_path: Path) -> None:
    # For one element type, that is: it orders types of one size in a way of its own.
    floats = {"b": np.ones((2, 3), np.float32), "a": np.zeros(5, np.float32)}
    write_tensors(tmp_path / "x", floats, {"epoch": 1})
    with safetensors.safe_open(tmp_path / "x", "numpy") as file:
        metadata = file.metadata()
    assert (tmp_path / "x").read_bytes() == safetensors.numpy.save(floats, metadata)


def test_bfloat16_goes_through(tmp_path: Path) -> None:
    array = np.arange(5).astype(ml_dtypes.bfloat16)
    write_tensors(tmp_path / "x.safetensors", {"a": array}, {})
    read = read_tensors(tmp_path / "x.safetensors")[0]["a"]
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read.astype(np.float32), array.astype(np.float32))


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    backwards = dict(reversed(tensors().items()))
    write_tensors(tmp_path / "a", tensors(), {"epoch": 1})
    write_tensors(tmp_path / "b", backwards, {"epoch": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_file_of_another_program_has_no_metadata(tmp_path: Path) -> None:
    safetensors.numpy.save_file({"a": np.ones(2)}, tmp_path / "x", {"format": "pt"})
    read, metadata = read_tensors(tmp_path / "x")
    assert metadata == {}
    np.testing.assert_array_equal(read["a"], np.ones(2))


@pytest.mark.parametrize("length", [0, 5, 30, -8, -1])
def test_truncated_files(tmp_path: Path, length: int) -> None:
    path = tmp_path / "x.safetensors"
    write_tensors(path, tensors(), {})
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DiagnosticError) as caught:
        read_tensors(path)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "E0805"
    assert diagnostic.title == f"cannot read {path}: it is truncated, damaged or not a safetensors file"


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_tensors(path, tensors(), {})
    content = bytearray(path.read_bytes())
    content[-3] ^= 4
    path.write_bytes(content)
    with pytest.raises(DiagnosticError) as caught:
        read_tensors(path)
    assert str(caught.value) == (
        f"error[E0805]: cannot read {path}: its content does not match its checksum\n"
        "  = help: take another copy of the file, or train again without --resume"
    )


@pytest.mark.parametrize("damage", [(b'{\\"format', b'{\\"f\\"rmat'), (b'"{', b'"[')])
def test_damaged_metadata(tmp_path: Path, damage: tuple[bytes, bytes]) -> None:
    path = tmp_path / "x.safetensors"
    write_tensors(path, {"a": np.ones(2)}, {"format": 1})
    content = path.read_bytes()
    assert damage[0] in content
    path.write_bytes(content.replace(*damage).replace(b" ", b"", len(damage[1]) - len(damage[0])))
    with pytest.raises(DiagnosticError, match="E0805"):
        read_tensors(path)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(DiagnosticError, match="E0805"):
        read_tensors(tmp_path)
