"""Files as they are compared: loaded with care, and read as graphs as far as they can be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from compiler.ir.graph import Graph
from compiler.targets.onnx.content import Content
from compiler.targets.onnx.difference.structure import StructureDifference, compare_structure, inputs_alone, inputs_of
from compiler.targets.onnx.difference.weights import WeightDifference, compare_weights
from compiler.targets.onnx.read.importer import import_graph
from compiler.targets.onnx.read.load import load
from compiler.targets.onnx.read.refusals import Refused


class Loaded:
    """An ONNX file. Raises DiagnosticError for one that can't be read (E0905, E0906, E0920, E0921)."""

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        self._model = load(path)

    @property
    def content(self) -> Content:
        """The file with what it keeps elsewhere put in, as far as it fits."""
        return self._model.content

    @property
    def inputs(self) -> tuple[str, ...]:
        """What it is given, by name."""
        return tuple(inputs_of(self._model.proto))

    def graph(self) -> Graph:
        """Its graph, or one of its inputs alone where what it does with them can't be read. Raises Refused (E0922) for
        inputs that can't be read."""
        try:
            return import_graph(self._model, self.name).graph
        except Refused:
            return import_graph(replace(self._model, proto=inputs_alone(self._model.proto)), self.name).graph

    def structure(self, other: Loaded) -> StructureDifference:
        return compare_structure(self._model.proto, other._model.proto)

    def weights(self, other: Loaded) -> WeightDifference:
        return compare_weights(self._model, other._model)
