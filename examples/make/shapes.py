"""Makes ``data/shapes.npz``: pictures of ten shapes in flat colours, to be told apart.

``python examples/make/shapes.py`` writes the same file each time. Size, place, angle, the dark colour behind and the
bright one in front are chosen at random; a few lines and dots lie in every picture.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
SIZE, EACH = 64, 150


def polygon(x: Array, y: Array, corners: int, inner: float) -> Array:
    """A regular polygon of radius 1, or a star whose inner corners are at the radius ``inner``."""
    angle = np.mod(np.arctan2(x, -y), 2 * np.pi / corners) - np.pi / corners  # 0 is the middle of a side
    far, near = np.pi / corners, inner
    # The line from an outer corner at (far, 1) to the point of a side's middle at (0, near), in polar coordinates.
    across = np.hypot(x, y) * (np.sin(far - np.abs(angle)) / near + np.sin(np.abs(angle)))
    return across <= np.sin(far)


SHAPES: dict[str, Callable[[Array, Array], Array]] = {
    "disc": lambda x, y: np.hypot(x, y) <= 0.9,
    "ring": lambda x, y: np.abs(np.hypot(x, y) - 0.7) <= 0.22,
    "square": lambda x, y: np.maximum(np.abs(x), np.abs(y)) <= 0.75,
    "triangle": lambda x, y: polygon(x, y, 3, 0.5),
    "star": lambda x, y: polygon(x, y, 5, 0.42),
    "plus": lambda x, y: (np.minimum(np.abs(x), np.abs(y)) <= 0.27) & (np.maximum(np.abs(x), np.abs(y)) <= 0.9),
    "crescent": lambda x, y: (np.hypot(x, y) <= 0.95) & (np.hypot(x - 0.45, y) > 0.75),
    "heart": lambda x, y: (1.2 * x) ** 2 + (1.2 * (0.15 - y) - 0.8 * np.sqrt(np.abs(1.2 * x))) ** 2 <= 1.0,
    "stripes": lambda x, y: (np.hypot(x, y) <= 0.95) & (np.mod(2.6 * x, 1) < 0.5),
    "checks": lambda x, y: (
        (np.maximum(np.abs(x), np.abs(y)) <= 0.85) & ((np.mod(1.2 * x, 1) < 0.5) ^ (np.mod(1.2 * y, 1) < 0.5))
    ),
}


def picture(shape: Callable[[Array, Array], Array], random: np.random.Generator) -> Array:
    """One picture u8[3, SIZE, SIZE]."""
    background, colour = two_colours(random)
    image = np.broadcast_to(background, (SIZE, SIZE, 3)).copy()
    rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5
    for _ in range(random.integers(2, 6)):  # clutter: thin lines and dots
        x, y = turned(columns, rows, *random.uniform(0, SIZE, 2), random.uniform(0, 2 * np.pi))
        length, width = random.choice([1.6, 12.0]), 0.8
        image[(np.abs(x) <= length) & (np.abs(y) <= width)] = colour
    radius = random.uniform(15, 25)
    reach = (SIZE / 2 - radius) / 4
    x, y = turned(columns, rows, *random.uniform(SIZE / 2 - reach, SIZE / 2 + reach, 2), random.uniform(-0.35, 0.35))
    image[shape(x / radius, y / radius)] = colour
    return image.transpose(2, 0, 1)


def turned(columns: Array, rows: Array, left: float, top: float, angle: float) -> tuple[Array, Array]:
    """Coordinates around (left, top), turned by ``angle``."""
    x, y = columns - left, rows - top
    return x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)


def two_colours(random: np.random.Generator) -> tuple[Array, Array]:
    """A dark colour for the background and a bright one."""
    dark, bright = random.integers(0, 100, 3), random.integers(120, 256, 3)
    return dark.astype(np.uint8), bright.astype(np.uint8)


def shapes(seed: int = 0) -> dict[str, Array]:
    """``image`` u8[N, 3, SIZE, SIZE] and ``label`` i64[N], EACH pictures of each of the shapes."""
    random = np.random.default_rng(seed)
    label = random.permutation(np.repeat(np.arange(len(SHAPES)), EACH))
    kinds = list(SHAPES.values())
    return {"image": np.stack([picture(kinds[kind], random) for kind in label]), "label": label}


if __name__ == "__main__":
    np.savez_compressed(Path(__file__).parent.parent / "data" / "shapes.npz", **shapes())
