"""An ONNX file as a network that models of the language call, whole or cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import onnx

from compiler.foreign import Host, Parts, Port
from compiler.ir.graph import Value
from compiler.ir.types import TensorType
from compiler.targets.onnx.apart import files
from compiler.targets.onnx.read.alone import Alone
from compiler.targets.onnx.read.cut import Chosen, Cutter
from compiler.targets.onnx.read.importer import Importer
from compiler.targets.onnx.read.load import LoadedModel, load
from compiler.targets.onnx.read.naming import weight_names
from compiler.targets.onnx.read.tensors import Unsupported, dtype_of


class OnnxNetwork:
    """The network in a loaded model, called ``name`` in messages."""

    def __init__(self, loaded: LoadedModel, name: str) -> None:
        self._loaded, self._model, self._name = loaded, loaded.proto, name
        self._names = weight_names(loaded.proto.graph)
        importer = self._importer(Alone(name))
        self._declared = importer.inputs()
        self.metadata: Mapping[str, str] = importer.metadata
        self.inputs = tuple(Port(item.name, _told(importer, item)) for item in self._declared)
        self.outputs = tuple(Port(item.name, _told(importer, item)) for item in self._model.graph.output)
        self._cutter = Cutter(self._model.graph, [port.name for port in self.inputs])

    def files(self, name: str) -> Mapping[str, Parts]:
        """The network as one file called ``name``, or as two where it is too large: see :func:`.apart.files`."""
        return files(self._loaded.content, name)

    def section(self, until: Sequence[str] = (), start: Sequence[str] = ()) -> OnnxSection:
        """The part up to ``until`` and behind ``start``. Raises CutError."""
        chosen = self._cutter.choose(until, start)
        told = {port.name: port for port in self.inputs}
        ports = tuple(told.get(name) or Port(name, self._inner_type(name)) for name in chosen.inputs)
        return OnnxSection(self, chosen, ports)

    @cached_property
    def weights(self) -> dict[str, TensorType]:
        """What the file stores that can be learned, or follows the data, by the names of the weights."""
        found: dict[str, TensorType] = {}
        for proto in self._model.graph.initializer:
            try:
                dtype = dtype_of(proto.data_type)
            except Unsupported:
                continue
            if dtype.is_float and proto.dims:
                found[self._names[proto.name]] = TensorType(dtype, tuple(proto.dims))
        return found

    def name_of(self, initializer: str) -> str:
        """What an initializer is called as a weight."""
        return self._names[initializer]

    def write(self, chosen: Chosen, host: Host, arguments: Mapping[str, Value]) -> tuple[Value, ...]:
        """Write a part into the graph of ``host``; ``arguments`` are the tensors that it takes."""
        importer = self._importer(host)
        for name, value in arguments.items():
            importer.give(name, value)
        importer.run(chosen.nodes, chosen.stored)
        results: list[Value] = []
        for name in chosen.outputs:
            importer.result(name, lambda _, value: results.append(value))
        importer.finish()
        return tuple(results)

    def _inner_type(self, name: str) -> TensorType | None:
        """The type of a tensor inside, where what is before it can be read."""
        chosen = self._cutter.choose([name], [])
        host = Alone(self._name)
        importer = self._importer(host)
        for item in self._declared:
            importer.declare(item, host.declare)
        importer.run(chosen.nodes, chosen.stored)
        tensor = importer.tensors[name]
        return None if tensor is None else tensor.type

    def _importer(self, host: Host) -> Importer:
        return Importer(self._loaded, self._name, host, names=self._names)


@dataclass(frozen=True)
class OnnxSection:
    """A part of a network."""

    network: OnnxNetwork
    chosen: Chosen
    inputs: tuple[Port, ...]

    @property
    def outputs(self) -> tuple[str, ...]:
        return self.chosen.outputs

    @property
    def dropped(self) -> Mapping[str, TensorType]:
        kept = {self.network.name_of(name) for name in self.chosen.stored}
        return {name: type for name, type in self.network.weights.items() if name not in kept}

    def write(self, host: Host, arguments: Sequence[Value]) -> tuple[Value, ...]:
        """Write it into the graph of ``host``. Raises Refused (E0922) for what can't be brought into a graph."""
        names = (port.name for port in self.inputs)
        return self.network.write(self.chosen, host, dict(zip(names, arguments, strict=True)))


def read_network(path: Path) -> OnnxNetwork:
    """The network in a file. Raises DiagnosticError as :func:`.load.load` does."""
    return OnnxNetwork(load(path), path.name)


def _told(importer: Importer, item: onnx.ValueInfoProto) -> TensorType | None:
    """The type of an input or an output as far as the file tells it whole."""
    try:
        return importer.type(item)
    except Unsupported:
        return None
