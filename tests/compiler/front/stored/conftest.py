"""A model and a file of arrays for it, brought together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from compiler.front.stored.files import Array
from runtime.programs.predict import Predictor
from runtime.programs.project import Project, open_project
from runtime.training.weights import fresh_weights


@dataclass(frozen=True)
class Loaded:
    """A checked file, and its model ``Net`` with the weights that it begins with."""

    project: Project

    @property
    def weights(self) -> dict[str, Array]:
        return fresh_weights(self.project, self.project.model("Net"))

    def __call__(self, x: Array) -> Array:
        return Predictor(self.project.model("Net"), self.weights).predict({"x": x})["output"]


Load = Callable[..., Loaded]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Checks a model text followed by ``weights Net from …``, where ``arrays`` are what is stored."""

    def make(text: str, arrays: Mapping[str, Any], source: str = '"net.safetensors"', rules: str = "") -> Loaded:
        plain = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        if ".npz" in source:
            np.savez(tmp_path / "net.npz", **plain)
        else:
            save_file(plain, tmp_path / "net.safetensors")
        path = tmp_path / "net.dl"
        path.write_text(f"{text}\n\nweights Net from {source}{f' {{ {rules} }}' if rules else ''}\n")
        return Loaded(open_project(path))

    return make
