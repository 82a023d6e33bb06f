"""Weights kept as 8-bit numbers and made floats again where the file is loaded."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
import onnx

from compiler.ops.base import Array
from compiler.targets.onnx.inner import all_nodes, used_names
from compiler.targets.onnx.proto import tensor

# Below so many elements, the scales and the nodes of a weight take what its 8 bits spare.
_FEWEST = 256
_LARGEST = 127


def store(model: onnx.ModelProto, weights: Collection[str]) -> None:
    """Keep these f32 weights as 8-bit numbers with scales. Two nodes make them f32 again, Cast and Mul, which ONNX
    Runtime works out once when it loads the file, so that it computes with them as fast as before. (It would work out
    DequantizeLinear in each run anew.)

    Scales are symmetric, one for each output of a layer, or for each row of a table.
    """
    graph = model.graph
    axes = shared_axes(graph)
    front: list[onnx.NodeProto] = []
    for item in [item for item in graph.initializer if item.name in weights]:
        name = item.name
        numbers, scale = in_8_bits(array_of(item), axes.get(name, (-1,)), _LARGEST)
        item.CopyFrom(tensor(f"{name} i8", numbers))
        graph.initializer.append(tensor(f"{name} scale", scale))
        front += [
            onnx.helper.make_node("Cast", [f"{name} i8"], [f"{name} f32"], f"{name}/Cast", to=onnx.TensorProto.FLOAT),
            onnx.helper.make_node("Mul", [f"{name} f32", f"{name} scale"], [name], f"{name}/Mul"),
        ]
    nodes = [*front, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def drop_unread(model: onnx.ModelProto) -> None:
    """Leave out the weights that no node reads any more."""
    read = used_names(model.graph.node)
    read |= {output.name for output in model.graph.output}
    kept = [item for item in model.graph.initializer if item.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def in_8_bits(array: Array, axes: tuple[int, ...], largest: int) -> tuple[Array, Array]:
    """Whole numbers from ``-largest`` to ``largest``, i8, and the scales that make them f32 again: one for all elements
    along ``axes``, which stay as axes of size 1."""
    scale = np.abs(array).max(axes, keepdims=True) / np.float32(largest)
    scale = np.where(scale > 0, scale, np.float32(1)).astype(np.float32)
    return np.rint(array / scale).clip(-largest, largest).astype(np.int8), scale


def worth_storing(graph: onnx.GraphProto) -> Iterator[str]:
    """The f32 weights that take half of their bytes at most with :func:`store`."""
    read = used_names(graph.node)
    axes = shared_axes(graph)
    for item in graph.initializer:
        sizes = [size for size in item.dims if size > 1]
        if not is_float(item) or item.name not in read or len(sizes) < 2 or np.prod(sizes) < _FEWEST:
            continue
        array = array_of(item)
        scales = array.size / np.prod([array.shape[axis] for axis in axes.get(item.name, (-1,))])
        # Half of it at least is to be spared.
        if np.isfinite(array).all() and array.size + 4 * scales <= 2 * array.size:
            yield item.name


def shared_axes(graph: onnx.GraphProto) -> dict[str, tuple[int, ...]]:
    """For each weight the axes along which elements have one scale: those that are summed over, by the node that reads
    it first. Tables, and weights of recurrent layers, have a scale for each row."""
    found: dict[str, tuple[int, ...]] = {}
    ranks = {item.name: len(item.dims) for item in graph.initializer}
    for node in all_nodes(graph.node):
        for place, name in enumerate(node.input):
            if name in ranks and name not in found:
                found[name] = _summed(node, ranks[name]) if place == 1 else (-1,)
    return found


def _summed(node: onnx.NodeProto, rank: int) -> tuple[int, ...]:
    match node.op_type:
        case "Conv":
            return tuple(range(1, rank))
        case "ConvTranspose":
            return (0, *range(2, rank))
        case "Gemm":
            turned = any(item.name == "transB" and item.i for item in node.attribute)
            return (1,) if turned else (0,)
        case "MatMul":
            return (-2,) if rank > 1 else (-1,)
        case _:
            return (-1,)


def is_float(item: onnx.TensorProto) -> bool:
    """Whether it holds f32."""
    return item.data_type == onnx.TensorProto.FLOAT


def array_of(item: onnx.TensorProto) -> Array:
    """Its elements."""
    return np.asarray(onnx.numpy_helper.to_array(item))
