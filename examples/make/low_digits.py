"""Makes ``data/low_digits.npz``: the digits 0 to 4 of ``mnist.npz``, and for ``high_digits.py`` others.

``python examples/make/low_digits.py`` writes the same file each time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
DATA = Path(__file__).parent.parent / "data"


def five_digits(first: int) -> dict[str, Array]:
    """The pictures of five digits from ``first`` on, labelled 0 to 4."""
    with np.load(DATA / "mnist.npz") as file:
        image, label = file["image"], file["label"]
    chosen = (label >= first) & (label < first + 5)
    return {"image": image[chosen], "label": label[chosen] - first}


def low_digits() -> dict[str, Array]:
    return five_digits(0)


if __name__ == "__main__":
    np.savez_compressed(DATA / "low_digits.npz", **low_digits())
