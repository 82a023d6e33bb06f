"""Requests and answers of the Open Inference Protocol, version 2: JSON, and the binary tensor data extension, in which
the bytes of tensors follow the JSON, little-endian and row by row.

https://github.com/kserve/open-inference-protocol and
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from compiler.diagnostics import did_you_mean
from compiler.ir.types import DType
from runtime.disk.tensors import Array
from runtime.inference.feed import from_lists, read_json
from runtime.inference.results import plain
from runtime.programs.signature import Port
from runtime.serving.limits import RequestError

LENGTH_HEADER = "Inference-Header-Content-Length"
DATATYPES = {
    DType.BOOL: "BOOL", DType.U8: "UINT8", DType.U32: "UINT32", DType.I8: "INT8", DType.I32: "INT32",
    DType.I64: "INT64", DType.F16: "FP16", DType.F32: "FP32", DType.F64: "FP64",
}  # fmt: skip
_MOST_SIZE = 2**31
# Each takes 64 bytes or more, where the request may have three for it.
_MOST_LISTS = 2**21


@dataclass(frozen=True)
class Wanted:
    """An output to send: as ``binary`` or in the JSON, and where ``classes`` is above 0 as so many best classes."""

    name: str
    binary: bool = False
    classes: int = 0


@dataclass(frozen=True)
class Request:
    """What an inference request asks for; the arrays have the element types and the shapes that it tells."""

    id: str | None
    inputs: Mapping[str, Array]
    outputs: Sequence[Wanted]


def read_request(body: bytes, length: str | None, inputs: Sequence[Port], outputs: Sequence[Port]) -> Request:
    """The request in ``body``, whose JSON has ``length`` bytes by its header; all of them where that is missing.

    Raises RequestError for what is no request, for names and element types that the model does not have, and for data
    that do not fit the shapes that the request tells. Whether the model takes such shapes is not looked at.
    """
    try:
        return _request(body, length, inputs, outputs)
    except RequestError as failure:
        refused = RequestError(failure.text)
    # Another one, as the first holds all that was read until someone collects it.
    raise refused


def _request(body: bytes, length: str | None, inputs: Sequence[Port], outputs: Sequence[Port]) -> Request:
    size = _json_size(length, len(body))
    document = _object(body[:size])
    identity = document.get("id")
    if identity is not None and not isinstance(identity, str):
        raise RequestError("the `id` is no string")
    settings = _parameters(document, "the request")
    arrays = _inputs(document, memoryview(body)[size:], inputs)
    binary = _flag(settings, "binary_data_output", "the request")
    return Request(identity, arrays, _outputs(document, outputs, binary))


def answer(
    model: str, version: str, request: Request, outputs: Mapping[str, Array], labels: Sequence[str]
) -> tuple[bytes, dict[str, str]]:
    """The body that answers a request, and its headers. Numbers that JSON does not have, NaN and the infinities, are
    null in it; binary data have them as they are."""
    described, blobs = [], []
    for wanted in request.outputs:
        array = outputs[wanted.name]
        item: dict[str, Any] = {"name": wanted.name}
        if wanted.classes:
            array = best_classes(array, wanted.classes, labels)
            item |= {"datatype": "BYTES", "shape": list(array.shape)}
        else:
            dtype = DType.of(array.dtype)
            item |= {"datatype": DATATYPES[dtype] if dtype else "", "shape": list(array.shape)}
        if wanted.binary:
            blob = _bytes_of(array)
            item["parameters"] = {"binary_data_size": len(blob)}
            blobs.append(blob)
        else:
            flat = array.reshape(-1)
            item["data"] = flat.tolist() if wanted.classes else plain(flat)
        described.append(item)
    document: dict[str, Any] = {"model_name": model, "model_version": version, "outputs": described}
    if request.id is not None:
        document["id"] = request.id
    text = json_bytes(document)
    if not blobs:
        return text, {"Content-Type": "application/json"}
    return b"".join([text, *blobs]), {"Content-Type": "application/octet-stream", LENGTH_HEADER: str(len(text))}


def json_bytes(content: Any) -> bytes:
    """``content`` as JSON in UTF-8. Halves of characters, which JSON may have and UTF-8 may not, are written as JSON
    escapes them."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False).encode(errors="backslashreplace")


