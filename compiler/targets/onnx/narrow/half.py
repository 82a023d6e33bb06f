"""Networks in f16: numbers and weights of the nodes that can have it, with casts where they meet f32."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import onnx

from compiler.ops.base import Array
from compiler.targets.onnx.inner import inner_graphs, read_by, rename_read
from compiler.targets.onnx.narrow.store import array_of, is_float
from compiler.targets.onnx.proto import tensor

_F32, _F16 = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16
_LARGEST = np.float32(65504.0)
_SMALLEST = np.float32(2.0**-24)
# Attributes that say the element type of a result, and those that hold a tensor of it.
_TYPES, _TENSORS = frozenset({"to", "dtype"}), frozenset({"value"})


def to_half(model: onnx.ModelProto, kept: Collection[str]) -> None:
    """Let the nodes of a model whose values have types compute in f16, apart from those ``kept`` and from operands and
    results for which ONNX has no f16. Inputs and outputs of the network stay f32.

    ``onnxruntime.transformers.float16`` does the same, but casts to f16 and back between nodes that are kept, where
    numbers overflow, and makes one cast for each of several readers under one name.
    """
    _Half(model, kept).apply()


class _Half:
    """One network on its way to f16."""

    def __init__(self, model: onnx.ModelProto, kept: Collection[str]) -> None:
        self._graph, self._kept = model.graph, kept
        self._opset = next(item.version for item in model.opset_import if item.domain in ("", "ai.onnx"))
        graph = model.graph
        typed = (*graph.value_info, *graph.input, *graph.output)
        self._floats = {item.name for item in typed if item.type.tensor_type.elem_type == _F32}
        self._weights = {item.name: array_of(item) for item in graph.initializer if is_float(item)}
        self._floats |= self._weights.keys()
        self._outputs = {item.name for item in graph.output}
        self._halves: set[str] = set()  # values that are f16 now
        self._made: dict[tuple[str, int], str] = {}
        self._wanted: set[tuple[str, int]] = set()  # weights, in the types in which they are read
        self._nodes: list[onnx.NodeProto] = []

    def apply(self) -> None:
        # In the order of the graph, so that what a node is given has its type already.
        for node in self._graph.node:
            self._convert(node)
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)
        for item in list(self._graph.initializer):
            if item.name in self._weights:
                self._convert_weight(item)

    def _convert(self, node: onnx.NodeProto) -> None:
        if any(inner_graphs(node)):
            self._convert_around(node)
            return
        takes, gives = self._places(node)
        for place, name in enumerate(node.input):
            if name in self._floats:
                node.input[place] = self._as(name, _F16 if place in takes else _F32)
        self._nodes.append(node)
        results = {node.output[place]: place for place in gives if node.output[place] in self._floats}
        if results:
            _retype(node)
        for name, place in results.items():
            if name in self._outputs:
                # The network gives f32 under this name, and others inside it may read f16.
                node.output[place] = f"{name} f16"
                self._made[name, _F16] = f"{name} f16"
                self._cast(f"{name} f16", name, _F32)
            else:
                self._halves.add(name)

    def _convert_around(self, node: onnx.NodeProto) -> None:
        """A node with graphs inside computes in f32, with the weights that it reads kept in f16: where a processor has
        no kernels for f16, the body of a Scan would make f32 of them anew in each step."""
        floats = [name for name in read_by(node) if name in self._floats]
        stored = {name for name in floats if name in self._weights and node.name not in self._kept}
        rename_read(node, {name: self._stored(name) if name in stored else self._as(name, _F32) for name in floats})
        self._nodes.append(node)

    def _stored(self, name: str) -> str:
        """The name under which a weight that is kept in f16 can be read as f32."""
        key = (self._as(name, _F16), _F32)
        if key not in self._made:
            self._made[key] = f"{name} f32"
            self._cast(key[0], self._made[key], _F32)
        return self._made[key]

    def _places(self, node: onnx.NodeProto) -> tuple[set[int], set[int]]:
        """The places of the operands and the results that are to be f16."""
        if node.name in self._kept or node.domain not in ("", "ai.onnx"):
            return set(), set()
        schema = onnx.defs.get_schema(node.op_type, self._opset, "")
        gives = _halvable(schema.outputs, node.output)
        if any(name in self._floats and place not in gives for place, name in enumerate(node.output)):
            return set(), set()
        return _halvable(schema.inputs, node.input), gives

    def _as(self, name: str, type: int) -> str:
        """The name under which a float can be read in this type."""
        if name in self._weights:
            self._wanted.add((name, type))
            return f"{name} f16" if type == _F16 else name
        if (name in self._halves) == (type == _F16):
            return name
        if (name, type) not in self._made:
            self._made[name, type] = f"{name} f16" if type == _F16 else f"{name} f32"
            self._cast(name, self._made[name, type], type)
        return self._made[name, type]

    def _cast(self, name: str, result: str, type: int) -> None:
        self._nodes.append(onnx.helper.make_node("Cast", [name], [result], f"{result}/Cast", to=type))

    def _convert_weight(self, item: onnx.TensorProto) -> None:
        name = item.name
        if (name, _F16) in self._wanted:
            self._graph.initializer.append(tensor(f"{name} f16", in_half(self._weights[name])))
        if (name, _F32) not in self._wanted and name not in self._outputs:
            self._graph.initializer.remove(item)


def in_half(array: Array) -> Array:
    """The nearest f16, where what is too large becomes the largest and what is not 0 does not become 0, as in masks and
    in what keeps a divisor from it; infinity and NaN stay."""
    finite, small = np.isfinite(array), (array != 0) & (np.abs(array) < _SMALLEST)
    fitting = np.where(finite, array.clip(-_LARGEST, _LARGEST), array)
    return np.where(small, np.copysign(_SMALLEST, array), fitting).astype(np.float16)


def _halvable(formal: Sequence[onnx.defs.OpSchema.FormalParameter], names: Sequence[str]) -> set[int]:
    """The places of those of ``names`` that may be f16."""
    found = set()
    for place in range(len(names)):
        parameter = formal[min(place, len(formal) - 1)]  # the last one may stand for several
        if "tensor(float16)" in parameter.types:
            found.add(place)
    return found


def _retype(node: onnx.NodeProto) -> None:
    """Let attributes that say f32, or hold it, have f16."""
    for item in node.attribute:
        if item.name in _TYPES and item.i == _F32:
            item.i = _F16
        elif item.name in _TENSORS and is_float(item.t):
            item.t.CopyFrom(tensor(item.t.name, in_half(array_of(item.t))))
