"""The data to begin with: shapes, kinds and ranges, and that it is always the same."""

from __future__ import annotations

import numpy as np

from runtime.data.samples import shapes, spirals


def test_spirals() -> None:
    arrays = spirals()
    assert (arrays["x"].shape, arrays["x"].dtype) == ((600, 2), np.float32)
    assert (arrays["label"].shape, arrays["label"].dtype) == ((600,), np.int64)
    assert np.abs(arrays["x"]).max() < 1.5
    assert np.bincount(arrays["label"].astype(np.int64)).tolist() == [200, 200, 200]
    np.testing.assert_array_equal(arrays["x"], spirals()["x"])


def test_shapes() -> None:
    arrays = shapes()
    image, label = arrays["image"].astype(np.float64), arrays["label"]
    assert (image.shape, arrays["image"].dtype, label.dtype) == ((600, 1, 12, 12), np.float32, np.int64)
    # A square has 25 cells, a cross 9 and a ring 16.
    sizes = [np.mean((image[label == index] > 0.5).sum(axis=(1, 2, 3))) for index in range(3)]
    np.testing.assert_allclose(sizes, [25, 9, 16], atol=1.5)
    np.testing.assert_array_equal(image, shapes()["image"])
