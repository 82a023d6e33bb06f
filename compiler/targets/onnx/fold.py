"""Weights computed while exporting: what is made of weights alone is in the file as it comes out, and not as nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from compiler.ops.base import Array
from compiler.targets.onnx.proto import tensor
from compiler.targets.onnx.writer import Writer


def _reshape(x: Array, shape: Array, allowzero: int = 0) -> Array:
    return x.reshape([x.shape[axis] if n == 0 and not allowzero else n for axis, n in enumerate(shape.tolist())])


_KINDS: Mapping[str, Callable[..., Array]] = {
    "Add": np.add,
    "Concat": lambda *parts, axis: np.concatenate(parts, axis),
    "Div": np.divide,
    "Gather": lambda x, indices, axis=0: np.take(x, indices, axis),
    "Mul": np.multiply,
    "Neg": np.negative,
    "Reciprocal": np.reciprocal,
    "Reshape": _reshape,
    "Sqrt": np.sqrt,
    "Squeeze": lambda x, axes: np.squeeze(x, tuple(axes)),
    "Sub": np.subtract,
    "Transpose": lambda x, perm: np.transpose(x, perm),
    "Unsqueeze": lambda x, axes: np.expand_dims(x, tuple(axes)),
}
_FEW = 64


def fold_weights(writer: Writer, outputs: Container[str]) -> None:
    """Replace nodes on initializers alone by initializers that hold their results.

    A weight that something else reads as it stands is left alone, as the file would hold it twice; so is what is
    larger than what it is made of, or one of the ``outputs``. Nodes that do the same are made one first, as where
    layers share weights.
    """
    _join_equal(writer, outputs)
    readers = Counter(name for node in writer.nodes for name in node.input)
    kept = []
    for node in writer.nodes:
        if not _is_known(node, writer.initializers) or node.output[0] in outputs:
            kept.append(node)
            continue
        parts = [onnx.numpy_helper.to_array(writer.initializers[name]) for name in node.input]
        if any(readers[name] > 1 and part.size > _FEW for name, part in zip(node.input, parts, strict=True)):
            kept.append(node)
            continue
        found = _result(node, parts)
        if found.size > sum(part.size for part in parts) + _FEW:
            kept.append(node)
            continue
        (result,) = node.output
        writer.initializers[result] = tensor(result, found)
        writer.made.discard(result)
    writer.nodes[:] = kept


def _result(node: onnx.NodeProto, parts: Sequence[Array]) -> Array:
    with np.errstate(all="ignore"):
        return np.asarray(_KINDS[node.op_type](*parts, **_named(node)), order="C")


def _join_equal(writer: Writer, outputs: Container[str]) -> None:
    """Leave one of the nodes that do the same to the same initializers."""
    first: dict[bytes, str] = {}
    instead: dict[str, str] = {}
    known = set(writer.initializers)
    kept = []
    for node in writer.nodes:
        for index, name in enumerate(node.input):
            node.input[index] = instead.get(name, name)
        if _is_known(node, known) and node.output[0] not in outputs:
            known.add(node.output[0])
            key = onnx.NodeProto(op_type=node.op_type, input=node.input, attribute=node.attribute).SerializeToString(
                deterministic=True
            )
            if key in first:
                instead[node.output[0]] = first[key]
                writer.made.discard(node.output[0])
                continue
            first[key] = node.output[0]
        kept.append(node)
    writer.nodes[:] = kept


def _is_known(node: onnx.NodeProto, known: Container[str]) -> bool:
    return node.op_type in _KINDS and all(name in known for name in node.input)


def _named(node: onnx.NodeProto) -> dict[str, Any]:
    return {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
