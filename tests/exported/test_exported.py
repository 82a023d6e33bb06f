"""Networks as other frameworks export them: they are imported, give the same, learn on with their first half frozen,
and are exported again. Where PyTorch is not installed, files that it made before stand for them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from runpy import run_path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import pytest

import dlc

Array = npt.NDArray[Any]
DATA = Path(__file__).with_name("data")
INPUTS = {
    **dict.fromkeys(("vgg16", "resnet", "mobilenet"), "image: f32[N, 3, 32, 32]"),
    "lstm": "tokens: i64[N, T]",
    "bert": "tokens: i64[N, T <= 24], mask: i64[N, T]",
    "keras": "image: f32[N, 32, 32, 3]",
}
NETWORKS = [(name, exporter) for name in INPUTS if name != "keras" for exporter in ("torchscript", "dynamo")]
TEXT = """
import "network.onnx" as Base

model Net({inputs}) -> f32[N, {classes}] {{ Base({names}) }}

train net({inputs}, label: i64[N]) {{
    {freeze}
    minimize cross_entropy(Net({names}), label) with sgd(0.05)
    batch 4
    steps 1
}}
"""


def model_of(folder: Path, name: str, freeze: str = "") -> dlc.Model:
    inputs = INPUTS[name]
    names = ", ".join(part.split(":")[0] for part in inputs.split(", ") if ":" in part)
    classes = 10 if "image" in inputs else 4
    path = folder / "net.dl"
    path.write_text(TEXT.format(inputs=inputs, names=names, classes=classes, freeze=freeze))
    return dlc.load(path)


def arguments(name: str, samples: int, length: int = 9) -> dict[str, Array]:
    random = np.random.default_rng(0)
    if "image" in INPUTS[name]:
        shape = (32, 32, 3) if name == "keras" else (3, 32, 32)
        return {"image": random.normal(size=(samples, *shape)).astype(np.float32)}
    found = {"tokens": random.integers(0, 20, (samples, length))}
    if name == "bert":
        found["mask"] = (np.arange(length) < random.integers(3, length + 1, (samples, 1))).astype(np.int64)
    return found


def run(path: Path, inputs: Mapping[str, Array]) -> Array:
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, dict(inputs))[0])


def close(found: Array, wanted: Array) -> None:
    """Within 1e-4 of the largest."""
    assert np.abs(wanted).max() > 0.01
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())


def learns(folder: Path, name: str, wanted: Array | None = None) -> None:
    """Hold the network in ``network.onnx`` of the folder against ONNX Runtime, before and after a step of training
    that leaves the first half of its weights as they are."""
    file = folder / "network.onnx"
    inputs = arguments(name, 5)
    fresh = model_of(folder, name)
    close(fresh.predict(inputs), run(file, inputs) if wanted is None else wanted)
    before = fresh.weights
    learned = [weight.name for weight in fresh.program.weights if weight.trainable]
    half = learned[: len(learned) // 2]
    model = model_of(folder, name, f"freeze {', '.join(half)}")
    model.fit({**arguments(name, 4), "label": np.arange(4)})
    after = model.weights
    moved = {key for key in before if not np.array_equal(before[key], after[key])}
    assert not moved & set(half)
    assert len(moved & set(learned)) >= 0.7 * (len(learned) - len(half))
    model.export(folder / "again.onnx")
    close(run(folder / "again.onnx", inputs), model.predict(inputs))
    assert np.abs(model.predict(inputs) - fresh.predict(inputs)).max() > 0


@pytest.mark.parametrize(("name", "exporter"), NETWORKS)
def test_networks_that_were_exported_before(tmp_path: Path, name: str, exporter: str) -> None:
    content = (DATA / f"{name}_{exporter}.onnx").read_bytes()
    (tmp_path / "network.onnx").write_bytes(content)
    learns(tmp_path, name)


@pytest.mark.parametrize(("name", "exporter"), NETWORKS)
def test_networks_as_they_are_exported_now(tmp_path: Path, name: str, exporter: str) -> None:
    torch = pytest.importorskip("torch")
    if exporter == "dynamo":
        pytest.importorskip("onnxscript")
    networks = run_path(str(Path(__file__).with_name("networks.py")), run_name="networks")
    network, _ = networks["export"](name, exporter, tmp_path / "network.onnx")
    with torch.no_grad():
        wanted = network(*map(torch.from_numpy, arguments(name, 5).values())).numpy()
    learns(tmp_path, name, wanted)


def test_the_network_that_keras_exported_before(tmp_path: Path) -> None:
    (tmp_path / "network.onnx").write_bytes((DATA / "keras.onnx").read_bytes())
    learns(tmp_path, "keras")


def test_a_network_as_keras_exports_it_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for needed in ("torch", "onnxscript"):
        pytest.importorskip(needed)
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    if keras.backend.backend() != "torch":
        pytest.skip("Keras was imported with another backend, which exports by a library of its own")
    script = run_path(str(Path(__file__).with_name("keras_network.py")), run_name="keras_network")
    network = script["export"](tmp_path / "network.onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = network.predict(arguments("keras", 5)["image"], verbose=0)
    learns(tmp_path, "keras", wanted)
