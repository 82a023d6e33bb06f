"""Operators that the ONNX standard defines by others, written out as these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx

from compiler.ir.types import TensorType
from compiler.targets.onnx.proto import value_info
from compiler.targets.onnx.read.tensors import Unsupported


def written_out(
    node: onnx.NodeProto, types: Sequence[TensorType | None], version: int
) -> tuple[list[onnx.NodeProto], int]:
    """The nodes that ``node`` stands for, and the opset that they are of; ``types`` are those of its operands, None for
    one that is left out. Raises Unsupported for an operator without such a definition."""
    function = _definition(node, types, version)
    inner = max(item.version for item in function.opset_import if item.domain in ("", "ai.onnx"))
    names = dict(zip(function.input, node.input, strict=False))
    names |= dict.fromkeys(function.input[len(node.input) :], "")
    names |= {name: output for name, output in zip(function.output, node.output, strict=False) if output}
    prefix = next(output for output in node.output if output)
    given = {item.name: item for item in node.attribute}
    given = {item.name: item for item in function.attribute_proto} | given
    schema = onnx.defs.get_schema(node.op_type, version, "")
    given = {name: item.default_value for name, item in schema.attributes.items() if item.default_value.name} | given
    return [_renamed(item, names, prefix, given) for item in function.node], inner


def _definition(node: onnx.NodeProto, types: Sequence[TensorType | None], version: int) -> onnx.FunctionProto:
    if onnx.defs.has(node.op_type, version, ""):
        schema: Any = onnx.defs.get_schema(node.op_type, version, "")
        if schema.has_function:
            return _parsed(schema.function_body.SerializeToString())
        if schema.has_context_dependent_function:
            described = [b"" if type is None else value_info("", type).type.SerializeToString() for type in types]
            made = schema.get_context_dependent_function(node.SerializeToString(), described)
            if made:
                return _parsed(made)
    raise Unsupported("the operator is not known")


def _parsed(content: bytes) -> onnx.FunctionProto:
    function: onnx.FunctionProto = onnx.FunctionProto.FromString(content)
    return function


def _renamed(
    node: onnx.NodeProto, names: dict[str, str], prefix: str, given: Mapping[str, onnx.AttributeProto]
) -> onnx.NodeProto:
    """The node with the names and the attributes of the place where it is put."""
    made = onnx.NodeProto()
    made.CopyFrom(node)
    for names_of in (made.input, made.output):
        for place, name in enumerate(names_of):
            names_of[place] = names.setdefault(name, f"{prefix}/{name}") if name else ""
    del made.attribute[:]
    for item in node.attribute:
        if item.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS):
            raise Unsupported("the standard defines it by control flow")
        if not item.ref_attr_name:
            made.attribute.append(item)
        elif item.ref_attr_name in given:
            filled = made.attribute.add()
            filled.CopyFrom(given[item.ref_attr_name])
            filled.name = item.name
    return made
