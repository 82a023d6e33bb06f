"""Loading an ONNX file of unknown origin with care: nothing of it is believed before it was looked at.

The file is capped in size and parsed without its external data; those are had by :mod:`.external`. Versions, nesting
and counts are checked, model-local functions inlined, and the order of the nodes verified, before onnx's own checker
has the model. What remains is a model with one graph that needs nothing from elsewhere.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnx
import onnx.inliner

from compiler.diagnostics import DiagnosticError, error
from compiler.ops.base import Array
from compiler.targets.onnx.apart import lean, split
from compiler.targets.onnx.content import MOST_WEIGHTS, Content, content_of, little_endian
from compiler.targets.onnx.file import parse, tensors
from compiler.targets.onnx.inner import all_nodes, inner_graphs
from compiler.targets.onnx.read.external import gather, put_in

MOST_NODES = 200_000
MOST_ELEMENTS = 2**31
MOST_DIMENSIONS = 64  # of NumPy's arrays
DEEPEST = 16
DEEPEST_CALLS = 64
OPSETS = range(7, 27)
STANDARD = ("", "ai.onnx")
_Function: TypeAlias = tuple[str, str]  # its domain and its name


@dataclass(frozen=True)
class LoadedModel:
    """A model that is safe to look at: ``proto`` has it all but the content of those initializers that are ``apart``,
    by their names, as they are too large for it."""

    proto: onnx.ModelProto
    apart: Mapping[str, Array]

    def array(self, initializer: onnx.TensorProto) -> Array:
        """The content of an initializer of the graph."""
        found = self.apart.get(initializer.name)
        return np.asarray(onnx.numpy_helper.to_array(initializer) if found is None else found)

    @property
    def content(self) -> Content:
        """The model as a file, or as two where it is too large for one."""
        if not self.apart:
            return bytes(self.proto.SerializeToString(deterministic=True))
        proto = onnx.ModelProto()
        proto.CopyFrom(self.proto)
        return split(proto, self.apart)


def load(path: Path) -> LoadedModel:
    """The model in the file, whole, checked, and without functions of its own.

    Raises DiagnosticError for a file that can't be read (E0905), is no ONNX model (E0906), breaks a rule of ONNX or a
    limit (E0920), or names data that can't be had (E0921).
    """
    return prepare(content_of(path), str(path), path.parent)


def prepare(content: bytes, name: str, folder: Path | None = None) -> LoadedModel:
    """:func:`load` for the content of a file; data in other files are looked for in ``folder`` only."""
    model = parse(content, name)
    check_limits(model, name)
    check_functions(model, name)
    apart = gather(model, name, folder)
    if sum(array.nbytes for array in apart.values()) + model.ByteSize() <= MOST_WEIGHTS:
        for proto in model.graph.initializer:
            if proto.name in apart:
                put_in(proto, little_endian(apart[proto.name]))
        apart = {}
    check_sizes(model, name)
    if model.functions:
        model = _inlined(model, name)
        check_limits(model, name)
    _check_version(model, name)
    check_order(model.graph, name)
    check_signature(model.graph, name)
    with _shapes_told(model.graph):
        try:
            onnx.checker.check_model(lean(model, MOST_ELEMENTS) if apart else model)
        except (onnx.checker.ValidationError, ValueError) as problem:
            raise _broken(name, "it breaks a rule of ONNX", str(problem).strip().splitlines()[0]) from None
    return LoadedModel(model, apart)


@contextmanager
def _shapes_told(graph: onnx.GraphProto) -> Iterator[None]:
    """The checker asks for shapes of inputs and outputs, which files need not tell: without them they have none, which
    is not the shape of a scalar."""
    ports = [item.type for item in (*graph.input, *graph.output) if item.type.HasField("tensor_type")]
    untold = [type.tensor_type for type in ports if not type.tensor_type.HasField("shape")]
    for tensor in untold:
        tensor.shape.SetInParent()
    yield
    for tensor in untold:
        tensor.ClearField("shape")


def opset(model: onnx.ModelProto) -> int:
    """The version of the standard operators that the model is written in; 0 where it uses none of them."""
    return max((item.version for item in model.opset_import if item.domain in STANDARD), default=0)


def check_order(graph: onnx.GraphProto, name: str) -> None:
    """Raise DiagnosticError (E0920) unless every tensor is made once, before it is read."""
    made = {item.name for item in (*graph.input, *graph.initializer)}
    made |= {item.values.name for item in graph.sparse_initializer}
    later = {output for node in graph.node for output in node.output}
    for number, node in enumerate(graph.node):
        label = shown(node, number)
        for item in filter(None, node.input):
            if item not in made:
                why = "is made by a later node or in a circle" if item in later else "is made nowhere"
                raise _broken(name, f"{label} reads {item}, which {why}", "nodes have to stand in the order they run")
        for item in filter(None, node.output):
            if item in made:
                raise _broken(name, f"{label} makes {item}, which exists already", "every tensor is made once")
            made.add(item)
    for output in graph.output:
        if output.name not in made:
            raise _broken(name, f"the output {output.name} is made nowhere", "an output is the result of a node")


def check_signature(graph: onnx.GraphProto, name: str) -> None:
    """Raise DiagnosticError (E0920) for a graph that gives nothing, or takes or gives what no array is."""
    if not graph.output:
        raise _broken(name, "it has no outputs", "what it computes is of no use to anyone")
    for item in (*graph.input, *graph.output):
        rank = len(item.type.tensor_type.shape.dim)
        if rank > MOST_DIMENSIONS:
            raise _broken(name, f"{item.name} has {rank} dimensions, and an array at most {MOST_DIMENSIONS}", "")


def shown(node: onnx.NodeProto, number: int) -> str:
    """A node as messages call it: ``Conv conv1``, or ``Conv number 7`` where it has no name."""
    return f"{node.op_type} {node.name}" if node.name else f"{node.op_type} number {number + 1}"


def check_limits(model: onnx.ModelProto, name: str) -> list[onnx.NodeProto]:
    """Every node, those of subgraphs and functions too. Raises DiagnosticError (E0920) for too many of them, for graphs
    nested too deeply, and for attributes that refer to those of a function, and are in none."""
    found: list[onnx.NodeProto] = []
    called = [node for function in model.functions for node in function.node]
    for nodes, refers in ((called, True), (model.graph.node, False)):
        for number, (depth, node) in enumerate(_nodes(nodes)):
            if depth > DEEPEST:
                raise _broken(name, f"graphs are nested more than {DEEPEST} deep at {shown(node, number)}", "")
            if not refers and any(item.ref_attr_name for item in node.attribute):
                raise _broken(name, f"{shown(node, number)} has an attribute of a function, and is in none", "")
            found.append(node)
            if len(found) > MOST_NODES:
                raise _broken(name, f"it has more than {MOST_NODES} nodes", "")
    return found


def _nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[tuple[int, onnx.NodeProto]]:
    """Every node, those of subgraphs too, with the depth of its graph."""
    waiting = [(0, node) for node in nodes]
    while waiting:
        depth, node = waiting.pop()
        yield depth, node
        waiting += [(depth + 1, inner) for graph in inner_graphs(node) for inner in graph.node]


def check_functions(model: onnx.ModelProto, name: str) -> None:
    """Raise DiagnosticError (E0920) for functions that call each other in a circle or more than ``DEEPEST_CALLS`` deep,
    or that are more than ``MOST_NODES`` nodes once they are put in place: each ends whoever does that."""
    bodies = {(function.domain, function.name): function.node for function in model.functions}
    calls = {key: _called(nodes, bodies) for key, nodes in bodies.items()}
    depth: dict[_Function, int] = {}
    sizes: dict[_Function, int] = {}
    for start in calls:
        waiting = [start]
        while waiting:
            key = waiting[-1]
            left = next((other for other in calls[key] if other not in depth), None)
            if left is None:
                depth[key] = 1 + max((depth[other] for other in calls[key]), default=0)
                sizes[key] = len(bodies[key]) + sum(sizes[other] for other in calls[key])
                waiting.pop()
            elif left in waiting:
                raise _broken(name, f"its function {left[1]} calls itself", "")
            else:
                waiting.append(left)
            if max(len(waiting), depth.get(key, 0)) > DEEPEST_CALLS:
                raise _broken(name, f"its functions call each other more than {DEEPEST_CALLS} deep", "")
    if sum(sizes[key] for key in _called(model.graph.node, bodies)) > MOST_NODES:
        raise _broken(name, f"its functions are more than {MOST_NODES} nodes in place", "")


def _called(nodes: Iterable[onnx.NodeProto], known: Container[_Function]) -> list[_Function]:
    """The functions that these nodes call, in subgraphs too, as often as they do."""
    kinds = ((node.domain, node.op_type) for node in all_nodes(nodes))
    return [kind for kind in kinds if kind in known]


def check_sizes(model: onnx.ModelProto, name: str) -> None:
    """Raise DiagnosticError (E0920) for a tensor of a shape that no tensor has, or whose bytes are not those of it."""
    for proto in tensors(model):
        if len(proto.dims) > MOST_DIMENSIONS:
            raise _broken(name, f"{proto.name or 'a constant'} has {len(proto.dims)} dimensions", "")
        count = 1
        for size in proto.dims:
            count *= size
            if size < 0 or count > MOST_ELEMENTS:
                shape = list(proto.dims)
                raise _broken(name, f"{proto.name or 'a constant'} says that its shape is {shape}", "")
        width = _WIDTHS.get(proto.data_type)
        if proto.HasField("raw_data") and width is not None and len(proto.raw_data) != count * width:
            found, wanted = len(proto.raw_data), count * width
            raise _broken(name, f"{proto.name or 'a constant'} has {found} bytes, not the {wanted} of its shape", "")


def _inlined(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    try:
        return onnx.inliner.inline_local_functions(model, convert_version=True)
    except (RuntimeError, ValueError, onnx.checker.ValidationError) as problem:
        raise _broken(name, "its functions can't be put in place", str(problem).strip().splitlines()[0]) from None


def _check_version(model: onnx.ModelProto, name: str) -> None:
    version = opset(model)
    if version and version not in OPSETS:
        help = f"export it again with an opset from {OPSETS[0]} to {OPSETS[-1]}"
        title = f"{name} is of opset {version}: {OPSETS[0]} to {OPSETS[-1]} can be read"
        raise DiagnosticError([error("E0920", title, None, help=help)])


def _broken(name: str, what: str, note: str) -> DiagnosticError:
    help = "export it again, or have onnx.checker.check_model look at it"
    return DiagnosticError(
        [error("E0920", f"cannot take {name}: {what}", None, notes=[note] if note else [], help=help)]
    )


# The bytes of one element, where elements are whole bytes.
_WIDTHS = {
    number: onnx.helper.tensor_dtype_to_np_dtype(number).itemsize
    for number in (1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16)
}
