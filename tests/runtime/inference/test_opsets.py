"""Every model of the examples, certified at every opset that dlc writes."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

import compiler
from compiler.targets.onnx.releases import OPSETS
from runtime.inference.certify import certified_export
from runtime.programs.predict import Predictor
from runtime.programs.project import open_project
from runtime.training.weights import fresh_weights

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.dl")))
def test_examples(name: str) -> None:
    project = open_project(EXAMPLES / f"{name}.dl", {})
    assert project.checked.models
    for model in map(project.model, project.checked.models):
        drawn = fresh_weights(project, model)
        weights = {weight.name: drawn[weight.name] for weight in model.weights}
        graph, program = compiler.onnx_graph(model), Predictor(model, weights)
        for opset in OPSETS:
            content, certificate = certified_export(graph, weights, program.run, opset=opset)
            assert onnx.load_model_from_string(content).opset_import[0].version == opset
            assert certificate.agreement.share <= 1
