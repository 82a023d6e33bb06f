"""What a train block draws: values as tiles of one picture, in PNG files that need no library."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from runtime.data.batches import Batches
from runtime.data.split import Splits
from runtime.disk.files import write_bytes
from runtime.disk.png import png
from runtime.disk.tensors import Array
from runtime.training.evaluation import Executor

# Samples that are drawn of what the data's own size counts, and tiles that stand side by side.
_SAMPLES, _COLUMNS = 64, 8
# Small images are magnified until their shorter side has as many pixels, or the longer one would have more than the
# second figure. Between two tiles are so many pixels, so dark.
_SHORT, _LONG = 48, 128
_GAP, _GREY = 2, 64


class Album:
    """The pictures of a run: files ``NAME-0003.png`` in ``folder``, each of ``NAME`` after epoch, or step, 3.

    They are drawn of the same samples every time, the first of those for validation or, where there are none, of
    those to train on: ``batch`` of them, but at most 64.
    """

    def __init__(self, folder: Path, splits: Splits, batch: int) -> None:
        self.folder = folder
        self._batches = Batches(splits.validation or splits.train, min(batch, _SAMPLES), seed=None)

    def draw(self, engine: Executor, place: int) -> None:
        """Writes the pictures that ``engine`` makes at this place, over those of a run before. Raises OSError."""
        self.folder.mkdir(exist_ok=True)
        for name, images in engine.call("pictures", self._batches.at(0, 0)).items():
            write_bytes(self.folder / f"{name}-{place:04d}.png", png(tile(pixels(images))))


def pixels(images: Array) -> Array:
    """Images u8, or floats from 0 to 1, ``[N, height, width]`` or ``[N, 1 or 3, height, width]``, as u8
    ``[N, height, width, 1 or 3]``. Floats beyond are cut off, and what is not a number is black."""
    if images.dtype != np.uint8:
        brightness = np.nan_to_num(images.astype(np.float32), nan=0.0)
        images = np.rint(np.clip(brightness, 0.0, 1.0) * 255.0).astype(np.uint8)
    return images[..., np.newaxis] if images.ndim == 3 else np.moveaxis(images, 1, -1)


def tile(images: Array) -> Array:
    """Images u8 ``[N, height, width, channels]`` side by side, eight in a row, with a grey line around each: u8
    ``[height, width, channels]``. Small ones are magnified by a whole number."""
    count, height, width, channels = images.shape
    scale = max(1, min(-(-_SHORT // min(height, width)), _LONG // max(height, width)))
    columns = min(count, _COLUMNS)
    rows = -(-count // columns)
    high, wide = scale * height + _GAP, scale * width + _GAP
    sheet = np.full((_GAP + rows * high, _GAP + columns * wide, channels), _GREY, np.uint8)
    for index, image in enumerate(images.repeat(scale, axis=1).repeat(scale, axis=2)):
        top, left = _GAP + index // columns * high, _GAP + index % columns * wide
        sheet[top : top + scale * height, left : left + scale * width] = image
    return sheet
