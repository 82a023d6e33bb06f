"""Networks out of ONNX files that go on learning: what moves, what stays, what a run keeps, and what comes out."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

import dlc
from runtime.programs.project import open_project
from runtime.training.job import make_job
from runtime.training.loop import initial_state
from runtime.training.weights import fresh_weights

RANDOM = np.random.default_rng(1)
NODES = """
    c = Conv(image, stem.weight) /stem/Conv pads=1,1,1,1
    n = BatchNormalization(c, norm.weight, norm.bias, norm.running_mean, norm.running_var) /norm/BatchNormalization
    r = Relu(n) /act/Relu
    p = GlobalAveragePool(r) /pool/GlobalAveragePool
    f = Flatten(p) /Flatten
    logits = Gemm(f, head.weight, head.bias) /head/Gemm transB=1
"""
STORED = {
    "stem.weight": RANDOM.normal(size=(4, 2, 3, 3)).astype(np.float32),
    "norm.weight": np.ones(4, np.float32),
    "norm.bias": np.zeros(4, np.float32),
    "norm.running_mean": np.full(4, 0.25, np.float32),
    "norm.running_var": np.full(4, 2.0, np.float32),
    "head.weight": RANDOM.normal(size=(3, 4)).astype(np.float32),
    "head.bias": np.zeros(3, np.float32),
}
TEXT = """
import "net.onnx" as Base

model Net(image: f32[N, 2, 6, 6]) -> f32[N, 3] {{ {call} }}

