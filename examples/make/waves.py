"""Makes ``data/waves.npz``: time series to forecast, each the sum of two sine waves and noise.

``python examples/make/waves.py`` writes the same file each time. After A. Géron, Hands-on machine learning, chapter 15.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

SERIES, STEPS, NOISE = 1600, 100, 0.05


def waves(seed: int = 0) -> dict[str, np.ndarray]:
    """``series`` f16[SERIES, STEPS] and the value that follows each, ``following`` f16[SERIES, 1]."""
    random = np.random.default_rng(seed)
    time = np.arange(STEPS + 1) / STEPS
    total = random.normal(0, NOISE, (SERIES, STEPS + 1))
    for amplitude, slowest, fastest in ((0.5, 3, 8), (0.3, 8, 15)):
        frequency = random.uniform(slowest, fastest, (SERIES, 1))
        phase = random.uniform(0, 1, (SERIES, 1))
        total += amplitude * np.sin(2 * np.pi * (frequency * time + phase))
    values = total.astype(np.float16)
    return {"series": values[:, :-1], "following": values[:, -1:]}


if __name__ == "__main__":
    np.savez_compressed(Path(__file__).parent.parent / "data" / "waves.npz", **waves())
