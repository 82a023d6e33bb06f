"""Weights computed while exporting: what is made of weights alone is in the file as it comes out, and not as nodes."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping
from typing import Any

import numpy as np
import onnx

from compiler.ops.base import Array
from compiler.targets.onnx.inner import rename_read, used_names
from compiler.targets.onnx.writer import Writer


def _reshape(x: Array, shape: Array, allowzero: int = 0) -> Array:
    return x.reshape([x.shape[axis] if n == 0 and not allowzero else n for axis, n in enumerate(shape.tolist())])


def _slice(x: Array, starts: Array, ends: Array, axes: Array, steps: Array) -> Array:
    ranges = [slice(None)] * x.ndim
    for axis, *limits in zip(*(part.tolist() for part in (axes, starts, ends, steps)), strict=True):
        ranges[axis] = slice(*limits)
    return x[tuple(ranges)]


def _matmul(a: Array, b: Array) -> Array:
    # In one order on any machine and any number of threads, as the file's bytes depend on it.
    product: Array = np.einsum("...ij,...jk->...ik", a, b, dtype=np.float64)
    return product.astype(a.dtype)


_KINDS: Mapping[str, Callable[..., Array]] = {
    "Add": np.add,
    "Concat": lambda *parts, axis: np.concatenate(parts, axis),
    "Div": np.divide,
    "Gather": lambda x, indices, axis=0: np.take(x, indices, axis),
    "Gemm": lambda a, b, c: _matmul(a, b) + c,
    "MatMul": _matmul,
    "Mul": np.multiply,
    "Neg": np.negative,
    "Reciprocal": np.reciprocal,
    "Reshape": _reshape,
    "Slice": _slice,
    "Sqrt": np.sqrt,
    "Squeeze": lambda x, axes: np.squeeze(x, tuple(axes)),
    "Sub": np.subtract,
    "Transpose": lambda x, perm: np.transpose(x, perm),
    "Unsqueeze": lambda x, axes: np.expand_dims(x, tuple(axes)),
}
_FEW = 64  # what has up to this many elements may be stored twice
# What is larger than twice all weights, and this, is not kept: vectors may double from node to node.
_MUCH = 2**20


def fold_weights(writer: Writer, outputs: Container[str]) -> None:
    """Replace nodes on initializers alone by initializers that hold their results.

    A weight that something else reads as it stands is left alone, as the file would hold it twice; so is what is
    larger than what it is made of, or one of the ``outputs``. Nodes that do the same are made one first, as where
    layers share weights.
    """
    _join_equal(writer, outputs)
    results = _evaluate(writer, outputs)
    folded = _worth_folding(writer, results)
    for name in sorted(folded):
        writer.store(name, results[name])
    writer.made -= folded
    writer.nodes[:] = [node for node in writer.nodes if node.output[0] not in folded]


def _evaluate(writer: Writer, outputs: Container[str]) -> dict[str, Array]:
    """The results of all nodes that depend on initializers alone, by name."""
    results: dict[str, Array] = {}
    known = set(writer.initializers)
    most = _MUCH + 2 * sum(math.prod(weight.dims) for weight in writer.initializers.values())
    for node in writer.nodes:
        if _is_known(node, known) and node.output[0] not in outputs:
            parts = [results[name] if name in results else _array(writer, name) for name in node.input]
            with np.errstate(all="ignore"):
                found = _KINDS[node.op_type](*parts, **_named(node))
            if found.size <= most:
                known.add(node.output[0])
                results[node.output[0]] = np.asarray(found, order="C")
    return results


def _worth_folding(writer: Writer, results: Mapping[str, Array]) -> set[str]:
    """The names of the results to write: leaving one out has others left out, which read it or what it reads."""
    sizes = {name: array.size for name, array in results.items()}
    sizes |= {name: math.prod(weight.dims) for name, weight in writer.initializers.items()}
    folded = set(results)
    while True:
        as_it_stands = used_names(node for node in writer.nodes if node.output[0] not in folded)
        left_out = {
            node.output[0]
            for node in writer.nodes
            if node.output[0] in folded
            and (
                any(name in results and name not in folded for name in node.input)
                or any(name in as_it_stands and name not in results and sizes[name] > _FEW for name in node.input)
                or sizes[node.output[0]] > sum(sizes[name] for name in node.input) + _FEW
            )
        }
        if not left_out:
            return folded
        folded -= left_out


def _array(writer: Writer, name: str) -> Array:
    return writer.stored(name)


def _join_equal(writer: Writer, outputs: Container[str]) -> None:
    """Leave one of the nodes that do the same to the same initializers."""
    first: dict[bytes, str] = {}
    instead: dict[str, str] = {}
    known = set(writer.initializers)
    kept = []
    for node in writer.nodes:
        rename_read(node, instead)
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
