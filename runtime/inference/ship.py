"""From a model and its weights to an ONNX file that is certified."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import compiler
from compiler.ir.graph import Role
from compiler.ir.types import TensorType
from compiler.ops.indexing import index_ranges
from compiler.program import ModelProgram
from compiler.targets.onnx.content import Content, changed
from compiler.targets.onnx.metadata import Description, said_elsewhere
from compiler.targets.onnx.releases import DEFAULT
from compiler.version import VERSION
from runtime.data.batches import DataSet
from runtime.data.columns import gather
from runtime.data.readers.content import Names
from runtime.disk.tensors import Array
from runtime.inference.certify import Certificate, certified_export, trial_inputs
from runtime.inference.saving import save_model
from runtime.inference.session import Device, InferenceSession
from runtime.programs.predict import Predictor
from runtime.programs.project import Project

# Real samples that a certification tries beside random ones.
_SAMPLES = 100


@dataclass(frozen=True)
class Shipping:
    """How to export: ``metrics``, and ``names`` of classes and characters, go into the file; ``data`` are real samples
    to certify with, where there are any."""

    device: Device = "cpu"
    opset: int = DEFAULT
    metrics: Mapping[str, float] = field(default_factory=dict)
    data: DataSet | None = None
    names: Names = field(default_factory=dict)


def rehearse(model: ModelProgram, device: Device, opset: int = DEFAULT) -> None:
    """Exports the model with zeros for weights and writes nothing: what stands against an export, or against the use of
    CUDA, is better known before a long training than after it.

    Raises DiagnosticError: what export raises (E0901 to E0904), and where CUDA can't be used (E0909).
    """
    zeros = {weight.name: _zeros(weight.type) for weight in model.weights}
    content = compiler.onnx_model(model, zeros, opset, device)
    if device == "cuda":
        InferenceSession(content, device)


def _zeros(type: TensorType) -> Array:
    return np.zeros([dim for dim in type.shape if isinstance(dim, int)], type.dtype.numpy)


def ship(project: Project, model: ModelProgram, weights: Mapping[str, Array], path: Path, how: Shipping) -> Certificate:
    """Writes the ONNX file of ``model`` to ``path`` and gives its certificate; nothing is written unless all went well.
    Where ``path`` ends in ``.ort``, it is the ORT file of it.

    Raises DiagnosticError: what export and certification raise (E09xx), E0801 where the file can't be written.
    """
    content, certificate = certified(project, model, weights, how)
    graph, own, samples = compiler.onnx_graph(model), _own(model, weights), real_samples(model, how.data)
    save_model(path, content, (inputs for _, inputs in trial_inputs(graph, own, {}, samples)), how.device)
    return certificate


def certified(
    project: Project, model: ModelProgram, weights: Mapping[str, Array], how: Shipping
) -> tuple[Content, Certificate]:
    """The ONNX file of ``model``, with its large weights apart where they are too many, and its certificate. Raises
    DiagnosticError: what export and certification raise (E09xx)."""
    own = _own(model, weights)
    return certified_export(
        compiler.onnx_graph(model),
        own,
        Predictor(model, own).run,
        description=_description(project, model, how),
        samples=real_samples(model, how.data),
        device=how.device,
        opset=how.opset,
    )


def _own(model: ModelProgram, weights: Mapping[str, Array]) -> dict[str, Array]:
    return {weight.name: weights[weight.name] for weight in model.weights}


def export_unproved(
    project: Project, model: ModelProgram, weights: Mapping[str, Array], path: Path, how: Shipping
) -> None:
    """Writes the ONNX file of ``model`` without running it. Raises DiagnosticError (E0901 to E0904, E0801)."""
    own = {weight.name: weights[weight.name] for weight in model.weights}
    from compiler.targets.onnx.file import with_metadata

    description = _description(project, model, how)
    plain = compiler.onnx_model(model, own, how.opset, how.device)
    save_model(path, changed(plain, lambda file: with_metadata(file, description.as_metadata(), description.text)))


def _description(project: Project, model: ModelProgram, how: Shipping) -> Description:
    about = project.checked.elaborated.about
    return Description(
        VERSION,
        project.fingerprint,
        _labels(model, how.names),
        dict(how.metrics),
        names=how.names,
        ranges={name: (0, size - 1) for name, size in index_ranges(model.graph).items()},
        author=about.get("author", ""),
        license=about.get("license", ""),
        text=about.get("description", ""),
        parts=_parts(project, model),
    )


def _parts(project: Project, model: ModelProgram) -> dict[str, Mapping[str, str]]:
    """What the files of the networks say that ``model`` has weights of."""
    owners = {weight.name.split(".")[0] for weight in model.weights}
    found = {item.name: said_elsewhere(item.network.metadata) for item in project.checked.elaborated.imported.foreign}
    return {name: said for name, said in found.items() if name in owners}


def _labels(model: ModelProgram, names: Names) -> tuple[str, ...]:
    """The names of the scores in the last axis of the one output, where there are as many of them in the data's targets
    and it is clear which they are."""
    inputs = {value.name for value in model.graph.inputs_of(Role.DATA)}
    outputs = [output.value.type.shape for output in model.graph.outputs]
    fitting = {
        words
        for name, words in names.items()
        if name not in inputs and len(outputs) == 1 and outputs[0] and outputs[0][-1] == len(words)
    }
    return fitting.pop() if len(fitting) == 1 else ()


def real_samples(model: ModelProgram, data: DataSet | None) -> dict[str, Array] | None:
    """A batch of ``data`` for ``model``, where arrays of its inputs' names and types are in it."""
    if data is None:
        return None
    samples = {}
    for value in model.graph.inputs_of(Role.DATA):
        array = data.arrays.get(value.name)
        if array is None or array.dtype != value.type.dtype.numpy or array.ndim != value.type.rank:
            return None
        if any(isinstance(dim, int) and dim != size for dim, size in zip(value.type.shape, array.shape, strict=True)):
            return None
        samples[value.name] = gather(array, data.rows[:_SAMPLES])
    return samples
