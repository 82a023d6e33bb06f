"""The types of the values in a file of unknown origin, as onnx infers them, without the memory that this may take.

To know sizes that are computed, onnx follows the content of vectors through some operators, and writes a dimension for
each element of what these read and give: of a vector of 2 ** 40 elements, which a file of 200 bytes may ask for, as
many. It is let do so where all of them are known to be short.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache

import onnx

from compiler.targets.onnx.inner import inner_graphs

# Vectors that stand for shapes are not longer.
_LONGEST = 1024
# What is learned of one operator may show that more of them are safe; files ask for this a few times at most.
_MOST_ROUNDS = 4
_UNKNOWN_DOMAIN = "dlc.not.followed"


def with_types(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of ``model`` with the types of its values as far as they can be inferred."""
    found = _inferred(model, follow=False, instead=model)
    left = len(model.graph.node) + 1
    for _ in range(_MOST_ROUNDS):
        unsafe = _unsafe(found)
        if len(unsafe) >= left:
            break
        left = len(unsafe)
        found = _followed(model, found, unsafe)
        if not unsafe:
            break
    return found


def _followed(model: onnx.ModelProto, before: onnx.ModelProto, unsafe: list[int]) -> onnx.ModelProto:
    """What is inferred with contents followed, but through the nodes with these numbers: of these it is what was
    inferred ``before``."""
    asked = onnx.ModelProto()
    asked.CopyFrom(model)
    told = {item.name for item in model.graph.value_info}
    given = {name for number in unsafe for name in model.graph.node[number].output} - told
    asked.graph.value_info.extend(item for item in before.graph.value_info if item.name in given)
    for number in unsafe:
        asked.graph.node[number].domain = _UNKNOWN_DOMAIN
    asked.opset_import.add(domain=_UNKNOWN_DOMAIN, version=1)
    found = _inferred(asked, follow=True, instead=before)
    for number in unsafe:
        found.graph.node[number].domain = model.graph.node[number].domain
    return found


def _inferred(model: onnx.ModelProto, follow: bool, instead: onnx.ModelProto) -> onnx.ModelProto:
    with suppress(Exception):  # what it can not infer is not told; it raises errors of many classes
        return onnx.shape_inference.infer_shapes(model, data_prop=follow)
    return instead


def _unsafe(model: onnx.ModelProto) -> list[int]:
    """The nodes through which contents must not be followed: those that read or give what may be a long vector, and
    those that have nodes of their own."""
    graph = model.graph
    infos = {item.name: item for item in (*graph.input, *graph.value_info, *graph.output)}
    short = {name for name, item in infos.items() if _is_short(item)}
    stored = {item.name for item in graph.initializer if len(item.dims) != 1 or item.dims[0] <= _LONGEST}
    safe = {"", *short, *stored}
    functions = {(function.domain, function.name) for function in model.functions}

    def is_unsafe(node: onnx.NodeProto) -> bool:
        if (node.domain, node.op_type) in functions or any(inner_graphs(node)):
            return True
        return node.op_type in _following() and not safe.issuperset((*node.input, *node.output))

    return [number for number, node in enumerate(graph.node) if is_unsafe(node)]


def _is_short(item: onnx.ValueInfoProto) -> bool:
    """Whether it is known to be a short vector, or none at all."""
    tensor = item.type.tensor_type
    if not tensor.HasField("shape"):
        return False
    sizes = tensor.shape.dim
    return len(sizes) != 1 or (sizes[0].HasField("dim_value") and sizes[0].dim_value <= _LONGEST)


@cache
def _following() -> frozenset[str]:
    """The operators that contents are followed through."""
    schemas = onnx.defs.get_all_schemas_with_history()
    return frozenset(item.name for item in schemas if item.has_data_propagation_function)
