"""Small data to begin with, drawn by formulas: the same on every machine that has the same NumPy."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Arrays: TypeAlias = dict[str, npt.NDArray[np.generic]]

_CLASSES = 3
_SIDE = 12  # of an image


def spirals(count: int = 600) -> Arrays:
    """Points on three spiral arms: ``x`` f32[count, 2] within 1.5 of the origin, and ``label`` i64[count], their
    arms."""
    random = np.random.default_rng(0)
    label = np.arange(count) % _CLASSES
    along = random.uniform(0.1, 1, count)
    angle = 2 * np.pi * label / _CLASSES + 4 * along + random.normal(0, 0.1, count)
    x = along[:, np.newaxis] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return {"x": x.astype(np.float32), "label": label.astype(np.int64)}


def shapes(count: int = 600) -> Arrays:
    """Noisy images of squares, crosses and rings at random places: ``image`` f32[count, 1, 12, 12], about 0 to 1, and
    ``label`` i64[count], 0 to 2 in this order."""
    random = np.random.default_rng(0)
    label = np.arange(count) % _CLASSES
    row, column = np.indices((_SIDE, _SIDE))
    places = random.integers(3, _SIDE - 3, (count, 2))
    down, right = (np.abs(axis - places[:, at, np.newaxis, np.newaxis]) for at, axis in enumerate((row, column)))
    square = (down <= 2) & (right <= 2)
    cross = square & ((down == 0) | (right == 0))
    ring = square & ((down == 2) | (right == 2))
    drawn = np.choose(label[:, np.newaxis, np.newaxis], [square, cross, ring])
    image = drawn + random.normal(0, 0.2, drawn.shape)
    return {"image": image[:, np.newaxis].astype(np.float32), "label": label.astype(np.int64)}
