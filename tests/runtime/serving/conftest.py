"""Small models that are served."""

from __future__ import annotations

from pathlib import Path

import pytest

import dlc
from compiler.targets.onnx.file import with_metadata
from runtime.inference.session import Session

# Integers, floats, several outputs, indices that may be out of range, a batch that is mixed, no batch at all.
TEXT = """\
model Net(x: f32[N, 3], k: i64[N]) -> (scores: f32[N, 4], twice: f32[N, 3]) {
    words = k -> embed(7, 3)
    scores = x + words -> dense(4)
    twice = x * 2
    (scores, twice)
}

model Images(image: u8[N, 2, 2]) -> f32[N, 3] {
    cast(f32) / 16
    flatten
    dense(3)
}

model Steps(x: f32[N, T, 2]) -> f32[N, T, 3] {
    dense(3)
}

model Mixed(x: f32[N, 3]) -> f32[N, 3] {
    it - mean(it, 0, keep=true)
}

model One(x: f32[3]) -> f32[3] {
    it * 2
}
"""


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an ONNX file for each model of the text, in small letters; ``images.onnx`` names its classes."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("Net", "Images", "Steps", "Mixed", "One"):
        dlc.loads(TEXT, model=name).export(folder / f"{name.lower()}.onnx")
    images = folder / "images.onnx"
    images.write_bytes(with_metadata(images.read_bytes(), {"dlc.labels": '["cat", "dog", "größer"]'}))
    return folder


@pytest.fixture
def net(models: Path) -> Session:
    return Session(models / "net.onnx")