def best_classes(scores: Array, count: int, labels: Sequence[str]) -> Array:
    """The ``count`` largest of each row of ``scores``, as texts ``score:index:label`` (the classification extension),
    the largest first; of equal ones the first."""
    rows = scores.reshape(-1, scores.shape[-1]) if scores.ndim else scores.reshape(1, 1)
    named = len(labels) == rows.shape[1]
    order = np.argsort(-rows.astype(np.float64), axis=1, kind="stable")[:, :count]
    texts = [
        [f"{row[index]!s}:{index}" + (f":{labels[index]}" if named else "") for index in chosen]
        for row, chosen in zip(rows, order, strict=True)
    ]
    return np.array(texts, dtype=object).reshape(*scores.shape[:-1], order.shape[1])


def _json_size(length: str | None, whole: int) -> int:
    if length is None:
        return whole
    if not (length.isascii() and length.isdecimal()) or len(length) > 18 or int(length) > whole:
        raise RequestError(f"{LENGTH_HEADER} is {length[:40]!r}, and the body has {whole} bytes")
    return int(length)


def _object(text: bytes) -> dict[str, Any]:
    if text.count(b"[") + text.count(b"{") > _MOST_LISTS:
        raise RequestError(f"the request has more than {_MOST_LISTS:,} lists: send the data in one, or as binary data")
    try:
        document = read_json(text)
    except ValueError as failure:
        raise RequestError(f"the request can't be read: {failure}") from None
    if not isinstance(document, dict):
        raise RequestError("the request is no JSON object")
    return document


