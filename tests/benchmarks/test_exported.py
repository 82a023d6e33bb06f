"""Exported files side by side: examples that are all there, peers with the same networks, tables."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from benchmarks import exported, latency
from benchmarks.draw import draw_ratios
from benchmarks.examples import EXAMPLES
from benchmarks.race import ROOT
from runtime.programs.project import open_project

MODELS = {
    f"{path.stem}.{name}": (path, name)
    for path in sorted((ROOT / "examples").glob("*.dl"))
    for name in open_project(path).checked.models
}


def test_every_model_of_every_example_is_measured():
    assert set(EXAMPLES) == set(MODELS)


@pytest.mark.parametrize("example", EXAMPLES)
def test_inputs_are_those_of_the_model(example):
    path, name = MODELS[example]
    inputs = open_project(path).model(name).graph.inputs
    data = {item.name: item.value.type for item in inputs if item.role.value == "data"}
    for item in EXAMPLES[example]:
        shape = data.pop(item.name).shape
        assert [dim for dim in shape[1:] if isinstance(dim, int)] == [
            size for axis, size in enumerate(item.shape, start=1) if axis not in item.free
        ]
        assert item.rows(2).shape == (2, *item.shape)
    assert not data


@pytest.mark.parametrize("example", EXAMPLES)
def test_torch_has_the_same_network(example):
    pytest.importorskip("torch")
    from benchmarks.peers import torch_networks

    path, name = MODELS[example]
    weights = [weight for weight in open_project(path).model(name).weights if weight.trainable]
    network = torch_networks.EXAMPLES[example]()
    assert sum(weight.numel() for weight in network.parameters()) == sum(
        math.prod(weight.type.shape) for weight in weights
    )


def file(exporter: str, factor: float, nodes: int) -> latency.File:
    seconds = {setting: [factor * 1e-3, factor * 3e-3] for setting in exported.SETTINGS}
    return latency.File(exporter, Path("net.onnx"), nodes, 100 * nodes, seconds)


def test_tables():
    files = [file("dlc", 1.0, 4), file("torch", 2.0, 5), file("keras", 4.0, 8)]
    files.append(latency.File("torchscript", problem="not installed: No module named 'torch'"))
    assert list(exported.ratios({"xor.Xor": files})) == [("xor.Xor", "0.800", "0.800", *["0.500"] * 4)]
    assert exported.lines("xor.Xor", files)[0] == ("xor.Xor", "dlc", "4", "0.4", *["2"] * 4)
    assert exported.lines("xor.Xor", files)[3][1] == "torchscript: not installed: No module named 'torch'"
    assert all(len(line) == len(exported.COLUMNS) for line in exported.figures("xor.Xor", files))


def test_files_are_measured_and_bad_ones_told(tmp_path):
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"")
    files = [exported._own("xor.Xor", tmp_path), latency.File("keras", bad)]
    latency.measure(files, EXAMPLES["xor.Xor"], 2, 1e-4)
    assert files[0].nodes > 0
    assert all(len(seconds) == 2 for seconds in files[0].seconds.values())
    assert files[1].problem.startswith("does not run")


def test_absent_frameworks_are_told(tmp_path):
    found = exported.export_all(["xor.Xor"], tmp_path, {"torch": "no-such-python", "keras": "no-such-python"})
    assert [file.problem for file in found["xor.Xor"]] == [None] + ["not exported: there is no no-such-python"] * 3


def test_ratios_are_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "ratios.png"
    draw_ratios(picture, {"xor": [0.5, 2.0], "digits": [math.nan, 1.0]}, ("off", "on"))
    assert picture.read_bytes().startswith(b"\x89PNG")
