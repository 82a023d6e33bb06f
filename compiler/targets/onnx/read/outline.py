"""What an ONNX file of any origin is made of, for people to look at: nothing in it has to be known to dlc.

The file is looked at with the care of :mod:`.load`, but not checked against the rules of operators, so that files with
operators of other domains or newer opsets can be shown too. Data in other files are not read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import onnx

from compiler.diagnostics import DiagnosticError
from compiler.targets.onnx.apart import lean
from compiler.targets.onnx.content import content_of
from compiler.targets.onnx.file import is_outside, node_sources, parse, tensors
from compiler.targets.onnx.inner import read_by
from compiler.targets.onnx.read.external import byte_length
from compiler.targets.onnx.read.inferred import with_types
from compiler.targets.onnx.read.load import (
    STANDARD,
    check_functions,
    check_limits,
    check_order,
    check_sizes,
)

# Constants of up to this many elements take part in the inference of shapes.
_SMALL = 1024
# Attributes that say most about a node, with how they are written; the others are left to --json.
_TELLING = {
    "kernel_shape": "{}", "strides": "stride {}", "dilations": "dilation {}", "group": "groups {}",
    "axis": "axis {}", "axes": "axes {}", "perm": "{}", "to": "to {}", "hidden_size": "{}", "direction": "{}",
    "mode": "{}", "alpha": "alpha {}", "transB": "", "epsilon": "", "pads": "",
    "then_branch": "then {}", "else_branch": "else {}", "body": "of {}",
}  # fmt: skip
# How the inference of shapes calls sizes that it does not know.
_UNKNOWN = re.compile(r"unk__\d+")
_FEW = 2  # nodes of a graph inside a node that are named, its last ones
_ORDER = {name: number for number, name in enumerate(_TELLING)}
_BY_CHANCE = {"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial"}
_USUAL = {"stride 1", "dilation 1", "groups 1", "forward", "constant"}


@dataclass(frozen=True)
class OutlineNode:
    """A node of the main graph that the inputs have to do with. ``reads`` and ``gives`` are names of values, without
    those of constants; ``weights`` the types of the constants that it reads, ``source`` the place in a model file,
    where the node tells it."""

    kind: str
    name: str
    details: tuple[str, ...]
    reads: tuple[str, ...]
    gives: tuple[str, ...]
    weights: tuple[str, ...]
    parameters: int
    source: str


@dataclass(frozen=True)
class Stored:
    """How many tensors of one element type a file stores, with how many elements and bytes, and how many of these
    bytes are in other files."""

    tensors: int
    elements: int
    bytes: int
    outside: int


@dataclass(frozen=True)
class Outline:
    """An ONNX file: signature, versions, nodes, ``types`` of its values as far as they are told or inferred, what it
    stores, how often it has each kind of node (also in subgraphs, functions and on constants) and its metadata.
    ``fixed`` is the number of nodes that depend on constants alone, and are not among ``nodes``."""

    name: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    nodes: tuple[OutlineNode, ...]
    fixed: int
    types: Mapping[str, str]
    stored: Mapping[str, Stored]
    kinds: Mapping[str, int]
    opsets: Mapping[str, int]
    functions: tuple[str, ...]
    ir_version: int
    producer: str
    metadata: Mapping[str, str]
    text: str
    bytes: int


def outline(path: Path) -> Outline:
    """The outline of the file. Raises DiagnosticError for one that can't be read (E0905), is no ONNX model (E0906) or
    breaks a rule that any file keeps (E0920)."""
    content = content_of(path)
    model = parse(content, str(path))
    nodes = check_limits(model, str(path))
    check_sizes(model, str(path))
    check_order(model.graph, str(path))
    infos = _infos(model)
    types = {name: text for name, item in infos.items() if (text := type_text(item)) != "unknown"}
    graph = model.graph
    constants = _constants(graph)
    moving = _moving(graph, constants, infos)
    sources = node_sources(model)
    kinds: dict[str, int] = {}
    for node in nodes:
        kinds[_kind(node)] = kinds.get(_kind(node), 0) + 1
    return Outline(
        graph.name,
        {item.name: type_text(item) for item in graph.input if item.name not in constants},
        {item.name: types.get(item.name, type_text(item)) for item in graph.output},
        tuple(_node(node, constants, sources) for node in moving),
        sum(node.op_type != "Constant" for node in graph.node) - len(moving),
        types,
        _stored(model),
        dict(sorted(kinds.items(), key=lambda item: (-item[1], item[0]))),
        {item.domain or "ai.onnx": item.version for item in model.opset_import},
        tuple(f"{function.domain}.{function.name}" for function in model.functions),
        model.ir_version,
        f"{model.producer_name} {model.producer_version}".strip(),
        {entry.key: entry.value for entry in model.metadata_props},
        model.doc_string,
        len(content),
    )


def type_text(item: onnx.ValueInfoProto) -> str:
    """A type as dlc writes it: ``f32[N, 3, 224, 224]``; ``?`` is a size that is not told."""
    which = item.type.WhichOneof("value")
    if which != "tensor_type":
        return (which or "unknown").removesuffix("_type")
    tensor = item.type.tensor_type
    if not tensor.HasField("shape"):
        return f"{_dtype(tensor.elem_type)}[...]"
    sizes = (
        str(dim.dim_value) if dim.HasField("dim_value") else _UNKNOWN.sub("?", dim.dim_param) or "?"
        for dim in tensor.shape.dim
    )
    return f"{_dtype(tensor.elem_type)}[{', '.join(sizes)}]"


def _dtype(number: int) -> str:
    name: str = onnx.TensorProto.DataType.Name(number).lower() if number in _NUMBERS else f"type{number}"
    return {"float": "f32", "double": "f64", "float16": "f16", "bfloat16": "bf16"}.get(
        name, name.replace("uint", "u").replace("int", "i")
    )


_NUMBERS = frozenset(onnx.TensorProto.DataType.values())


def _kind(node: onnx.NodeProto) -> str:
    return node.op_type if node.domain in STANDARD else f"{node.domain}.{node.op_type}"


def _constants(graph: onnx.GraphProto) -> dict[str, tuple[int, tuple[int, ...]]]:
    """The element type and the shape of what the file stores."""
    stored = (*graph.initializer, *(item.values for item in graph.sparse_initializer))
    return {item.name: (item.data_type, tuple(item.dims)) for item in stored}


def _moving(
    graph: onnx.GraphProto,
    constants: dict[str, tuple[int, tuple[int, ...]]],
    infos: Mapping[str, onnx.ValueInfoProto],
) -> list[onnx.NodeProto]:
    """The nodes whose results depend on an input, or on chance; what the others give joins the ``constants``."""
    found = []
    for node in graph.node:
        if node.op_type in _BY_CHANCE or any(name not in constants for name in read_by(node)):
            found.append(node)
            continue
        for name in filter(None, node.output):
            tensor = infos[name].type.tensor_type if name in infos else onnx.TypeProto.Tensor()
            constants[name] = (tensor.elem_type, tuple(max(dim.dim_value, 0) for dim in tensor.shape.dim))
    return found


def _node(
    node: onnx.NodeProto, constants: Mapping[str, tuple[int, tuple[int, ...]]], sources: Mapping[str, str]
) -> OutlineNode:
    read = read_by(node)
    held = [constants[name] for name in read if name in constants]
    weights = [shape for dtype, shape in held if shape and dtype not in (onnx.TensorProto.INT64, 0)]
    attributes = sorted(node.attribute, key=lambda item: _ORDER.get(item.name, 0))
    return OutlineNode(
        _kind(node),
        node.name,
        tuple(filter(None, map(_detail, attributes))),
        tuple(name for name in read if name not in constants),
        tuple(node.output),
        tuple(f"{_dtype(dtype)}[{', '.join(map(str, shape))}]" for dtype, shape in held),
        sum(map(prod, weights)),
        sources.get(node.name, ""),
    )


def _detail(item: onnx.AttributeProto) -> str:
    form = _TELLING.get(item.name, "")
    if not form:
        return ""
    value = onnx.helper.get_attribute_value(item)
    if item.name == "to":
        text = _dtype(value)
    elif isinstance(value, onnx.GraphProto):
        kinds = [_kind(node) for node in value.node]
        text = ("…, " if len(kinds) > _FEW else "") + ", ".join(kinds[-_FEW:])
    elif isinstance(value, bytes):
        text = value.decode(errors="replace")[:20]
    elif isinstance(value, list | tuple):
        alike = item.name in ("strides", "dilations") and len(set(value)) == 1
        text = str(value[0]) if alike else ("x" if item.name == "kernel_shape" else ",").join(map(str, value))
    else:
        text = f"{value:g}" if isinstance(value, float) else str(value)
    shown = form.format(text)
    return "" if shown in _USUAL else shown


def _infos(model: onnx.ModelProto) -> dict[str, onnx.ValueInfoProto]:
    """The types of all values that the file tells or that follow from its operators."""
    found = lean(model, _SMALL)
    try:
        check_functions(model, "")
    except DiagnosticError:
        del found.functions[:]  # to look into them would take for ever
    found = with_types(found)
    told = (*model.graph.input, *found.graph.value_info, *model.graph.value_info, *found.graph.output)
    return {item.name: item for item in told}


def _stored(model: onnx.ModelProto) -> dict[str, Stored]:
    found: dict[str, Stored] = {}
    for item in tensors(model):
        if item.data_type:
            name, size = _dtype(item.data_type), byte_length(item)
            before = found.get(name, Stored(0, 0, 0, 0))
            found[name] = Stored(
                before.tensors + 1,
                before.elements + prod(item.dims),
                before.bytes + size,
                before.outside + (size if is_outside(item) else 0),
            )
    return dict(sorted(found.items(), key=lambda item: -item[1].bytes))