def _items(document: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """The objects in a list of the request, each with a name that is there only once."""
    items = document.get(key)
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise RequestError(f'`{key}` is no list of objects, as it is in [{{"name": …}}]')
    names: set[str] = set()
    for item in items:
        name = item.get("name")
        if not isinstance(name, str):
            raise RequestError(f"one of `{key}` has no name")
        if name in names:
            raise RequestError(f"`{name}` is twice in `{key}`")
        names.add(name)
    return items


def _parameters(item: Mapping[str, Any], what: str) -> Mapping[str, Any]:
    found = item.get("parameters", {})
    if not isinstance(found, dict):
        raise RequestError(f"the parameters of {what} are no object")
    if any(key.startswith("shared_memory_") for key in found):
        raise RequestError(f"{what} asks for shared memory, which this server does not have: send the data")
    return found


def _flag(parameters: Mapping[str, Any], key: str, what: str) -> bool:
    found = parameters.get(key, False)
    if not isinstance(found, bool):
        raise RequestError(f"`{key}` of {what} is not true or false")
    return found


def _count(parameters: Mapping[str, Any], key: str, what: str) -> int:
    found = parameters[key]
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found < _MOST_SIZE:
        raise RequestError(f"`{key}` of {what} is no whole number that it could be")
    return found


def _inputs(document: Mapping[str, Any], data: memoryview, ports: Sequence[Port]) -> dict[str, Array]:
    found: dict[str, Array] = {}
    start = 0
    for item in _items(document, "inputs"):
        port = _port(item["name"], ports, "input", "takes")
        what = f"input `{port.name}`"
        if item.get("datatype") != DATATYPES[port.dtype]:
            text = f"{what} is {DATATYPES[port.dtype]} in this model, and {item.get('datatype')!r} in the request"
            raise RequestError(text[:300])
        shape, parameters = _shape(item, what), _parameters(item, what)
        if "binary_data_size" not in parameters:
            if "data" not in item:
                raise RequestError(f"{what} has neither `data` nor a `binary_data_size` among its parameters")
            found[port.name] = _from_json(port, shape, item["data"])
            continue
        if "data" in item:
            raise RequestError(f"{what} has `data` and a `binary_data_size` too: leave one of them out")
        size = _count(parameters, "binary_data_size", what)
        if start + size > len(data):
            text = f"{what} has {size} bytes by its `binary_data_size`, and the body ends after {len(data) - start}"
            raise RequestError(text)
        found[port.name] = _from_bytes(port, shape, data[start : start + size])
        start += size
    if start != len(data):
        text = "`binary_data_size` of some input is missing or wrong" if start else f"is {LENGTH_HEADER} right?"
        raise RequestError(f"{len(data) - start} bytes follow the data of the inputs: {text}")
    missing = [port for port in ports if port.name not in found]
    if missing:
        raise RequestError(f"input `{missing[0].name}` is missing; {_listed(ports, 'takes')}")
    return found


def _shape(item: Mapping[str, Any], what: str) -> tuple[int, ...]:
    shape = item.get("shape")
    if not isinstance(shape, list) or not all(
        isinstance(size, int) and not isinstance(size, bool) and 0 <= size < _MOST_SIZE for size in shape
    ):
        raise RequestError(f"the `shape` of {what} is no list of sizes, such as [1, 3]")
    if len(shape) > 32:
        raise RequestError(f"the `shape` of {what} has {len(shape)} dimensions")
    return tuple(shape)


def _from_json(port: Port, shape: tuple[int, ...], data: Any) -> Array:
    try:
        array = from_lists(port.name, port.dtype, data)
    except ValueError as failure:
        raise RequestError(f"input {failure}") from None
    if array.size != prod(shape) or (array.ndim > 1 and array.shape != shape):
        held = f"a list of {array.size}" if array.ndim == 1 else f"data of the shape {list(array.shape)}"
        raise RequestError(f"input `{port.name}` has the shape {list(shape)}, and {held} as its data")
    return array.reshape(shape)


def _from_bytes(port: Port, shape: tuple[int, ...], data: memoryview) -> Array:
    dtype = port.dtype.numpy
    wanted = prod(shape) * dtype.itemsize
    if len(data) != wanted:
        text = f"input `{port.name}` has {len(data)} bytes; {DATATYPES[port.dtype]} {list(shape)} are {wanted}"
        raise RequestError(text)
    if port.dtype is DType.BOOL and np.frombuffer(data, np.uint8).max(initial=0) > 1:
        raise RequestError(f"input `{port.name}` has bytes other than 0 and 1, and is BOOL")
    # A copy, as data may begin anywhere in the body, and ONNX Runtime reads whole words.
    return np.frombuffer(data, dtype.newbyteorder("<")).astype(dtype).reshape(shape)


def _outputs(document: Mapping[str, Any], ports: Sequence[Port], binary: bool) -> list[Wanted]:
    if "outputs" not in document or document["outputs"] == []:
        return [Wanted(port.name, binary) for port in ports]
    found = []
    for item in _items(document, "outputs"):
        port = _port(item["name"], ports, "output", "gives")
        what = f"output `{port.name}`"
        parameters = _parameters(item, what)
        classes = 0
        if "classification" in parameters:
            classes = _count(parameters, "classification", what)
            if port.dtype is DType.BOOL or port.shape == ():
                raise RequestError(f"{what} has no scores of classes")
        told = "binary_data" in parameters
        found.append(Wanted(port.name, _flag(parameters, "binary_data", what) if told else binary, classes))
    return found


def _port(name: str, ports: Sequence[Port], kind: str, does: str) -> Port:
    for port in ports:
        if port.name == name:
            return port
    near = did_you_mean(name, [port.name for port in ports])
    advice = f": did you mean `{near}`?" if near else f"; {_listed(ports, does)}"
    raise RequestError(f"the model has no {kind} `{name[:100]}`{advice}")


def _listed(ports: Sequence[Port], does: str) -> str:
    return f"it {does} " + ", ".join(f"{port.name}: {port}" for port in ports)


def _bytes_of(array: Array) -> bytes:
    if array.dtype != object:
        return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
    texts = [text.encode() for text in array.reshape(-1)]
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)
