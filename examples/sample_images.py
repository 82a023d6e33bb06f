"""Draws what an exported generator makes of noise, with ONNX Runtime alone.

``python examples/sample_images.py runs/gan/Generator.onnx -o digits.png --seed 1`` writes a picture with eight images
of each class, one row to a class; ``runs/vae/Decoder.onnx``, which knows no classes, gives 64 images. Every input of
floating-point numbers is given standard normal noise, every input of whole numbers the class.
"""

from __future__ import annotations

import argparse
import struct
import zlib
from pathlib import Path

import numpy as np
import onnxruntime

CLASSES, EACH, COUNT = 10, 8, 64
TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}


def sample(path: Path, seed: int) -> np.ndarray:
    """Images from 0 to 1, [N, height, width]: of each class in turn where the generator has an input for it.

    Raises ValueError for a model that takes anything but noise [N, D] and classes [N], or gives no grey images.
    """
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (result, *others), taken = session.get_outputs(), session.get_inputs()
    if any(len(one.shape) != (2 if one.type in TYPES else 1) for one in taken):
        given = ", ".join(f"{one.name} {one.shape}" for one in taken)
        raise ValueError(f"{path} takes {given}: a generator takes noise [N, D], and perhaps classes [N]")
    if others or len(result.shape) not in (3, 4) or result.shape[1:-2] not in ([], [1]):
        raise ValueError(f"{path} gives {result.name} {result.shape}: images are [N, height, width]")
    random = np.random.default_rng(seed)
    classes = any(one.type not in TYPES for one in taken)
    labels = np.repeat(np.arange(CLASSES), EACH) if classes else np.zeros(COUNT, np.int64)
    inputs = {}
    for one in taken:
        noise = one.type in TYPES
        values = random.standard_normal((len(labels), one.shape[1])) if noise else labels
        inputs[one.name] = values.astype(TYPES.get(one.type, np.int64))
    (images,) = session.run(None, inputs)
    return images.reshape(len(labels), *images.shape[-2:])


def sheet(images: np.ndarray) -> np.ndarray:
    """Images [N, height, width] from 0 to 1 side by side, EACH to a row, as u8 [rows * height, EACH * width]."""
    count, height, width = images.shape
    rows = images.reshape(count // EACH, EACH, height, width).transpose(0, 2, 1, 3)
    return np.rint(rows.clip(0, 1).reshape(-1, EACH * width) * 255).astype(np.uint8)


def write_png(path: Path, image: np.ndarray) -> None:
    """Writes u8 [height, width] as a grey PNG file, which takes no library."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width = image.shape
    lines = b"".join(b"\0" + line.tobytes() for line in image)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(lines, 9)) + chunk(b"IEND", b""))


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw what an exported generator makes of noise.")
    parser.add_argument("model", type=Path, help="an ONNX file such as runs/gan/Generator.onnx")
    parser.add_argument("-o", "--output", type=Path, default=Path("samples.png"), help="the picture to write")
    parser.add_argument("--seed", type=int, default=0, help="another one gives other images")
    given = parser.parse_args()
    if not given.model.is_file():
        parser.error(f"there is no file {given.model}")
    try:
        write_png(given.output, sheet(sample(given.model, given.seed)))
    except ValueError as mistake:
        parser.error(str(mistake))
    print(f"wrote {given.output}")


if __name__ == "__main__":
    main()
