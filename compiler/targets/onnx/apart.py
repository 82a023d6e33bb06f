"""Weights of a model in another file than the rest: an ONNX file is one protobuf message, which ends at 2 GiB."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from compiler.foreign import Parts
from compiler.ops.base import Array
from compiler.targets.onnx.content import Content, SplitModel, starts
from compiler.targets.onnx.file import is_outside, tensors

# Smaller weights stay in the model, where shape inference can see them.
LEAST_APART = 1024
_LOCATION = "weights.data"


def split(model: onnx.ModelProto, arrays: Mapping[str, Array]) -> SplitModel:
    """The model with the ``arrays``, initializers that it only tells the types of, in data beside it."""
    outside = {item.name: item for item in model.graph.initializer if item.name in arrays}
    ordered = {name: arrays[name] for name in outside}
    for item, start in zip(outside.values(), starts(ordered.values()), strict=True):
        del item.external_data[:]
        for key, value in (("location", _LOCATION), ("offset", start), ("length", arrays[item.name].nbytes)):
            item.external_data.add(key=key, value=str(value))
    return SplitModel(bytes(model.SerializeToString(deterministic=True)), ordered, _LOCATION)


def files(content: Content, name: str) -> dict[str, Parts]:
    """The files that hold the model once it is called ``name``, and their contents, in the order in which they are to
    be written: data are in a file that is named after what is in it, ``net.onnx.1a2b3c4d.data``, so that a model always
    meets the data that it was written with."""
    if isinstance(content, bytes):
        return {name: [content]}
    data = f"{name}.{content.digest()[:8]}.data"
    return {data: list(content.data()), name: [relocated(content.content, data)]}


def relocated(content: bytes, location: str) -> bytes:
    """The model with all its external data under the name ``location``."""
    model = onnx.ModelProto.FromString(content)
    for item in filter(is_outside, tensors(model)):
        for entry in item.external_data:
            if entry.key == "location":
                entry.value = location
    return bytes(model.SerializeToString(deterministic=True))


def locations(content: bytes) -> set[str]:
    """The names of the files that hold the model's external data."""
    model = onnx.ModelProto.FromString(content)
    return {
        entry.value
        for item in filter(is_outside, tensors(model))
        for entry in item.external_data
        if entry.key == "location"
    }


def lean(model: onnx.ModelProto, most: int) -> onnx.ModelProto:
    """The model with weights of more than ``most`` elements, and those in other files, as inputs, so that its types can
    be looked at without them."""
    found = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    found.graph.name = model.graph.name
    for part in ("node", "input", "output", "value_info", "sparse_initializer", "quantization_annotation"):
        getattr(found.graph, part).extend(getattr(model.graph, part))
    found.functions.extend(model.functions)
    known = {item.name for item in model.graph.input}
    for item in model.graph.initializer:
        size = 1
        for dim in item.dims:
            size *= dim
        if size <= most and not is_outside(item):
            found.graph.initializer.append(item)
        elif item.name not in known:
            found.graph.input.append(onnx.helper.make_tensor_value_info(item.name, item.data_type, item.dims))
    return found
