"""Pictures: read back by hand, as the format is simple without filters."""

import struct
import zlib

import numpy as np
import pytest

from runtime.disk.png import png


def chunks(data: bytes) -> dict[bytes, bytes]:
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    found, place = {}, 8
    while place < len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        kind, content = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        (check,) = struct.unpack(">I", data[place + 8 + length : place + 12 + length])
        assert check == zlib.crc32(kind + content)
        found[kind] = content
        place += 12 + length
    return found


@pytest.mark.parametrize("shape", [(3, 5), (4, 2, 1), (2, 3, 2), (2, 3, 3), (1, 1, 4)])
def test_it_reads_back(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    found = chunks(png(pixels))
    width, height, depth, kind, *rest = struct.unpack(">IIBBBBB", found[b"IHDR"])
    channels = shape[2] if len(shape) == 3 else 1
    assert (height, width, depth, rest) == (*shape[:2], 8, [0, 0, 0])
    assert kind == {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = np.frombuffer(zlib.decompress(found[b"IDAT"]), np.uint8).reshape(height, 1 + width * channels)
    assert not rows[:, 0].any()
    assert np.array_equal(rows[:, 1:].reshape(shape), pixels)


def test_another_reader_agrees() -> None:
    image = pytest.importorskip("PIL.Image")
    import io

    pixels = np.random.default_rng(1).integers(0, 256, (7, 9, 3)).astype(np.uint8)
    assert np.array_equal(np.asarray(image.open(io.BytesIO(png(pixels)))), pixels)


@pytest.mark.parametrize("pixels", [np.zeros((2, 2)), np.zeros((0, 2), np.uint8), np.zeros((2, 2, 5), np.uint8)])
def test_what_is_no_picture(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="a picture"):
        png(pixels)
