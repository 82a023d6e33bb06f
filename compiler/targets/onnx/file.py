"""ONNX files as bytes: reading one with care, and changing what is beside the network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

import onnx
from google.protobuf.message import DecodeError

from compiler.diagnostics import Diagnostic, DiagnosticError, error
from compiler.targets.onnx.content import is_ort
from compiler.targets.onnx.inner import all_nodes, inner_graphs

_SOURCE = "source: "  # before IR version 10, where nodes have no metadata
_OTHER_FILES = (
    (b"PK\x03\x04", "a zip file, as .npz files are"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x80", "a pickle"),
)


def parse(content: bytes, name: str) -> onnx.ModelProto:
    """The model in ``content``, as it stands; ``name`` is what messages call the file. Raises DiagnosticError for what
    is no ONNX model or is damaged (E0906)."""
    try:
        model: onnx.ModelProto = onnx.ModelProto.FromString(content)
    except DecodeError:
        raise DiagnosticError([_not_onnx(content, name)]) from None
    if not model.ir_version or not model.opset_import or not model.HasField("graph"):
        raise DiagnosticError([_not_onnx(content, name)])
    if any(isinstance(text, bytes) for text in _texts(model)):  # what protobuf gives of a text that is none
        help = "get the file again, or export it again"
        title = f"{name} is not an ONNX model, or is damaged"
        raise DiagnosticError([error("E0906", title, None, notes="a text in it is not UTF-8", help=help)])
    return model


def _texts(model: onnx.ModelProto) -> Iterator[str | bytes]:
    """Every name in the model, and what it says of itself."""
    yield from (model.producer_name, model.producer_version, model.doc_string)
    yield from (item.domain for item in model.opset_import)
    yield from (text for entry in model.metadata_props for text in (entry.key, entry.value))
    yield from (text for item in model.functions for text in (item.domain, item.name, *item.input, *item.output))
    called = (node for function in model.functions for node in function.node)
    graphs = [model.graph]
    for node in all_nodes(chain(model.graph.node, called)):
        graphs += inner_graphs(node)
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (item.name for item in node.attribute)
        yield from (text for entry in node.metadata_props for text in (entry.key, entry.value))
    for graph in graphs:
        ports = (*graph.input, *graph.output, *graph.value_info)
        yield from (graph.name, *(item.name for item in (*graph.initializer, *ports)))
        yield from (dim.dim_param for item in ports for dim in item.type.tensor_type.shape.dim)


def read(content: bytes, name: str) -> onnx.ModelProto:
    """The model in ``content``, which has to be all of it: raises DiagnosticError as :func:`parse` does, and for a
    model with data in other files (E0907)."""
    model = parse(content, name)
    need_whole(model, name)
    return model


def need_whole(model: onnx.ModelProto, name: str) -> None:
    """Raise DiagnosticError (E0907) for a model with data in other files."""
    outside = next((proto for proto in tensors(model) if is_outside(proto)), None)
    if outside is not None:
        raise DiagnosticError(
            [
                error(
                    "E0907",
                    f"{name} keeps {outside.name or 'a tensor'} in another file",
                    None,
                    notes="dlc runs files that carry their weights, and opens no file that a model names",
                    help="make one file of it: onnx.save(onnx.load(path), copy, save_as_external_data=False)",
                )
            ]
        )


def node_sources(model: onnx.ModelProto) -> dict[str, str]:
    """The place in the source, such as ``digits.dl:12:5``, of each node that tells it."""
    found: dict[str, str] = {}
    for node in model.graph.node:
        if node.doc_string.startswith(_SOURCE):
            found[node.name] = node.doc_string.removeprefix(_SOURCE)
        for entry in node.metadata_props:
            if entry.key == "source":
                found[node.name] = entry.value
    return found


def unranked(model: onnx.ModelProto) -> frozenset[str]:
    """The inputs and outputs whose number of dimensions the file leaves open."""
    ports = (*model.graph.input, *model.graph.output)
    return frozenset(item.name for item in ports if not item.type.tensor_type.HasField("shape"))


def with_metadata(content: bytes, metadata: Mapping[str, str], text: str = "") -> bytes:
    """The file with ``metadata`` in place of its own entries of these names, and ``text`` for its doc_string, if there
    is any; the network stays as it is."""
    model = onnx.ModelProto.FromString(content)
    entries = {entry.key: entry.value for entry in model.metadata_props} | dict(metadata)
    onnx.helper.set_model_props(model, dict(sorted(entries.items())))
    if text:
        model.doc_string = text
    return bytes(model.SerializeToString(deterministic=True))


def without_metadata(content: bytes, prefix: str) -> bytes:
    """The file without the entries of its metadata whose names begin with ``prefix``."""
    model = onnx.ModelProto.FromString(content)
    entries = {entry.key: entry.value for entry in model.metadata_props if not entry.key.startswith(prefix)}
    onnx.helper.set_model_props(model, entries)
    return bytes(model.SerializeToString(deterministic=True))


def values_told(content: bytes) -> frozenset[str]:
    """The values inside the network, and the outputs, of which the file tells the types."""
    graph = onnx.ModelProto.FromString(content).graph
    return frozenset(item.name for item in (*graph.value_info, *graph.output))


def expose(content: bytes, names: Iterable[str]) -> bytes:
    """The file with values inside the network as further outputs, so that they can be looked at.

    Raises KeyError for a name that is not among :func:`values_told`.
    """
    model = onnx.ModelProto.FromString(content)
    outputs = {item.name for item in model.graph.output}
    told = {item.name: item for item in model.graph.value_info}
    model.graph.output.extend(told[name] for name in dict.fromkeys(names) if name not in outputs)
    return bytes(model.SerializeToString(deterministic=True))


def _not_onnx(content: bytes, name: str) -> Diagnostic:
    kind = next((kind for start, kind in _OTHER_FILES if content.startswith(start)), "")
    if not content:
        kind = "empty"
    elif not kind and min(content[:1000]) >= ord("\t"):
        kind = "text"
    elif is_ort(content):
        kind = "an ORT file, which only dlc run, dlc bench and ONNX Runtime read"
    help = "get the file again, or export it again"
    if name.endswith(".dl"):
        help = f"a model file becomes one with: dlc compile {name} -o {name.removesuffix('.dl')}.onnx"
    elif is_ort(content):
        help = "take the ONNX file that it was made of"
    note = f"it is {kind}" if kind else "its content ends early or is not what an ONNX file begins with"
    return error("E0906", f"{name} is not an ONNX model, or is damaged", None, notes=note, help=help)


def is_apart(model: onnx.ModelProto) -> bool:
    """Whether the model keeps data in other files."""
    return any(map(is_outside, tensors(model)))


def is_outside(proto: onnx.TensorProto) -> bool:
    """Whether the data of the tensor are in another file."""
    return proto.data_location == onnx.TensorProto.EXTERNAL or len(proto.external_data) > 0


def tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor of the model, in subgraphs and functions too."""
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        for node in function.node:
            yield from _node_tensors(node)


def _graph_tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        yield from _node_tensors(node)


def _node_tensors(node: onnx.NodeProto) -> Iterator[onnx.TensorProto]:
    for item in node.attribute:
        yield from (item.t, *item.tensors)
        for sparse in (item.sparse_tensor, *item.sparse_tensors):
            yield from (sparse.values, sparse.indices)
    for graph in inner_graphs(node):
        yield from _graph_tensors(graph)
