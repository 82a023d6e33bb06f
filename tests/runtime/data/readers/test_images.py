"""Folders of pictures: classes, colours, sizes, and pictures that can't be read."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dlc
from compiler.diagnostics import DiagnosticError
from compiler.front.catalogue import entries
from compiler.ir.dims import symbol
from compiler.ir.types import DType, TensorType
from compiler.sources import DataPath
from runtime.data import memory
from runtime.data.columns import Column, gather
from runtime.data.readers import Request
from runtime.data.sources import load_arrays

pillow = pytest.importorskip("PIL.Image")

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 3, 3), np.uint8)


def colour(*shape: int) -> Request:
    return Request(inputs={"image": TensorType(DType.U8, (symbol("N"), *shape))})


def save(path: Path, pixels: np.ndarray[Any, Any], **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pillow.fromarray(pixels).save(path, **options)


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    folder = tmp_path / "flowers"
    for number, name in enumerate(["tulip/b.png", "rose/a.png", "rose/deep/c.bmp", "tulip/a.png"]):
        save(folder / name, np.full((4, 3, 3), 10 * number, np.uint8))
    return folder


def read(folder: Path, request: Request, **options: Any) -> Any:
    source = entries("reader")["images"].build(path=DataPath(folder.name), **options)
    return load_arrays(source, folder=folder.parent, request=request).content


def test_a_folder_for_each_class(flowers: Path) -> None:
    content = read(flowers, colour(3, 4, 3))
    assert content.names == {"label": ("rose", "tulip")}
    assert content["label"].tolist() == [0, 0, 1, 1]
    found = gather(content["image"], np.arange(4))
    assert found.shape == (4, 3, 4, 3)
    assert found[:, 0, 0, 0].tolist() == [10, 20, 30, 0]


def test_channels_come_first(tmp_path: Path) -> None:
    save(tmp_path / "one" / "a.png", PIXELS)
    found = gather(read(tmp_path / "one", colour(3, 4, 3))["image"], np.arange(1))
    np.testing.assert_array_equal(found[0], PIXELS.transpose(2, 0, 1))


@pytest.mark.parametrize("shape", [(4, 3), (1, 4, 3)])
def test_shades_of_grey(tmp_path: Path, shape: tuple[int, ...]) -> None:
    save(tmp_path / "grey" / "a.png", PIXELS[..., 0])
    content = read(tmp_path / "grey", colour(*shape))
    assert list(content) == ["image"]
    np.testing.assert_array_equal(gather(content["image"], np.arange(1))[0], PIXELS[..., 0].reshape(shape))


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    save(tmp_path / "deep" / "a.png", np.arange(12, dtype=np.uint16).reshape(4, 3) * 5461)
    found = gather(read(tmp_path / "deep", colour(4, 3))["image"], np.arange(1))[0]
    np.testing.assert_array_equal(found.ravel(), np.arange(12) * 5461 >> 8)


def test_without_a_type_the_first_picture_tells(flowers: Path) -> None:
    assert read(flowers, Request())["image"].shape == (4, 3, 4, 3)
    save(flowers.parent / "grey" / "a.png", PIXELS[..., 0])
    assert read(flowers.parent / "grey", Request())["image"].shape == (1, 4, 3)


def test_another_size(flowers: Path) -> None:
    save(flowers / "rose" / "large.png", np.full((8, 8, 3), 7, np.uint8))
    with pytest.raises(DiagnosticError) as caught:
        read(flowers, colour(3, 4, 3))
    report = str(caught.value)
    assert "E0616" in report
    assert "1 of 5 pictures can't be used: rose/large.png: it is 8 by 8 pixels, not 4 by 3" in report
    assert "images(…, resize=crop)" in report
    for how in ("stretch", "crop"):
        content = read(flowers, colour(3, 4, 3), resize=how)
        assert (gather(content["image"], np.arange(5))[2] == 7).all()


def test_damaged_pictures_are_named_or_counted(flowers: Path) -> None:
    whole = (flowers / "rose" / "a.png").read_bytes()
    (flowers / "rose" / "cut.png").write_bytes(whole[:-30])
    (flowers / "tulip" / "text.jpg").write_text("no picture")
    (flowers / "tulip" / "notes.txt").write_text("nor this")
    with pytest.raises(DiagnosticError) as caught:
        read(flowers, colour(3, 4, 3))
    assert "2 of 6 pictures can't be used: rose/cut.png: it is damaged" in str(caught.value)
    assert "tulip/text.jpg: it is damaged or no picture" in str(caught.value)
    request = Request(inputs=colour(3, 4, 3).inputs, skip_bad=True)
    content = read(flowers, request)
    assert content.notes == (
        "1 file without a picture is left out",
        "2 pictures that can't be used are left out",
    )
    assert len(content["image"]) == 4
    assert content["label"].tolist() == [0, 0, 1, 1]


def test_many_stay_in_their_files(flowers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = gather(read(flowers, colour(3, 4, 3))["image"], np.array([3, 1]))
    monkeypatch.setattr(memory, "_HELD", 0)
    column = read(flowers, colour(3, 4, 3))["image"]
    assert isinstance(column, Column)
    np.testing.assert_array_equal(gather(column, np.array([3, 1])), here)
    (flowers / "tulip" / "b.png").write_text("spoilt")
    with pytest.raises(DiagnosticError, match=r"b\.png: it is damaged or no picture, though it could"):
        gather(column, np.arange(4))


@pytest.mark.parametrize(
    ("change", "request_", "code", "why"),
    [
        (lambda folder: save(folder / "loose.png", PIXELS), colour(3, 4, 3), "E0602", "such as loose.png"),
        (lambda folder: None, colour(2, 4, 3), "E0602", "a picture has 1, 3 or 4 channels"),
        (lambda folder: None, colour(12), "E0602", "pictures have a height and a width"),
        (lambda folder: None, Request(names={"label": ("rose",)}), "E0617", "the class tulip is none of those"),
    ],
)
def test_mistakes(flowers: Path, change: Callable[[Path], None], request_: Request, code: str, why: str) -> None:
    change(flowers)
    with pytest.raises(DiagnosticError, match=code) as caught:
        read(flowers, request_)
    assert why in str(caught.value)


def test_nothing_there(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DiagnosticError, match="there are no pictures in it"):
        read(tmp_path / "empty", Request())


def test_without_pillow(flowers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(DiagnosticError, match="reading pictures needs Pillow") as caught:
        read(flowers, Request())
    assert "pip install 'dlc[images]'" in str(caught.value)


def test_a_run_from_pictures(flowers: Path) -> None:
    (flowers.parent / "net.dl").write_text("""\
model Net(image: u8[N, 3, 4, 3]) -> f32[N, 2] { cast(f32) / 255 -> flatten -> dense(2) }

train net(image: u8[N, 3, 4, 3], label: i64[N]) {
    minimize cross_entropy(Net(image), label) with adam
    data "flowers"
    validate stratified(50%)
    epochs 2
}
""")
    model = dlc.load(flowers.parent / "net.dl")
    model.fit()
    assert model.names == {"label": ("rose", "tulip")}
