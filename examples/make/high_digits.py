"""Makes ``data/high_digits.npz``: the digits 5 to 9 of ``mnist.npz``, labelled 0 to 4.

``python examples/make/high_digits.py`` writes the same file each time.
"""

from __future__ import annotations

from pathlib import Path
from runpy import run_path
from typing import Any

import numpy as np
import numpy.typing as npt


def high_digits() -> dict[str, npt.NDArray[Any]]:
    made: dict[str, npt.NDArray[Any]] = run_path(str(Path(__file__).with_name("low_digits.py")))["five_digits"](5)
    return made


if __name__ == "__main__":
    np.savez_compressed(Path(__file__).parent.parent / "data" / "high_digits.npz", **high_digits())
