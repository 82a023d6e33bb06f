"""A tensor of its own among the layers."""

from pathlib import Path

import numpy as np
import pytest

from compiler.diagnostics import DiagnosticError
from runtime.programs.predict import Predictor
from runtime.programs.project import project_of_text
from runtime.training.weights import fresh_weights

TEXT = """model Net(x: f32[N, 3]) -> f32[N, 3] {
    scale = parameter(3, init=ones)
    x * scale + parameter(1)
}
"""


def test_it_is_a_weight_as_any_other() -> None:
    project = project_of_text(TEXT, Path())
    weights = fresh_weights(project, project.model())
    assert {name: array.tolist() for name, array in weights.items()} == {
        "Net.parameter.weight": [1, 1, 1],
        "Net.parameter_2.weight": [0],
    }
    weights["Net.parameter_2.weight"] += 2
    x = np.ones((2, 3), np.float32)
    assert np.array_equal(Predictor(project.model(), weights).predict(x)["output"], x + 2)


def test_its_sizes_are_at_least_one() -> None:
    with pytest.raises(DiagnosticError, match="a parameter has sizes of at least 1"):
        project_of_text(TEXT.replace("parameter(1)", "parameter(0)"), Path())
