"""What an ONNX file can be narrowed by: its layers, and how far their numbers reach."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import onnx

from compiler.ops.base import Array
from compiler.targets.onnx.inner import all_nodes, inner_graphs, read_by
from compiler.targets.onnx.narrow.store import array_of, is_float, worth_storing
from compiler.version import VERSION

# ONNX Runtime multiplies whole numbers in these, where their second operand is a weight.
_INTEGER = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
# What masks write for minus infinity is less than this.
_MASKED = -1e9
# Left behind in a model's metadata by the quantizer of ONNX Runtime.
_TOOL = "onnx.infer"
_OWNER = re.compile(r"(.+?)\.\w*weight\w*\b")


class Unsound(ValueError):
    """What a tool wrote is no ONNX model."""


@dataclass(frozen=True)
class Layer:
    """A part of a network that has one precision: the path of its label, its nodes by name, and those of its weights
    that 8 bits can store. ``integer`` are the nodes that ONNX Runtime can run on whole numbers where the ranges of what
    they are given are known, ``dynamic`` those where they need not be."""

    name: str
    nodes: tuple[str, ...]
    weights: tuple[str, ...] = ()
    integer: tuple[str, ...] = ()
    dynamic: tuple[str, ...] = ()


def typed(content: bytes) -> onnx.ModelProto:
    """The model in ``content`` with the type of every value, as far as it can be inferred."""
    return onnx.shape_inference.infer_shapes(onnx.ModelProto.FromString(content), data_prop=True)


def finished(model: onnx.ModelProto) -> bytes:
    """The bytes of a model that was changed, once onnx has checked it; equal models give equal bytes. What it says of
    the types of inner values is dropped, and nodes are put in order, as tools that rewrite a model leave both wrong.
    Raises Unsound where onnx refuses the model."""
    for graph in (model.graph, *(inner for node in all_nodes(model.graph.node) for inner in inner_graphs(node))):
        del graph.value_info[:]
    model.producer_name, model.producer_version = "dlc", VERSION
    entries = {item.key: item.value for item in model.metadata_props if item.key != _TOOL}
    onnx.helper.set_model_props(model, dict(sorted(entries.items())))
    _sort(model.graph)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as fault:
        raise Unsound(str(fault)) from fault
    return bytes(model.SerializeToString(deterministic=True))


def _sort(graph: onnx.GraphProto) -> None:
    """Each node behind what makes its operands, and else in the order that there was. (In a circle, which onnx refuses,
    somewhere.)"""
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in graph.node]
    makers = {name: place for place, node in enumerate(nodes) for name in node.output if name}
    needed = [sorted({makers[name] for name in read_by(node) if name in makers}) for node in nodes]
    order: dict[int, None] = {}
    entered: set[int] = set()
    for last in range(len(nodes)):
        pending = [last]
        while pending:
            place = pending[-1]
            missing = [other for other in needed[place] if other not in order and other not in entered]
            entered.add(place)
            if missing:
                pending += missing
            else:
                order[pending.pop()] = None
    del graph.node[:]
    graph.node.extend(nodes[place] for place in order)


def float_values(model: onnx.ModelProto) -> dict[str, str]:
    """The names of the f32 values that nodes of a :func:`typed` model make, each with its node's name."""
    types = {item.name: item.type.tensor_type.elem_type for item in (*model.graph.value_info, *model.graph.output)}
    return {
        name: node.name
        for node in model.graph.node
        for name in node.output
        if types.get(name) == onnx.TensorProto.FLOAT
    }


def takers(model: onnx.ModelProto, values: Collection[str]) -> Iterator[str]:
    """The names of the nodes that read any of ``values``."""
    return (node.name for node in model.graph.node if not set(values).isdisjoint(read_by(node)))


def weight_layers(model: onnx.ModelProto) -> tuple[Layer, ...]:
    """The layers with weights that are worth storing in 8 bits, in the order of the graph."""
    found: dict[str, list[str]] = {}
    for name in worth_storing(model.graph):
        owner = _OWNER.match(name)
        found.setdefault(owner[1] if owner else name, []).append(name)
    layers = []
    for name, weights in found.items():
        readers = [node for node in model.graph.node if not set(weights).isdisjoint(read_by(node))]
        weighted = [node for node in readers if len(node.input) > 1 and node.input[1] in weights]
        integer = tuple(node.name for node in weighted if node.op_type in _INTEGER)
        dynamic = tuple(node.name for node in weighted if _is_dynamic(node))
        layers.append(Layer(name, tuple(node.name for node in readers), tuple(weights), integer, dynamic))
    order = {node.name: place for place, node in enumerate(model.graph.node)}
    return tuple(sorted(layers, key=lambda layer: min(order[node] for node in layer.nodes)))


def _is_dynamic(node: onnx.NodeProto) -> bool:
    """Whether it is a product, or an LSTM without peepholes and with the activations of the book."""
    attributes = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
    match node.op_type:
        case "MatMul":
            return True
        case "Gemm":
            return not attributes.get("transA") and attributes.get("alpha", 1) == attributes.get("beta", 1) == 1
        case "LSTM":
            return not {"activations", "clip", "input_forget", "layout"} & attributes.keys() and len(node.input) < 8
        case _:
            return False


def float_layers(model: onnx.ModelProto) -> tuple[Layer, ...]:
    """The nodes of a :func:`typed` model that compute in f32, by the path of the label that they belong to."""
    made = set(float_values(model).values())
    found: dict[str, list[str]] = {}
    for node in model.graph.node:
        if node.name in made:
            found.setdefault(node.name.rpartition("/")[0] or node.name, []).append(node.name)
    return tuple(Layer(name, tuple(nodes)) for name, nodes in found.items())


def turned_batches(model: onnx.ModelProto) -> Iterator[str]:
    """The names of Transpose nodes that bring another axis to the front of what a MatMul takes. ONNX Runtime joins the
    two, and crashes where it has no such kernel, as for f16 on the CPU."""
    taken = {name for node in model.graph.node if node.op_type == "MatMul" for name in node.input}
    for node in model.graph.node:
        if node.op_type == "Transpose" and node.output[0] in taken:
            order = next((list(item.ints) for item in node.attribute if item.name == "perm"), [])
            if len(order) > 2 and order[0] != 0:
                yield node.name


def weights_beyond(model: onnx.ModelProto, limit: float) -> Iterator[str]:
    """The names of nodes with an f32 weight that is :func:`beyond` ``limit``."""
    large = {item.name for item in model.graph.initializer if is_float(item) and beyond(array_of(item), limit)}
    for node in model.graph.node:
        if not large.isdisjoint(read_by(node)):
            yield node.name


def beyond(array: Array, limit: float) -> bool:
    """Whether an element is NaN, larger than ``limit``, or lower than its negative: what masks write for minus infinity
    is not."""
    return bool((~((array <= limit) & ((array >= -limit) | (array <= _MASKED)))).any())