train net(image: f32[N, 2, 6, 6], label: i64[N]) {{
    {freeze}
    minimize cross_entropy(Net(image), label) with sgd(0.1)
    data "data.npz"
    batch 8
    epochs 1
}}
"""
STATISTICS = {"Base.norm.running_mean", "Base.norm.running_var"}

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, write_onnx: Callable[..., Path]) -> Write:
    """Writes the model file, the network and data; gives the path of the model file."""

    def run(freeze: str = "", call: str = "Base") -> Path:
        folder = tmp_path / "project"
        folder.mkdir(exist_ok=True)
        shapes = {"image": ["N", 2, 6, 6]}
        write_onnx(folder / "net.onnx", NODES, shapes, {"logits": ["N", 3]}, STORED, preprocessing="divide by 255")
        images = RANDOM.normal(size=(24, 2, 6, 6)).astype(np.float32)
        np.savez(folder / "data.npz", image=images, label=np.arange(24) % 3)
        path = folder / "main.dl"
        path.write_text(TEXT.format(freeze=freeze, call=call))
        return path

    return run


def moved(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> set[str]:
    return {name for name in before if not np.array_equal(before[name], after[name])}


def test_first_weights_are_those_of_the_file(write: Write) -> None:
    project = open_project(write())
    weights = fresh_weights(project, project.model())
    assert {name.removeprefix("Base."): array.tolist() for name, array in weights.items()} == {
        name: array.tolist() for name, array in STORED.items()
    }
    job = make_job(project)
    assert np.array_equal(initial_state(job.program, job.make_engine)["Base.stem.weight"], STORED["stem.weight"])


def test_the_untrained_model_gives_what_the_file_gives(write: Write) -> None:
    path = write()
    images = RANDOM.normal(size=(5, 2, 6, 6)).astype(np.float32)
    session = ort.InferenceSession(path.with_name("net.onnx"), providers=["CPUExecutionProvider"])
    wanted = session.run(None, {"image": images})[0]
    np.testing.assert_allclose(dlc.load(path).predict(images), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("freeze", "still"),
    [
        ("", set()),
        ("freeze Base.stem", {"Base.stem.weight"}),
        ("freeze Base.norm", {"Base.norm.weight", "Base.norm.bias", *STATISTICS}),
        ("freeze Base.stem, Base.norm, Base.head.bias", {f"Base.{name}" for name in STORED} - {"Base.head.weight"}),
    ],
)
def test_what_is_frozen_stays_and_the_rest_moves(write: Write, freeze: str, still: set[str]) -> None:
    model = dlc.load(write(freeze))
    before = model.weights
    model.fit()
    assert moved(before, model.weights) == set(before) - still


def test_a_batch_norm_follows_the_data_as_that_of_the_language(write: Write) -> None:
    own = "conv(4, 3, pad=1, bias=false) -> batch_norm -> relu -> mean(2, 3) -> dense(3)"
    first, second = dlc.load(write()), dlc.load(write(call=own))
    layers = {"conv": "stem", "batch_norm": "norm", "dense": "head"}

    def original(name: str) -> np.ndarray:
        """The weight of the file that ``name`` stands for; it has the kernel of a dense layer turned."""
        _, layer, part = name.split(".")
        found = first.weights[f"Base.{layers[layer]}.{part}"]
        return found.T if layer == "dense" else found

    second.set_weights({name: original(name) for name in second.weights})
    for model in (first, second):
        model.fit()
    for name, array in second.weights.items():
        np.testing.assert_allclose(original(name), array, rtol=1e-5, atol=1e-6)


def test_a_run_is_whole_without_the_network_that_it_began_with(write: Write, tmp_path: Path) -> None:
    path = write("freeze Base.stem")
    run = tmp_path / "run"
    model = dlc.load(path)
    model.fit(out=run)
    assert (run / "imports" / "net.onnx").is_file()
    path.with_name("net.onnx").unlink()
    shutil.move(run, tmp_path / "elsewhere")
    again = dlc.load(tmp_path / "elsewhere" / "source.dl")
    again.load_weights(tmp_path / "elsewhere")
    images = np.ones((2, 2, 6, 6), np.float32)
    assert np.array_equal(again.predict(images), model.predict(images))


def test_the_network_is_a_part_of_what_a_run_is_known_by(write: Write) -> None:
    path = write()
    before = open_project(path).fingerprint
    assert open_project(path).fingerprint == before
    STORED["head.bias"][0] += 1
    try:
        write()
    finally:
        STORED["head.bias"][0] -= 1
    assert open_project(path).fingerprint != before


def test_what_was_tuned_is_certified(write: Write, tmp_path: Path) -> None:
    model = dlc.load(write("freeze Base.norm", 'Base(until="pool") -> flatten -> dense(3)'))
    model.fit()
    model.export(tmp_path / "tuned.onnx")
    images = RANDOM.normal(size=(3, 2, 6, 6)).astype(np.float32)
    session = ort.InferenceSession(tmp_path / "tuned.onnx", providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"image": images})[0], model.predict(images), rtol=1e-4, atol=1e-5)
    assert session.get_modelmeta().custom_metadata_map["Base.preprocessing"] == "divide by 255"
    assert "  preprocessing: divide by 255" in model.summary()


def test_a_network_that_is_trained_by_itself_is_exported_by_its_name(write: Write, tmp_path: Path) -> None:
    path = write()
    path.write_text(
        """
        import "net.onnx" as Base

        train base(image: f32[N, 2, 6, 6], label: i64[N]) {
            freeze Base.stem
            minimize cross_entropy(Base(image), label) with sgd(0.1)
            data "data.npz"
            epochs 1
        }
        """
    )
    model = dlc.load(path)
    before = model.weights
    model.fit()
    assert moved(before, model.weights) == set(before) - {"Base.stem.weight"}
    model.export(tmp_path / "base.onnx")
    images = RANDOM.normal(size=(3, 2, 6, 6)).astype(np.float32)
    session = ort.InferenceSession(tmp_path / "base.onnx", providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(
        session.run(["logits"], {"image": images})[0], model.predict(images), rtol=1e-4, atol=1e-5
    )
    assert "  preprocessing: divide by 255" in model.summary()
    assert "trains    23 parameters of Base" in model.summary()
