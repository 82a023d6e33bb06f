"""Weights in files, and the first ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

import compiler
from compiler.diagnostics import DiagnosticError, error
from compiler.program import ModelProgram, TrainProgram
from runtime.data.readers.content import Names
from runtime.disk.output import saving
from runtime.disk.tensors import Array, read_metadata, read_tensors, write_tensors
from runtime.programs.engine import Engine
from runtime.programs.project import Project
from runtime.training.checkpoint import check_same, load_weights
from runtime.training.folder import RUNS, WEIGHTS, latest_run
from runtime.training.given import read_given


def load_trained(program: TrainProgram, path: Path | None = None) -> tuple[Path, dict[str, Array]]:
    """The weights for ``program`` in a file or a run folder, by default the last run, and the file they are in.

    Raises DiagnosticError: what :func:`runtime.training.checkpoint.load_weights` raises.
    """
    file = weights_file(path or latest_run(program.name) or RUNS / program.name / WEIGHTS)
    return file, load_weights(file, program)


def weights_file(path: Path) -> Path:
    """The file with the weights: ``path``, or the one in the run folder ``path``."""
    return path / WEIGHTS if path.is_dir() else path


def load_names(path: Path) -> Names:
    """What the numbers of classes and characters stood for when the weights in a file or a run folder were trained."""
    names = read_metadata(weights_file(path)).get("names")
    return {name: tuple(words) for name, words in names.items()} if isinstance(names, dict) else {}


def load_model_weights(path: Path, model: ModelProgram) -> dict[str, Array]:
    """The weights of ``model`` in a weights file, a checkpoint or a run folder; what else is there is left out.

    Raises DiagnosticError as :func:`load_weights` does.
    """
    file = weights_file(path)
    if not file.exists():
        raise DiagnosticError(
            [error("E0804", f"there are no weights: {file} does not exist", None, help="train first")]
        )
    wanted = {weight.name: str(weight.type) for weight in model.weights}
    found = {name: array for name, array in read_tensors(file)[0].items() if name in wanted}
    check_same(file, found, wanted)
    return found


def fresh_weights(project: Project, model: ModelProgram) -> dict[str, Array]:
    """The weights of ``model`` as its training begins: of the seed of the first train block that it takes part in."""
    blocks = project.checked.elaborated.trains.values()
    seed = next((block.settings.seed for block in blocks if model.name in block.models), 0)
    graph = compiler.initial_graph(project.checked, model.name)
    module = compiler.numpy_module([graph], f"the first weights of {model.name}")
    outputs = Engine(module, {"seed": np.array(seed), **read_given(model.given)}).call(graph.name, {})
    return {name: np.array(array, order="C") for name, array in outputs.items() if name != "seed"}


def save_weights_file(path: Path, weights: Mapping[str, Array], names: Names) -> None:
    """Writes weights as a safetensors file, with the ``names`` of the classes and characters that they were trained
    with. Raises DiagnosticError E0801."""
    with saving(path):
        write_tensors(path, weights, {"format": 1} | ({"names": dict(names)} if names else {}))
