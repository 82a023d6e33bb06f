"""Blocks of the library in small networks: run, trained for a step, exported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.disk.tensors import Array
from runtime.programs.predict import Predictor
from runtime.programs.project import project_of_text
from runtime.training.weights import fresh_weights


class Net:
    """The model ``Net`` with this signature and body, all of the library imported."""

    def __init__(self, inputs: str, body: str, folder: Path) -> None:
        from compiler.front.imports import library

        imports = "\n".join(f"import {name}" for name in library())
        self.text = f"{imports}\nmodel Net({inputs}) {{\n{body}\n}}\n"
        self.project = project_of_text(self.text, folder)
        self.program = self.project.model("Net")

    @property
    def parameters(self) -> int:
        """How many numbers are trained; statistics are none of them."""
        shapes = [weight.type.shape for weight in self.program.weights if weight.trainable]
        return sum(int(np.prod(shape)) for shape in shapes)

    def weights(self) -> dict[str, Array]:
        """Fresh ones, by their names behind ``Net.``."""
        found = fresh_weights(self.project, self.program)
        return {name.removeprefix("Net."): array for name, array in found.items()}

    def run(self, inputs: Mapping[str, Array], weights: Mapping[str, Array]) -> Array:
        """What the NumPy program gives."""
        named = {f"Net.{name}": array for name, array in weights.items()}
        return Predictor(self.program, named).predict(inputs)["output"]


@pytest.fixture
def net(tmp_path: Path) -> Callable[[str, str], Net]:
    return lambda inputs, body: Net(inputs, body, tmp_path)


@pytest.fixture
def random() -> Callable[..., Any]:
    """Random f32 arrays of the given shape."""
    generator = np.random.default_rng(0)
    return lambda *shape: generator.standard_normal(shape).astype(np.float32)
