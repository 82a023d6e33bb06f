"""What `draw` writes: which values, in which files, and that a PNG reader sees what was drawn."""

from __future__ import annotations

import struct
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import compiler
from compiler.diagnostics import DiagnosticError, Source
from compiler.program import TrainProgram
from runtime.data.split import prepare
from runtime.disk.png import png
from runtime.programs.engine import Engine
from runtime.training.folder import open_run
from runtime.training.loop import Trainer
from runtime.training.pictures import pixels, tile
from runtime.training.progress import Progress, Silent

TEXT = """\
model Net(x: u8[N, 6, 6]) -> f32[N, 6, 6] {
    cast(f32) / 255 -> flatten
    dense(8) -> relu -> dropout(0.5) -> dense(36) -> sigmoid -> reshape(6, 6)
}

train net(x: u8[N, 6, 6]) {
    minimize mse(Net(x), cast(x, f32) / 255) with adam(3e-2)
    noise = Net(cast(uniform(3, 6, 6) * 255, u8))
    draw x, noise, rebuilt = Net(x)
    batch 8
    epochs EPOCHS
}
"""
NAMES = ("x", "noise", "rebuilt")


def train(
    out: Path, epochs: int, *, resume: bool = False, statements: str = "", progress: Progress | None = None
) -> Trainer:
    text = TEXT.replace("EPOCHS", f"{epochs}\n{statements}")
    compiled: TrainProgram = compiler.compile_train(compiler.check(Source("net.dl", text)), "net")
    images = np.random.default_rng(0).integers(0, 256, (20, 6, 6)).astype(np.uint8)
    splits = prepare(compiled, {"x": images})
    with open_run("net", out=out, resume=resume) as run:
        engine = partial(Engine, compiler.train_module(compiled))
        trainer = Trainer(compiled, engine, splits, run=run, resume=resume, progress=progress)
        trainer.fit()
    return trainer


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "pictures").iterdir()}


def read_png(content: bytes) -> np.ndarray:
    """An independent reading of a PNG file without filters."""
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    parts, place = {}, 8
    while place < len(content):
        length, kind = struct.unpack(">I4s", content[place : place + 8])
        body = content[place + 8 : place + 8 + length]
        assert struct.unpack(">I", content[place + 8 + length :][:4])[0] == zlib.crc32(kind + body)
        parts[kind], place = body, place + 12 + length
    width, height, depth, colour = struct.unpack(">IIBB", parts[b"IHDR"][:10])
    assert depth == 8
    channels = {0: 1, 2: 3}[colour]
    lines = np.frombuffer(zlib.decompress(parts[b"IDAT"]), np.uint8).reshape(height, -1)
    assert not lines[:, 0].any()
    return lines[:, 1:].reshape(height, width, channels)


def test_every_epoch_draws_every_picture(tmp_path: Path) -> None:
    train(tmp_path, 3)
    assert set(contents(tmp_path)) == {f"{name}-000{epoch}.png" for name in NAMES for epoch in (1, 2, 3)}


def test_pictures_show_the_same_samples_and_the_same_noise_without_dropout(tmp_path: Path) -> None:
    trainer = train(tmp_path, 2, statements="validate 25%")
    drawn = contents(tmp_path)
    assert drawn["x-0001.png"] == drawn["x-0002.png"]
    assert drawn["rebuilt-0001.png"] != drawn["rebuilt-0002.png"]
    again = trainer.engine.call("pictures", {"x": trainer.splits.train.arrays["x"][:5]})["noise"].copy()
    trainer.engine.kept["step"][...] = 77
    later = trainer.engine.call("pictures", {"x": trainer.splits.train.arrays["x"][:5]})["noise"]
    np.testing.assert_array_equal(again, later)
    validation = trainer.splits.validation
    assert validation is not None
    first = read_png(drawn["x-0001.png"])[2:50:8, 2:50:8, 0]
    np.testing.assert_array_equal(first, validation.arrays["x"][validation.rows[0]])


def test_a_resumed_run_draws_the_same(tmp_path: Path) -> None:
    train(tmp_path / "whole", 4)
    train(tmp_path / "parts", 2)
    train(tmp_path / "parts", 4, resume=True)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_a_new_run_in_the_folder_begins_without_pictures(tmp_path: Path) -> None:
    train(tmp_path, 2)
    with open_run("net", out=tmp_path, overwrite=True) as run:
        assert list(run.pictures.iterdir()) == []


def test_a_folder_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "pictures").write_text("in the way")
    with pytest.raises(DiagnosticError, match="E0808"):
        train(tmp_path, 2)


def test_what_nothing_minimizes_is_drawn_with_its_first_weights(tmp_path: Path) -> None:
    text = TEXT.replace("EPOCHS", "1").replace("draw x", "draw other = Other(x)")
    text += "model Other(x: u8[N, 6, 6]) { cast(f32) -> flatten -> dense(36) -> reshape(6, 6) }\n"
    compiled = compiler.compile_train(compiler.check(Source("net.dl", text)), "net")
    assert compiled.models == ("Net", "Other")
    assert "Other.dense.weight" in {weight.name for weight in compiled.weights}


@pytest.mark.parametrize("shape", [(2, 5, 4), (2, 1, 5, 4), (2, 3, 5, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64])
def test_pixels_of_every_form(shape: tuple[int, ...], dtype: type) -> None:
    bright = np.arange(int(np.prod(shape)), dtype=np.uint8).reshape(shape)
    images = bright if dtype is np.uint8 else (bright / 255).astype(dtype)
    found = pixels(images)
    assert found.dtype == np.uint8
    expected = bright[..., np.newaxis] if len(shape) == 3 else bright.transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(found, expected)


def test_what_is_no_brightness_is_cut_off() -> None:
    images = np.array([[[-1.0, 2.0, np.nan, np.inf]]], np.float32)
    assert pixels(images)[0, 0, :, 0].tolist() == [0, 255, 0, 255]


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((1, 28, 28), (60, 60)),
        ((3, 64, 100), (68, 308)),
        ((9, 8, 8), (102, 402)),
        ((2, 56, 28), (116, 118)),
        ((2, 60, 1000), (64, 2006)),
    ],
)
def test_tiles(shape: tuple[int, ...], size: tuple[int, int]) -> None:
    images = np.full((*shape, 3), 200, np.uint8)
    sheet = tile(images)
    assert sheet.shape[:2] == size
    assert (sheet[:2] == 64).all()
    assert (sheet[2:50, 2:50] == 200).all()


def test_another_reader_sees_what_was_written(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (7, 5, 3)).astype(np.uint8)
    np.testing.assert_array_equal(read_png(png(image)), image)
    pillow = pytest.importorskip("PIL.Image")
    for channels, mode in ((1, "L"), (3, "RGB")):
        path = tmp_path / f"{mode}.png"
        path.write_bytes(png(image[..., :channels]))
        with pillow.open(path) as found:
            assert found.mode == mode
            np.testing.assert_array_equal(np.asarray(found).reshape(7, 5, channels), image[..., :channels])


def test_a_run_says_where_they_are(tmp_path: Path) -> None:
    notes: list[str] = []

    class Notes(Silent):
        def note(self, text: str) -> None:
            notes.append(text)

    train(tmp_path, 1, progress=Notes())
    assert notes == [f"pictures after every epoch go to {tmp_path / 'pictures'}"]
