"""Arrays as PNG pictures (https://www.w3.org/TR/png/): eight bits a channel, no filters."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from runtime.disk.tensors import Array

# The colour types of PNG by the number of channels: grey, grey with alpha, colours, colours with alpha.
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}


def png(pixels: Array) -> bytes:
    """The PNG file of u8[H, W] or u8[H, W, C], with 1 to 4 channels; equal arrays give equal bytes.

    Raises ValueError for an array of another type or shape.
    """
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or 0 in pixels.shape:
        raise ValueError(f"a picture is u8[H, W] or u8[H, W, C], not {pixels.dtype}{list(pixels.shape)}")
    height, width = pixels.shape[:2]
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    if channels not in _COLOUR_TYPES:
        raise ValueError(f"a picture has 1 to 4 channels, not {channels}")
    rows = np.zeros((height, 1 + width * channels), np.uint8)  # each begins with the number of its filter, 0: none
    rows[:, 1:] = pixels.reshape(height, width * channels)
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in parts)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
