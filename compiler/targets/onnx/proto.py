"""Tensors, types and attributes as protobuf messages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx

from compiler.ir.types import DType, TensorType
from compiler.ops.base import Array
from compiler.targets.onnx.content import little_endian

ELEMENT_TYPE = {
    DType.BOOL: onnx.TensorProto.BOOL, DType.U8: onnx.TensorProto.UINT8, DType.U32: onnx.TensorProto.UINT32,
    DType.I8: onnx.TensorProto.INT8, DType.I32: onnx.TensorProto.INT32, DType.I64: onnx.TensorProto.INT64,
    DType.F16: onnx.TensorProto.FLOAT16, DType.BF16: onnx.TensorProto.BFLOAT16,
    DType.F32: onnx.TensorProto.FLOAT, DType.F64: onnx.TensorProto.DOUBLE,
}  # fmt: skip


def tensor(name: str, array: Array) -> onnx.TensorProto:
    """An initializer with the array's bytes, little endian. Raises ValueError for an element type dlc does not have."""
    dtype = DType.of(array.dtype)
    if dtype is None:
        raise ValueError(f"{name}: an ONNX file cannot hold elements of type {array.dtype}")
    return onnx.TensorProto(
        name=name, data_type=ELEMENT_TYPE[dtype], dims=array.shape, raw_data=bytes(little_endian(array))
    )


def outline_of(name: str, array: Array) -> onnx.TensorProto:
    """An initializer of the array's type whose bytes are elsewhere."""
    dtype = DType.of(array.dtype)
    if dtype is None:
        raise ValueError(f"{name}: an ONNX file cannot hold elements of type {array.dtype}")
    outside = onnx.TensorProto.EXTERNAL
    return onnx.TensorProto(name=name, data_type=ELEMENT_TYPE[dtype], dims=array.shape, data_location=outside)


def value_info(name: str, type: TensorType) -> onnx.ValueInfoProto:
    """A named type; sizes that are not numbers become named dimensions, expressions by their text."""
    shape = [dim if isinstance(dim, int) else str(dim) for dim in type.shape]
    return onnx.helper.make_tensor_value_info(name, ELEMENT_TYPE[type.dtype], shape)


def schema(kind: str, inputs: int, attributes: Iterable[str], opset: int) -> onnx.defs.OpSchema | None:
    """The declaration of ``kind`` in ``opset`` if it takes that many inputs and these attributes, else None."""
    if not onnx.defs.has(kind, opset, ""):
        return None
    found = onnx.defs.get_schema(kind, opset, "")
    return found if inputs <= found.max_input and set(attributes) <= found.attributes.keys() else None


def attribute(declared: onnx.defs.OpSchema.Attribute, value: Any) -> onnx.AttributeProto:
    """The attribute as it is declared, so that 1 is a float where a float is asked for.

    A DType stands for its number in ONNX, an array for a tensor.
    """
    kinds = onnx.AttributeProto.AttributeType
    wanted = kinds.Value(str(declared.type).rpartition(".")[2])
    if isinstance(value, DType):
        value = ELEMENT_TYPE[value]
    elif isinstance(value, np.ndarray | np.generic):
        value = tensor("", np.asarray(value))
    elif wanted == kinds.FLOAT:
        value = float(value)
    elif wanted == kinds.FLOATS:
        value = [float(item) for item in value]
    return onnx.helper.make_attribute(declared.name, value, attr_type=wanted)
